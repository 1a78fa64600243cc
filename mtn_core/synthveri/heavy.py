"""What only trucks, buses and pickups have: chassis, load, bed, livery."""

import numpy as np

from mtn_core.synthveri.bodywork import Body, cargo_box
from mtn_core.synthveri.marks import Marks
from mtn_core.synthveri.materials import (
    AMBER,
    DARK,
    DARK_RED_LAMP,
    GAP,
    PLASTIC,
    PLATE,
    RED_LAMP,
    SILVER,
    WHITE,
)
from mtn_core.synthveri.mesh import Material, Mesh, toned
from mtn_core.synthveri.parts import BED, CABIN, CARGO, ROOF, TUB, UNDER
from mtn_core.synthveri.strips import FRONT, block, end_strip, side_strip, top_strip
from mtn_core.synthveri.surfaces import grid_quads

_WOOD = Material((0.20, 0.13, 0.07))


def add_pickup_bed(mesh: Mesh, body: Body, marks: Marks, paint: Material) -> None:
    """The open bed: rails, inside walls and floor, or a cover over it."""
    shape, tub = body.shape, body.tub
    edge = tub.left[-1]
    rows = edge[edge[:, 0] < shape.cab_rear - 0.01]
    rim = rows - [0, 0.09, 0]
    x0, x1 = rows[0, 0] + 0.07, shape.cab_rear - 0.02
    lid = np.stack([rows, rim], axis=1)
    mesh.add(grid_quads(lid), paint, TUB, 1, mirror=True)
    half, top = float(rim[:, 1].min()), float(rows[:, 2].mean())
    tail = np.array(
        [(x0, half, top), (x0, -half, top), (x0 - 0.1, -half, top), (x0 - 0.1, half, top)]
    )
    mesh.add(tail[::-1], paint, TUB, 1)
    if marks.load[2] < 0.3:
        cover = np.array([(x0, half, top), (x0, -half, top), (x1, -half, top), (x1, half, top)])
        mesh.add(cover, PLASTIC, TUB, 2)
        return
    floor = top - 0.45
    inside = block((x0, x1), (-half, half), (floor, top))[:, ::-1]
    mesh.add(inside[[0, 2, 3, 4, 5]], paint.scaled(0.45), BED)
    mesh.add(inside[0], PLASTIC if marks.load[3] < 0.6 else paint.scaled(0.35), BED, 1)
    for number in range(int(4 * marks.load[4])):
        size = 0.2 + 0.3 * marks.load[number + 2]
        x = x0 + 0.1 + (x1 - x0 - 0.2 - size) * marks.load[number]
        y = 2 * (marks.load[number + 1] - 0.5) * (half - 0.1 - size / 2)
        thing = block((x, x + size), (y - size / 2, y + size / 2), (floor, floor + 0.8 * size))
        mesh.add(thing, marks.lettering[number % 3], BED, 2)
    if marks.load[5] < 0.45:  # a bar behind the cab
        for y in (-half, half - 0.06):
            post = block((x1 - 0.35, x1 - 0.28), (y, y + 0.06), (top, top + 0.38))
            mesh.add(post, SILVER, ROOF, 1)
        bar = block((x1 - 0.35, x1 - 0.28), (-half, half), (top + 0.36, top + 0.43))
        mesh.add(bar, SILVER, ROOF, 2)


