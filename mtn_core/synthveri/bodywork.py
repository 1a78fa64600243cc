"""Lower body, cabin, keypoints and solid of a vehicle, from its shape."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from mtn_core.synthveri.shapes import BUS, PICKUP, TRUCK, VAN, Shape
from mtn_core.synthveri.surfaces import Ring, Shell

_TURN = 1 - np.sin(np.pi / 4)  # how far a corner's middle is behind its tip, in corner lengths


@dataclass(frozen=True, eq=False)
class Body:
    """The two shells of a vehicle.

    Attributes:
        shape: Its measures.
        tub: From the sill to the belt line, with bonnet and boot as its lid.
        cabin: From the belt line to the roof.
        belt: Height of the tub's upper edge as a function of x.
    """

    shape: Shape
    tub: Shell
    cabin: Shell
    belt: PchipInterpolator


def _curve(points: list[tuple[float, float]]) -> PchipInterpolator:
    """Smooth curve without overshoot through points whose x rises."""
    xs, zs = [points[0][0]], [points[0][1]]
    for x, z in points[1:]:
        xs.append(max(x, xs[-1] + 0.01))
        zs.append(z)
    return PchipInterpolator(xs, zs)


def create_body(shape: Shape, crease: float = 0.01) -> Body:
    """Build the shells so that the keypoints fall on the shape's profile."""
    boxy = shape.type_id in (VAN, BUS, TRUCK)
    cab_rear = shape.cab_rear if shape.type_id == TRUCK else None
    boot = shape.boot if cab_rear is None else (cab_rear, shape.windscreen[1])
    window = shape.rear_window if cab_rear is None else (cab_rear + 0.01, shape.windscreen[1])
    roof_rear = shape.roof_rear if cab_rear is None else (cab_rear + 0.03, shape.roof_front[1])
    rear_low = shape.rear_low[0] if cab_rear is None else cab_rear

    front, rear = shape.corner, shape.corner_rear
    tip_front = shape.front_low[0] + _TURN * front[0]
    tip_rear = rear_low - _TURN * rear[0]
    top_front = shape.bonnet[0] + _TURN * front[0]
    top_rear = boot[0] - _TURN * rear[0]
    # The rear low and front low corners stand where the bumper is widest.
    belt = _curve(
        [
            (top_rear - 0.3, boot[1] - 0.01),
            boot,
            window,
            (0.5 * (window[0] + shape.windscreen[0]), _waist(window, shape.windscreen)),
            shape.windscreen,
            shape.bonnet,
            (top_front + 0.25, shape.bonnet[1] - (0.12 if not boxy else 0.06)),
        ]
    )
    sill = shape.sill

    def lower_edge(x: np.ndarray) -> np.ndarray:
        span = max(tip_front - tip_rear, 0.1)
        toward_rear = np.clip((tip_rear + 0.25 * span - x) / (0.25 * span), 0, 1)
        return sill + 0.08 * toward_rear**2

    hw = shape.half_width
    lean = 0.02 if boxy else 0.10
    bulge_front, bulge_rear = (0.08, 0.04) if boxy else (0.17, 0.10)
    rings = [
        Ring(0.00, hw - 0.07, tip_rear + 0.07, tip_front - 0.10, bulge_rear, bulge_front),
        Ring(0.10, hw - 0.03, tip_rear + 0.02, tip_front - 0.03, bulge_rear, bulge_front),
        Ring(0.28, hw - 0.004, tip_rear, tip_front, bulge_rear, bulge_front),
        Ring(0.48, hw - crease, _mix(tip_rear, top_rear, 0.2), tip_front - 0.01, bulge_rear,
             bulge_front),
        Ring(0.68, hw, _mix(tip_rear, top_rear, 0.5),
             _mix(tip_front, top_front, 0.55), bulge_rear, bulge_front),
        Ring(0.71, hw - 0.006 - 0.5 * crease, _mix(tip_rear, top_rear, 0.55),
             _mix(tip_front, top_front, 0.6), bulge_rear, bulge_front),
        Ring(0.86, hw - 0.02 - 0.2 * lean, _mix(tip_rear, top_rear, 0.8),
             _mix(tip_front, top_front, 0.85), bulge_rear, 0.8 * bulge_front),
        Ring(0.96, hw - 0.03 - 0.4 * lean, top_rear, top_front, bulge_rear, 0.7 * bulge_front),
        Ring(1.00, hw - 0.04 - 0.8 * lean, top_rear + 0.02, top_front - 0.03, bulge_rear,
             0.6 * bulge_front),
    ]  # fmt: skip
    tub = Shell(
        rings,
        z_bottom=lower_edge,
        z_top=belt,
        corner_rear=rear,
        corner_front=front,
        stations=np.linspace(0, 1, 15 if shape.type_id != TRUCK else 7),
        crown=lambda x: np.interp(x, [boot[0], shape.windscreen[0], top_front], [0.03, 0.05, 0.06]),
        taper=0.01 if boxy else 0.05,
    )
    return Body(shape, tub, _cabin(shape, belt, window, roof_rear, boxy), belt)


