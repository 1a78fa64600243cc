"""A whole vehicle: body, glass, wheels, lamps and marks, ready for the painter."""

from dataclasses import dataclass

import numpy as np

from mtn_core.synthveri import ends, extras, heavy, panels
from mtn_core.synthveri.bodywork import (
    Body,
    Solid,
    cargo_box,
    create_body,
    create_keypoints,
    create_solid,
    wheel_plane,
)
from mtn_core.synthveri.fleet import Individual
from mtn_core.synthveri.mesh import Faces, Mesh
from mtn_core.synthveri.parts import TUB, UNDER, part_ranks
from mtn_core.synthveri.shapes import BUS, PICKUP, TRUCK
from mtn_core.synthveri.wheels import add_axle


@dataclass(frozen=True, eq=False)
class Vehicle:
    """What the painter and the labels need of one individual.

    Attributes:
        faces: Grouped by number of corners.
        keypoints: (36, 3) in the car's frame.
        solid: For what hides a keypoint.
        shadow: Groups of points, each with a convex shadow; together they span the vehicle.
        middle: x of the vehicle's middle.
        cab_rear: Where a truck's cab ends, else ``None``.
    """

    faces: list[Faces]
    keypoints: np.ndarray
    solid: Solid
    shadow: list[np.ndarray]
    middle: float
    cab_rear: float | None

    def ranks(self, eye: np.ndarray) -> np.ndarray:
        """Order of the parts for a camera at ``eye`` in the car's frame."""
        return part_ranks(eye, self.cab_rear)

    @property
    def outline(self) -> np.ndarray:
        """(n, 3) points whose projection spans the vehicle."""
        return np.concatenate(self.shadow)


def create_vehicle(individual: Individual) -> Vehicle:
    """Build an individual in 3-D."""
    model, marks, paint = individual.model, individual.marks, individual.paint
    shape, style = model.shape, model.style
    body = create_body(shape, style.crease)
    mesh = Mesh()
    panels.add_walls(mesh, body, style, marks, paint)
    panels.add_arches(mesh, body, style)
    panels.add_side_windows(mesh, body, style, marks)
    panels.add_doors(mesh, body, style, paint)
    panels.add_patch(mesh, body, marks)
    ends.add_windscreens(mesh, body, marks)
    ends.add_front(mesh, body, style, marks, paint)
    if shape.type_id == TRUCK:
        heavy.add_truck_load(mesh, body, marks)
        heavy.add_cab_details(mesh, body, marks)
    else:
        ends.add_rear(mesh, body, style, marks, paint)
    if shape.type_id == PICKUP:
        heavy.add_pickup_bed(mesh, body, marks, paint)
    if shape.type_id == BUS:
        heavy.add_bus_details(mesh, body, marks, paint)
    extras.add_mirrors(mesh, body, marks, paint)
    extras.add_roof(mesh, body, style, marks, paint)
    extras.add_stripes(mesh, body, marks)
    extras.add_stickers(mesh, body, marks)
    _add_wheels(mesh, body, individual)
    return Vehicle(
        faces=mesh.finish(),
        keypoints=create_keypoints(body),
        solid=create_solid(body),
        shadow=_shadow_groups(body),
        middle=0.5 * (shape.rear_low[0] + shape.front_low[0]),
        cab_rear=shape.cab_rear if shape.type_id == TRUCK else None,
    )


def _add_wheels(mesh: Mesh, body: Body, individual: Individual) -> None:
    shape, marks = body.shape, individual.marks
    for number, x in enumerate((0.0, shape.wheelbase)):
        loose = shape.type_id == TRUCK and number == 0
        add_axle(
            mesh, x, wheel_plane(shape), shape.wheel_radius, marks.wheel,
            6.3 * marks.load[number], (UNDER, UNDER if loose else TUB),
            width=0.45 if loose else 0.2,
        )  # fmt: skip


def _shadow_groups(body: Body) -> list[np.ndarray]:
    both = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
    groups = []
    for shell in (body.tub, body.cabin):
        walls = shell.walls()
        points = [walls[name].reshape(-1, 3)[::2] for name in ("left", "right", "front", "rear")]
        groups.append(np.concatenate(points))
    groups[0] = np.concatenate([groups[0], groups[0] * [1, 1, 0]])
    if body.shape.type_id == TRUCK:
        (x0, x1), (z0, z1), half = cargo_box(body.shape)
        corners = [(x, half, z) for x in (x0, x1) for z in (0.1, z0, z1)]
        groups.append((np.array(corners)[None] * both[:, None]).reshape(-1, 3))
    return groups
