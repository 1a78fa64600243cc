"""Body panels, side windows, doors and what lies along the flank."""

import itertools

import numpy as np

from mtn_core.synthveri.bodywork import Body, arch_radius
from mtn_core.synthveri.marks import Marks
from mtn_core.synthveri.materials import (
    BLACK_GLOSS,
    CHROME,
    DARK,
    GAP,
    GLASS,
    PLASTIC,
    PRIVACY_GLASS,
    linear,
)
from mtn_core.synthveri.mesh import Material, Mesh, toned
from mtn_core.synthveri.parts import CABIN, TUB
from mtn_core.synthveri.shapes import BUS, PICKUP, TRUCK, VAN
from mtn_core.synthveri.strips import side_share_strip, side_strip
from mtn_core.synthveri.style import Style
from mtn_core.synthveri.surfaces import Shell, grid_quads

_DUST = np.array(linear((140, 125, 105)))
_PANES_T = (0.06, 0.46, 0.87)


def add_walls(mesh: Mesh, body: Body, style: Style, marks: Marks, paint: Material) -> None:
    """Walls of tub and cabin, the cabin's roof and the tub's bonnet and boot."""
    for wall in body.tub.walls().values():
        quads = grid_quads(wall)
        columns = wall.shape[1] - 1
        dark_rows = 2 if style.cladding else 1
        materials = [PLASTIC] * (dark_rows * columns) + [
            _dusty(paint, marks.dirt, z) for z in quads[dark_rows * columns :, :, 2].mean(axis=1)
        ]
        mesh.add(quads, materials, TUB)
    for wall in body.cabin.walls().values():
        mesh.add(grid_quads(wall), paint, CABIN)
    roof = BLACK_GLOSS if marks.roof == 3 else paint
    mesh.add(grid_quads(body.cabin.lid()), roof, CABIN, 1)
    lid = body.tub.lid()
    if body.shape.type_id == PICKUP:
        lid = lid[lid[:, 0, 0] > body.shape.cab_rear - 0.05]
    mesh.add(grid_quads(lid), paint, TUB, 1)


def _dusty(paint: Material, dirt: float, z: float) -> Material:
    """Paint under the dirt that there is at a height."""
    cover = float(np.clip(dirt * 1.2 - 0.9 * (z - 0.25), 0.0, 0.75))
    albedo = tuple((1 - cover) * np.array(paint.albedo) + cover * _DUST)
    return Material(albedo, paint.f0, paint.gloss * (1 - cover))


def add_arches(mesh: Mesh, body: Body, style: Style) -> None:
    """Wheel openings, with a dark rim on cars that have cladding."""
    shape = body.shape
    radius = arch_radius(shape)
    angle = np.linspace(0, np.pi, 11)
    axles = (shape.wheelbase,) if shape.type_id == TRUCK else (0.0, shape.wheelbase)
    for x in axles:
        for factor, material, layer in ((1.17, PLASTIC, 4), (1.0, DARK, 5)):
            if factor > 1 and not style.cladding:
                continue
            r = factor * radius
            arc = np.stack([x - r * np.cos(angle), shape.wheel_radius + r * np.sin(angle)], 1)
            outline = np.concatenate([[(x - r, shape.sill)], arc, [(x + r, shape.sill)]])
            mesh.add(body.tub.side(outline), material, TUB, layer, mirror=True)


def add_side_windows(mesh: Mesh, body: Body, style: Style, marks: Marks) -> None:
    """Panes between the pillars, on a dark or bright frame."""
    cabin, shape = body.cabin, body.shape
    rear, front = style.glass
    frame_t = (_PANES_T[0] - 0.03, 0.5, _PANES_T[-1] + 0.025)
    if style.blind:
        # The frame ends where the sheet metal begins.
        last = style.pillars[len(style.pillars) - style.blind] * shape.wheelbase
        rear = max(rear, float(cabin.share_at(last - 0.03, 0.5)))
    if style.window_chrome or style.pillar_dark:
        frame = CHROME if style.window_chrome else BLACK_GLOSS
        strip = side_share_strip(cabin, (rear - 0.012, front + 0.012), frame_t, columns=6)
        mesh.add(strip, frame, CABIN, 2, mirror=True)
        if style.window_chrome and style.pillar_dark:
            inner = (_PANES_T[0] - 0.005, 0.5, _PANES_T[-1] + 0.005)
            strip = side_share_strip(cabin, (rear, front), inner, columns=6)
            mesh.add(strip, BLACK_GLOSS, CABIN, 3, mirror=True)
    t = np.array(_PANES_T)
    width = 0.035 if shape.type_id != BUS else 0.05
    bounds = [np.full(3, front)]
    for pillar in style.pillars:
        x = pillar * shape.wheelbase
        bounds += [cabin.share_at(x + width, t), cabin.share_at(x - width, t)]
    bounds.append(np.full(3, rear))
    panes = list(zip(bounds[1::2], bounds[0::2], strict=True))
    for number, (low, high) in enumerate(panes):
        start, end = np.maximum(low, rear), np.minimum(high, front)
        if (end - start).max() < 0.02 or number >= len(panes) - style.blind:
            continue
        glass = PRIVACY_GLASS if marks.privacy and number > 0 else GLASS
        strip = side_share_strip(cabin, (start, np.maximum(end, start)), t, columns=3)
        mesh.add(strip, glass, CABIN, 4, mirror=True)
        if marks.seats > 0.03 and not (marks.privacy and number > 0):
            _add_seat(mesh, cabin, start, end, marks.seats)
        if marks.visors and shape.type_id != BUS:
            edge = np.array([0.80, 0.89])
            ends = (np.interp(edge, t, start), np.interp(edge, t, end))
            mesh.add(side_share_strip(cabin, ends, edge), BLACK_GLOSS, CABIN, 6, mirror=True)