def add_truck_load(mesh: Mesh, body: Body, marks: Marks) -> None:
    """Chassis, and the box, tarpaulin or open bed on it."""
    shape = body.shape
    (x0, x1), (z0, z1), half = cargo_box(shape)
    chassis = block((x0 + 0.1, shape.cab_rear + 0.3), (-0.45, 0.45), (z0 - 0.22, z0))
    mesh.add(chassis, DARK, UNDER, 1)
    guard = block((shape.wheel_radius + 0.25, shape.cab_rear - 0.2), (half - 0.12, half - 0.06),
                  (z0 - 0.40, z0 - 0.12))  # fmt: skip
    mesh.add(guard, SILVER.scaled(0.6) if marks.load[1] < 0.6 else PLASTIC, UNDER, 2, mirror=True)
    bumper = block((x0, x0 + 0.08), (-half + 0.1, half - 0.1), (z0 - 0.42, z0 - 0.22))
    mesh.add(bumper, PLASTIC, UNDER, 2)
    lamps = block((x0 - 0.01, x0 + 0.02), (half - 0.45, half - 0.12), (z0 - 0.38, z0 - 0.27))
    mesh.add(lamps, RED_LAMP, UNDER, 3, mirror=True)
    plate = block((x0 - 0.01, x0 + 0.02), (-0.19, 0.19), (z0 - 0.42, z0 - 0.24))
    mesh.add(plate, PLATE, UNDER, 4)
    ground = _ground(shape.cargo, marks)
    if shape.cargo == "flat":
        _add_open_bed(mesh, (x0, x1), (z0, z1), half, ground, marks)
    else:
        _add_box(mesh, shape.cargo, (x0, x1), (z0, z1), half, ground, marks)


def _ground(cargo: str, marks: Marks) -> Material:
    if cargo == "tarp":
        return Material(toned(marks.lettering[0].albedo, 0.6))
    if marks.livery in (0, 1):
        return Material((0.66, 0.66, 0.65), 0.04, 0.4)
    if marks.livery == 2:
        return Material((0.35, 0.36, 0.37), 0.15, 0.5)
    return marks.lettering[0]


def _add_box(
    mesh: Mesh,
    cargo: str,
    xs: tuple[float, float],
    zs: tuple[float, float],
    half: float,
    ground: Material,
    marks: Marks,
) -> None:
    (x0, x1), (z0, z1) = xs, zs
    body = block((x0, x1), (-half, half), (z0, z1))
    mesh.add(body[[0, 1, 3]], ground, CARGO)
    ribs = int(10 + 22 * marks.load[2]) if cargo == "box" else 6
    edges = np.linspace(x1, x0, ribs + 1)
    grid = np.stack([np.stack([edges, np.full(ribs + 1, half), np.full(ribs + 1, z)], 1)
                     for z in np.linspace(z0, z1, 5)])  # fmt: skip
    quads = grid_quads(grid)
    # Corrugation: every other panel is turned a little away from the light.
    wave = 0.16 if marks.load[3] < 0.5 or cargo == "tarp" else 0.04
    tones = [ground.scaled(1 - wave * (number % ribs % 2)) for number in range(len(quads))]
    mesh.add(quads, tones, CARGO, 0, mirror=True)
    trim = ground.scaled(0.55)
    for low, high in ((z0, z0 + 0.07), (z1 - 0.06, z1)):
        rail = _left_patch(x0, x1, half, low, high)
        mesh.add(rail, trim, CARGO, 1, mirror=True)
    mesh.add(body[5], ground.scaled(0.9), CARGO)
    for y in (-half + 0.04, -0.01, half - 0.06):
        post = _rear_patch(x0, y, y + 0.02, z0, z1)
        mesh.add(post, GAP, CARGO, 1)
    for y in (-0.35 * half, 0.35 * half):
        mesh.add(_rear_patch(x0, y - 0.015, y + 0.015, z0 + 0.1, z1 - 0.1), SILVER, CARGO, 2)
    for z in np.linspace(z0 + 0.25, z1 - 0.25, 3):
        mesh.add(_rear_patch(x0, -half + 0.08, half - 0.08, z - 0.01, z + 0.01), trim, CARGO, 1)
    _add_livery(mesh, xs, zs, half, marks)


def _rear_patch(x: float, y0: float, y1: float, z0: float, z1: float) -> np.ndarray:
    return np.array([(x, y1, z0), (x, y0, z0), (x, y0, z1), (x, y1, z1)])