def _waist(window: tuple[float, float], windscreen: tuple[float, float]) -> float:
    return 0.5 * (window[1] + windscreen[1]) - 0.005


def _mix(a: float, b: float, share: float) -> float:
    return a + share * (b - a)


def _cabin(
    shape: Shape,
    belt: PchipInterpolator,
    window: tuple[float, float],
    roof_rear: tuple[float, float],
    boxy: bool,
) -> Shell:
    corner_front = (0.10, 0.10) if boxy else (0.14, 0.12)
    corner_rear = (0.10, 0.08) if boxy or shape.type_id == PICKUP else (0.16, 0.12)
    base_rear = window[0] - _TURN * corner_rear[0]
    base_front = shape.windscreen[0] + _TURN * corner_front[0]
    top_rear = roof_rear[0] - _TURN * corner_rear[0]
    top_front = shape.roof_front[0] + _TURN * corner_front[0]
    roof = _curve(
        [
            (min(base_rear, top_rear) - 0.3, roof_rear[1] - 0.03),
            roof_rear,
            (_mix(roof_rear[0], shape.roof_front[0], 0.6),
             max(roof_rear[1], shape.roof_front[1]) + (0.01 if boxy else 0.03)),
            shape.roof_front,
            (top_front + 0.3, shape.roof_front[1] - 0.04),
        ]
    )  # fmt: skip
    lower = shape.half_width * (0.985 if boxy else 0.93) - 0.02
    upper = shape.half_width * shape.roof_share
    bulge = 0.08 if boxy else 0.16
    rings = []
    # The pillars lean in faster towards the roof, and the glass is slightly round.
    for t, lean, slope in (
        (0.00, 0.00, 0.0), (0.30, 0.22, 0.31), (0.60, 0.53, 0.61), (0.86, 0.85, 0.865),
        (0.95, 0.99, 0.955), (1.0, 1.22 if not boxy else 1.6, 1.0),
    ):  # fmt: skip
        rings.append(
            Ring(
                t,
                _mix(lower, upper, lean),
                _mix(base_rear, top_rear, slope) + (0.04 if t == 1.0 else 0.0),
                _mix(base_front, top_front, slope) - (0.06 if t == 1.0 else 0.0),
                0.6 * bulge,
                bulge,
            )
        )
    return Shell(
        rings,
        z_bottom=lambda x: belt(x) - 0.01,
        z_top=roof,
        corner_rear=corner_rear,
        corner_front=corner_front,
        stations=np.linspace(0, 1, 13),
        crown=0.05,
        taper=0.02 if boxy else 0.06,
        corner_rows=3,
    )


