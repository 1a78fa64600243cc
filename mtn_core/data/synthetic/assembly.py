"""A whole vehicle: body, glass, wheels, lamps and marks, ready for the painter."""

from dataclasses import dataclass

import numpy as np

from mtn_core.data.synthetic.bodywork import (
    Solid,
    arch_radius,
    create_body,
    create_keypoints,
    create_solid,
    wheel_plane,
)
from mtn_core.data.synthetic.fleet import Individual
from mtn_core.data.synthetic.mesh import Faces, Material, Mesh
from mtn_core.data.synthetic.surfaces import grid_quads
from mtn_core.data.synthetic.wheels import DARK, add_wheel

UNDER, TUB, CARGO, CABIN, ROOF, MIRROR_LEFT, MIRROR_RIGHT = range(7)
GLASS = Material((0.012, 0.014, 0.016), 0.07, 1.0)
PLASTIC = Material((0.03, 0.03, 0.032), 0.03, 0.3)


@dataclass(frozen=True, eq=False)
class Vehicle:
    """What the painter and the labels need of one individual.

    Attributes:
        faces: Grouped by number of corners.
        keypoints: (36, 3) in the car's frame.
        solid: For what hides a keypoint.
        outline: (n, 3) points whose projection spans the vehicle.
        shadow: Groups of points, each with a convex shadow.
        middle: x of the vehicle's middle.
    """

    faces: list[Faces]
    keypoints: np.ndarray
    solid: Solid
    outline: np.ndarray
    shadow: list[np.ndarray]
    middle: float

    def ranks(self, eye: np.ndarray) -> np.ndarray:
        """Order of the parts for a camera at ``eye`` in the car's frame."""
        ranks = np.array([0, 3, 5, 6, 8, 10, 10])
        ranks[MIRROR_RIGHT if eye[1] > 0 else MIRROR_LEFT] = 1
        return ranks


def create_vehicle(individual: Individual) -> Vehicle:
    """Build an individual in 3-D."""
    shape = individual.model.shape
    body = create_body(shape)
    mesh = Mesh()
    paint = individual.paint
    for shell, part in ((body.tub, TUB), (body.cabin, CABIN)):
        for wall in shell.walls().values():
            quads = grid_quads(wall)
            materials = [paint] * len(quads)
            if part == TUB:
                columns = wall.shape[1] - 1
                materials = [PLASTIC] * columns + [paint] * (len(quads) - columns)
            mesh.add(quads, materials, part)
        mesh.add(grid_quads(shell.lid()), paint, part, 1)
    _glaze(mesh, body)
    _wheels(mesh, body, individual)
    outline = np.concatenate([body.tub.left.reshape(-1, 3), body.cabin.left.reshape(-1, 3)])
    outline = np.concatenate([outline, outline * [1, -1, 1]])
    return Vehicle(
        faces=mesh.finish(),
        keypoints=create_keypoints(body),
        solid=create_solid(body),
        outline=np.concatenate([outline, body.tub.walls()["front"].reshape(-1, 3)]),
        shadow=[outline],
        middle=0.5 * (shape.rear_low[0] + shape.front_low[0]),
    )


def _glaze(mesh, body) -> None:
    a = np.linspace(0.02, 0.98, 9)
    for side in (1, -1):
        t = np.array([[0.06], [0.45], [0.86]])
        grid = body.cabin.side_at(a[None, ::-1] if side == 1 else a[None], t, side)
        mesh.add(grid_quads(grid), GLASS, CABIN, 2)
    for name in ("front", "rear"):
        wall = body.cabin.walls()[name][:-2]
        mesh.add(grid_quads(wall), GLASS, CABIN, 2)


def _wheels(mesh, body, individual) -> None:
    shape = body.shape
    radius = arch_radius(shape)
    angle = np.linspace(0, np.pi, 11)
    for x in (0.0, shape.wheelbase):
        z = shape.wheel_radius
        arc = np.stack([x - radius * np.cos(angle), z + radius * np.sin(angle)], axis=1)
        points = np.concatenate([[(x - radius, shape.sill)], arc, [(x + radius, shape.sill)]])
        mesh.add(body.tub.side(points), DARK, TUB, 5, mirror=True)
        add_wheel(mesh, x, wheel_plane(shape), z, individual.marks["wheel"], 0.3, (UNDER, TUB))