def _left_patch(x0: float, x1: float, y: float, z0: float, z1: float) -> np.ndarray:
    return np.array([(x1, y, z0), (x0, y, z0), (x0, y, z1), (x1, y, z1)])


def _add_livery(
    mesh: Mesh, xs: tuple[float, float], zs: tuple[float, float], half: float, marks: Marks
) -> None:
    """A band and lettering along a load's or a bus's side."""
    (x0, x1), (z0, z1) = xs, zs
    length, height = x1 - x0, z1 - z0
    _, band, text = marks.lettering
    if marks.livery in (1, 3):
        low = z0 + (0.1 + 0.3 * marks.load[4]) * height
        high = low + (0.12 + 0.2 * marks.load[5]) * height
        strip = _left_patch(x0, x1, half, low, high)
        mesh.add(strip, band, CARGO, 2, mirror=True)
    if marks.livery >= 2:
        letters = 4 + int(6 * marks.load[6])
        start = x1 - (0.12 + 0.2 * marks.load[7]) * length
        pitch = 0.55 * length / letters
        low = z0 + (0.45 + 0.15 * marks.load[0]) * height
        for number in range(letters):
            a = start - number * pitch
            b = a - pitch * (0.55 + 0.2 * (number * 7 % 3) / 2)
            high = low + height * (0.22 + 0.06 * (number % 2))
            letter = _left_patch(b, a, half, low, high)
            mesh.add(letter, text, CARGO, 3, mirror=True)
            # The hollow of the letter.
            c, d = a + 0.3 * (b - a), a + 0.7 * (b - a)
            z = low + 0.35 * (high - low)
            hollow = _left_patch(d, c, half, low, z)
            mesh.add(hollow, text.scaled(0.3), CARGO, 4, mirror=True)


def _add_open_bed(
    mesh: Mesh,
    xs: tuple[float, float],
    zs: tuple[float, float],
    half: float,
    ground: Material,
    marks: Marks,
) -> None:
    (x0, x1), (z0, z1) = xs, zs
    floor = z0 + 0.08
    inside = block((x0 + 0.05, x1 - 0.05), (-half + 0.05, half - 0.05), (floor, z1))[:, ::-1]
    mesh.add(inside[[0, 2, 3, 4, 5]], _WOOD, CARGO, 0)
    mesh.add(inside[0], _WOOD.scaled(0.7), CARGO, 1)
    for number in range(1 + int(5 * marks.load[4])):
        x = x0 + 0.2 + (x1 - x0 - 1.5) * marks.load[number]
        size = 0.5 + 0.6 * marks.load[number + 2]
        y = 2 * (marks.load[number + 1] - 0.5) * (half - 0.1 - size / 2)
        thing = block((x, x + size), (y - size / 2, y + size / 2), (floor, floor + 0.6 * size))
        mesh.add(thing, marks.lettering[number % 3], CARGO, 2)
    outside = block((x0, x1), (-half, half), (z0, z1))
    mesh.add(outside[[2, 3, 4, 5]], ground, CARGO, 20)
    posts = np.linspace(x0 + 0.03, x1 - 0.1, 4 + int(4 * marks.load[6]))
    for x in posts:
        post = _left_patch(x, x + 0.07, half, z0, z1)
        mesh.add(post, ground.scaled(0.5), CARGO, 21, mirror=True)
    rim = _left_patch(x0, x1, half, z1 - 0.05, z1)
    mesh.add(rim, ground.scaled(0.6), CARGO, 22, mirror=True)
    mesh.add(_rear_patch(x0, -0.02, 0.02, z0, z1), GAP, CARGO, 22)