def create_keypoints(body: Body) -> np.ndarray:
    """The 36 keypoints, (36, 3) in the car's frame, exactly on the shells."""
    shape, tub, cabin = body.shape, body.tub, body.cabin
    radius = arch_radius(shape)
    diagonal = radius * np.sqrt(0.5)
    foot = -0.02 * 2.7
    rows = tub.left.shape[1]
    left = np.zeros((18, 3))
    for first, centre in ((6, 0.0), (2, shape.wheelbase)):
        z = shape.wheel_radius
        left[first : first + 4] = tub.side(
            [
                (centre + radius, z + foot),
                (centre + diagonal, z + diagonal),
                (centre - diagonal, z + diagonal),
                (centre - radius, z + foot),
            ]
        )
        left[0 if centre == 0.0 else 1] = (centre, wheel_plane(shape), z)
    tub_rear, tub_front = 2, rows - 3
    cabin_rows = cabin.left.shape[1]
    left[10] = _on_row(tub.left[:, tub_rear], shape.rear_low[1])
    left[11] = tub.left[-2, tub_rear]
    left[12] = cabin.left[0, 1]
    left[13] = cabin.left[-2, 1]
    left[14] = cabin.left[-2, cabin_rows - 2]
    left[15] = cabin.left[0, cabin_rows - 2]
    left[16] = tub.left[-2, tub_front]
    left[17] = _on_row(tub.left[:, tub_front], shape.front_low[1])
    if shape.type_id == TRUCK:
        left[6:10] = left[2:6] - [shape.wheelbase, 0, 0]
        left[10:14] = _cargo_corners(shape)
    elif shape.type_id == PICKUP:
        left[11] = tub.left[-1, tub_rear]
    return np.concatenate([left, left * [1.0, -1.0, 1.0]])


def _on_row(row: np.ndarray, z: float) -> np.ndarray:
    z = np.clip(z, row[0, 2], row[-1, 2])
    return np.array([np.interp(z, row[:, 2], row[:, axis]) for axis in range(3)])


def _cargo_corners(shape: Shape) -> np.ndarray:
    (x0, _), (z0, z1), half_width = cargo_box(shape)
    heights = [shape.rear_low[1], z0 + 0.05, _mix(z0, z1, 0.45), z1]
    return np.array([(x0, half_width, z) for z in heights])


def cargo_box(shape: Shape) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Extent in x, extent in z and half width of a truck's load."""
    top = {"flat": shape.boot[1] + 0.55, "tarp": shape.roof_rear[1] - 0.25}
    z0 = shape.wheel_radius + 0.14 * shape.wheelbase
    z1 = top.get(shape.cargo, shape.roof_rear[1])
    return (shape.rear_low[0], shape.cab_rear - 0.12), (z0, z1), shape.half_width + 0.04


def arch_radius(shape: Shape) -> float:
    """Radius of a wheel's opening, metres."""
    return shape.wheel_radius * 1.16


def wheel_plane(shape: Shape) -> float:
    """Distance of a wheel's outer face from the car's middle plane, metres."""
    return shape.half_width - 0.045


@dataclass(frozen=True, eq=False)
class Solid:
    """A simple body for asking what hides a point: heights along x, half widths along z.

    Attributes:
        x: (n,) nodes along the car.
        top: (n,) upper edge at the nodes.
        z: (m,) nodes in height.
        half_width: (m,) half width at those.
        bottom: Lower edge.
    """

    x: np.ndarray
    top: np.ndarray
    z: np.ndarray
    half_width: np.ndarray
    bottom: float

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which of (..., 3) points lie inside, a skin of 3 cm excepted."""
        x, y, z = points[..., 0], np.abs(points[..., 1]), points[..., 2]
        skin = 0.03
        below = z < np.interp(x, self.x, self.top) - skin
        return (
            below
            & (z > self.bottom + skin)
            & (x > self.x[0] + skin)
            & (x < self.x[-1] - skin)
            & (y < np.interp(z, self.z, self.half_width) - skin)
        )


def create_solid(body: Body) -> Solid:
    """The solid of a body, its load included."""
    s = body.shape
    front = [s.roof_front, s.windscreen, s.bonnet, (s.front_low[0] - 0.01, s.bonnet[1] - 0.1)]
    if s.type_id == TRUCK:
        (x0, x1), (_, top), _ = cargo_box(s)
        rear = [(x0, top), (x1, top), (s.cab_rear, s.roof_front[1])]
    else:
        rear = [(s.rear_low[0] + 0.03, s.boot[1]), s.boot, s.rear_window, s.roof_rear]
    profile = rear + front
    x = np.maximum.accumulate([p[0] + 1e-4 * i for i, p in enumerate(profile)])
    belt = s.windscreen[1]
    roof = max(p[1] for p in profile)
    roof_width = s.half_width * s.roof_share if s.type_id != TRUCK else s.half_width
    return Solid(
        x=x,
        top=np.array([p[1] for p in profile]),
        z=np.array([s.sill, belt, roof]),
        half_width=np.array([s.half_width, s.half_width - 0.04, roof_width]),
        bottom=s.sill,
    )