def _add_seat(mesh: Mesh, cabin: Shell, low: np.ndarray, high: np.ndarray, tone: float) -> None:
    """The head of a seat behind the glass."""
    middle = 0.5 * (low + high)[:2] - 0.02
    half = 0.13 * (high - low)[:2]
    strip = side_share_strip(cabin, (middle - half, middle + half), (0.08, 0.55), columns=1)
    material = Material((0.2 * tone, 0.19 * tone, 0.18 * tone), 0.05, 0.9)
    mesh.add(strip, material, CABIN, 5, mirror=True)


def add_doors(mesh: Mesh, body: Body, style: Style, paint: Material) -> None:
    """Shut lines, handles, a moulding and the sill."""
    shape, tub = body.shape, body.tub
    if shape.type_id == BUS:
        return
    wb = shape.wheelbase
    front_edge = wb - arch_radius(shape) - 0.10
    edges = [min(front_edge, shape.windscreen[0] + 0.02)]
    if style.pillars:
        edges.append(style.pillars[0] * wb)
    if shape.type_id not in (PICKUP, TRUCK, VAN):
        edges.append(0.5 * arch_radius(shape))
    elif shape.type_id in (PICKUP, TRUCK):
        edges.append(shape.cab_rear + 0.10)
    gap = gap_in(paint)
    sill = shape.sill + 0.10
    for x in edges:
        top = float(body.belt(x)) - 0.01
        low = sill if abs(x) > arch_radius(shape) else shape.wheel_radius + arch_radius(shape)
        for z0, z1 in _pieces(low, top, 3):
            mesh.add(side_strip(tub, [x - 0.005, x + 0.005], z0, z1), gap, TUB, 3, mirror=True)
    lowest = side_strip(tub, np.linspace(edges[-1], edges[0], 4), sill - 0.008, sill + 0.008)
    mesh.add(lowest, gap, TUB, 3, mirror=True)
    bright = Material(toned(paint.albedo, 0.6, 0.25), 0.1, 0.8)
    for x in edges[1:]:
        if x > shape.cab_rear - 0.1:
            z = float(body.belt(x)) - style.handle
            grip = side_strip(tub, [x + 0.07, x + 0.24], z - 0.018, z + 0.018)
            mesh.add(
                grip, bright if style.window_chrome else paint.scaled(0.6), TUB, 4, mirror=True
            )
    if style.flank_strip:
        z = shape.sill + 0.30
        xs = np.linspace(arch_radius(shape) + 0.05, front_edge, 5)
        strip = side_strip(tub, xs, z - 0.03, z + 0.03)
        mesh.add(strip, (PLASTIC, CHROME)[style.flank_strip - 1], TUB, 3, mirror=True)
    if shape.type_id == VAN and style.pillars:
        z = float(body.belt(0.0)) - 0.12
        rail = side_strip(tub, np.linspace(-0.2, style.pillars[-1] * wb, 4), z, z + 0.025)
        mesh.add(rail, GAP, TUB, 3, mirror=True)


def gap_in(paint: Material) -> Material:
    """The dark of a shut line, which is too thin to be quite black."""
    return Material(toned(paint.albedo, 0.25, 0.012))


def _pieces(low: float, high: float, count: int) -> list[tuple[float, float]]:
    edges = np.linspace(low, high, count + 1)
    return list(itertools.pairwise(edges))


def add_patch(mesh: Mesh, body: Body, marks: Marks) -> None:
    """A door or wing that was replaced and never painted."""
    shape = body.shape
    if marks.patch < 0 or shape.type_id in (BUS, TRUCK):
        return
    wb, r = shape.wheelbase, arch_radius(shape)
    front = min(wb - r - 0.10, shape.windscreen[0])
    x0, x1 = {0: (0.5 * wb, front), 1: (r + 0.1, 0.5 * wb), 2: (wb + r, shape.front_low[0])}[
        marks.patch
    ]
    for z0, z1 in _pieces(shape.sill + 0.1, float(body.belt(0.5 * (x0 + x1))) - 0.03, 3):
        strip = side_strip(body.tub, np.linspace(x0, x1, 4), z0, z1)
        side = 1 if marks.load[0] < 0.5 else -1
        if side < 0:
            strip = (strip * [1.0, -1.0, 1.0])[:, ::-1]
        mesh.add(strip, marks.patch_material, TUB, 2)