def add_cab_details(mesh: Mesh, body: Body, marks: Marks) -> None:
    """Markers on a truck's cab and a wind deflector on its roof."""
    shape = body.shape
    for w in (-0.5, 0.5):
        lamp = end_strip(body.cabin, FRONT, [w - 0.06, w + 0.06], 0.93, 0.97)
        mesh.add(lamp, AMBER, CABIN, 4)
    if shape.cargo == "box" and marks.load[5] < 0.6:
        x0, x1 = shape.cab_rear + 0.1, shape.roof_front[0] - 0.1
        z = shape.roof_front[1]
        deflector = block((x0, x1), (-0.75, 0.75), (z, z + 0.45))
        deflector[:, :, 0] = np.where(deflector[:, :, 2] > z + 0.2,
                                      np.minimum(deflector[:, :, 0], x0 + 0.3),
                                      deflector[:, :, 0])  # fmt: skip
        mesh.add(deflector, WHITE if marks.load[6] < 0.5 else marks.lettering[1], ROOF, 0)


def add_bus_details(mesh: Mesh, body: Body, marks: Marks, paint: Material) -> None:
    """Roof units, doors, destination sign and livery of a bus."""
    shape, tub, cabin = body.shape, body.tub, body.cabin
    top = shape.roof_front[1] + 0.02
    for number in range(1 + int(3 * marks.load[1])):
        x = shape.wheelbase * (0.05 + 0.38 * number) + marks.load[number + 2]
        unit = block((x, x + 0.9 + 0.8 * marks.load[3]), (-0.7, 0.7), (top, top + 0.22), taper=0.06)
        mesh.add(unit, WHITE if marks.load[4] < 0.7 else paint, ROOF, number)
    hatch = np.linspace(shape.wheelbase * 0.9, shape.wheelbase * 0.9 + 0.7, 2)
    mesh.add(top_strip(cabin, hatch, 0.35, -0.35), WHITE.scaled(0.7), CABIN, 2)
    sign = end_strip(cabin, FRONT, np.linspace(-0.6, 0.6, 3), 0.80, 0.92)
    mesh.add(sign, DARK, CABIN, 6)
    glow = Material((0.3, 0.15, 0.02), glow=(0.5, 0.25, 0.03))
    mesh.add(end_strip(cabin, FRONT, np.linspace(-0.4, 0.3, 3), 0.83, 0.89), glow, CABIN, 7)
    # Doors are on the right, where the kerb is.
    belt = float(body.belt(shape.wheelbase)) - 0.02
    near_front = 0.25 * shape.wheelbase + 0.75 * shape.front_low[0]
    for x in (near_front, 0.48 * shape.wheelbase):
        for shift in (-0.32, 0.32):
            leaf = side_strip(tub, [x + shift - 0.28, x + shift + 0.28], shape.sill + 0.08, belt)
            mesh.add((leaf * [1.0, -1.0, 1.0])[:, ::-1], PLASTIC.scaled(0.7), TUB, 3)
    _, band, text = marks.lettering
    xs = np.linspace(shape.rear_low[0] + 0.1, shape.front_low[0] - 0.1, 9)
    height = belt - shape.sill
    if marks.livery in (1, 2, 4):
        low = shape.sill + (0.15 + 0.35 * marks.load[5]) * height
        mesh.add(side_strip(tub, xs, low, low + (0.15 + 0.25 * marks.load[6]) * height), band, TUB,
                 2, mirror=True)  # fmt: skip
    if marks.livery in (2, 3):
        start = 0.25 + 0.2 * marks.load[7]
        for number in range(6):
            x = shape.wheelbase * (start + 0.07 * number)
            low = shape.sill + 0.4 * height
            letter = side_strip(tub, [x, x + 0.045 * shape.wheelbase], low, low + 0.35 * height)
            mesh.add(letter, text, TUB, 3, mirror=True)
    if marks.livery == 4:
        low = shape.sill + 0.3 * height
        board = side_strip(
            tub, np.linspace(0.2, 0.62, 4) * shape.wheelbase, low, low + 0.6 * height
        )
        mesh.add(board, text, TUB, 4, mirror=True)
    rear = end_strip(tub, 0, np.linspace(-0.75, 0.75, 3), 0.3, 0.62)
    mesh.add(rear, DARK_RED_LAMP if marks.load[2] < 0.1 else PLASTIC, TUB, 2)
