"""Front and rear: glass, lamps, grille, bumpers, plates."""

import numpy as np

from mtn_core.synthveri.bodywork import Body
from mtn_core.synthveri.marks import Marks
from mtn_core.synthveri.materials import (
    AMBER,
    BLACK_GLOSS,
    CHROME,
    DARK,
    DARK_RED_LAMP,
    GLASS,
    LAMP,
    LAMP_CORE,
    LAMP_DARK,
    LAMP_LIT,
    PLASTIC,
    PLATE,
    PRIVACY_GLASS,
    RED_LAMP,
    RED_LIT,
    WHITE,
)
from mtn_core.synthveri.mesh import Material, Mesh
from mtn_core.synthveri.panels import gap_in
from mtn_core.synthveri.parts import CABIN, TUB
from mtn_core.synthveri.shapes import BUS, PICKUP, TRUCK
from mtn_core.synthveri.strips import FRONT, REAR, end_disc, end_strip, top_strip
from mtn_core.synthveri.style import Lamp, Style
from mtn_core.synthveri.surfaces import Shell


def add_windscreens(mesh: Mesh, body: Body, marks: Marks) -> None:
    """Windscreen and rear window with their dark edges, and what shows through them."""
    cabin = body.cabin
    for which, glass in ((FRONT, GLASS), (REAR, PRIVACY_GLASS if marks.privacy else GLASS)):
        if which == REAR and body.shape.type_id == TRUCK:
            continue
        ws = np.linspace(-1.06, 1.06, 7)
        mesh.add(end_strip(cabin, which, ws, 0.02, 0.90, rows=3), BLACK_GLOSS, CABIN, 2)
        mesh.add(end_strip(cabin, which, 0.93 * ws, 0.07, 0.86, rows=4), glass, CABIN, 3)
        tone = 0.16 * marks.seats + 0.004
        seat = Material((tone, tone, 0.95 * tone), 0.07, 1.0)
        if glass is GLASS:
            for w in (-0.45, 0.45):
                shape = [w - 0.17, w, w + 0.17]
                head = end_strip(cabin, which, shape, 0.2, [0.5, 0.56, 0.5])
                mesh.add(head, seat, CABIN, 4)
    for number in range(marks.dash):
        w = -0.7 + 1.4 * marks.load[number + 1]
        tone = 0.5 * marks.load[number + 2] + 0.03
        thing = end_strip(cabin, FRONT, [w - 0.07, w + 0.07], 0.07, 0.15)
        mesh.add(thing, Material((tone, tone, 0.9 * tone), 0.07, 1.0), CABIN, 5)
    for number, material in enumerate(marks.rear_things):
        w = -0.6 + 0.55 * number + 0.2 * marks.load[number]
        if body.shape.type_id not in (TRUCK, PICKUP):
            mesh.add(end_strip(cabin, REAR, [w - 0.12, w + 0.12], 0.07, 0.2), material, CABIN, 5)


def add_front(mesh: Mesh, body: Body, style: Style, marks: Marks, paint: Material) -> None:
    """Headlamps, grille, bumper and plate."""
    tub = body.tub
    _add_seam(mesh, tub, FRONT, 0.45, 1.5, gap_in(paint))
    _add_grille(mesh, body, style)
    half, low, high = style.intake
    mesh.add(end_strip(tub, FRONT, np.linspace(-half, half, 5), low, high), DARK, TUB, 3)
    if style.fog:
        for w in (-1.02, 1.02):
            fog = end_strip(tub, FRONT, [w - 0.14, w + 0.14], low + 0.02, high)
            mesh.add(fog, DARK, TUB, 3)
            mesh.add(end_disc(tub, FRONT, w, 0.5 * (low + high), 0.045), LAMP, TUB, 4)
    lamp = style.head
    mesh.add(_lamp_faces(tub, FRONT, lamp), LAMP_DARK if style.head_dark else LAMP, TUB, 3,
             mirror=True)  # fmt: skip
    core = LAMP_LIT if marks.lit else LAMP_CORE
    for share in (0.28, 0.66):
        w = lamp.inner + share * (min(lamp.outer, 1.35) - lamp.inner)
        low_edge, high_edge = _lamp_edges(lamp, w)
        radius = 0.30 * (high_edge - low_edge) * (body.shape.bonnet[1] - body.shape.sill)
        disc = end_disc(tub, FRONT, w, 0.5 * (low_edge + high_edge), radius)
        mesh.add(disc, core, TUB, 4, mirror=True)
    if style.head_dark:
        lower = Lamp(lamp.inner, lamp.outer, lamp.low, (lamp.low[0] + 0.03, lamp.low[1] + 0.03))
        mesh.add(_lamp_faces(tub, FRONT, lower), core, TUB, 4, mirror=True)
    amber = Lamp(lamp.outer - 0.15, lamp.outer, (lamp.low[1],) * 2, (lamp.high[1] - 0.02,) * 2)
    if not style.head_dark:
        mesh.add(_lamp_faces(tub, FRONT, amber), AMBER.scaled(0.7), TUB, 4, mirror=True)
    if marks.front_plate:
        _add_plate(mesh, tub, FRONT, 0.36 if style.intake[2] < 0.3 else 0.40, marks.front_plate)
    _add_bonnet_lines(mesh, body, gap_in(paint))


def _add_grille(mesh: Mesh, body: Body, style: Style) -> None:
    half, low, high = style.grille
    tub = body.tub
    ws = np.linspace(-half, half, 5)
    if style.grille_chrome:
        frame = end_strip(tub, FRONT, 1.06 * ws, low - 0.025, high + 0.025)
        mesh.add(frame, CHROME, TUB, 3)
    mesh.add(end_strip(tub, FRONT, ws, low, high), DARK, TUB, 4)
    for number in range(style.grille_bars):
        v = low + (number + 0.7) * (high - low) / (style.grille_bars + 0.4)
        bar = CHROME if style.grille_chrome else PLASTIC.scaled(2.0)
        mesh.add(end_strip(tub, FRONT, ws, v - 0.014, v + 0.014), bar, TUB, 5)
    badge = end_disc(tub, FRONT, 0.0, min(high - 0.04, 0.5 * (low + high) + 0.05), 0.055)
    mesh.add(badge, CHROME, TUB, 6)


def _lamp_edges(lamp: Lamp, w: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ends = [lamp.inner, lamp.outer]
    return np.interp(w, ends, lamp.low), np.interp(w, ends, lamp.high)


def _lamp_faces(tub: Shell, which: int, lamp: Lamp) -> np.ndarray:
    ws = np.linspace(lamp.inner, lamp.outer, 7)
    low, high = _lamp_edges(lamp, ws)
    # Both ends are rounded off a little.
    middle = 0.5 * (low + high)
    round_off = np.array([0.35, 0.85, 1, 1, 1, 0.9, 0.45])
    return end_strip(
        tub, which, ws, middle + (low - middle) * round_off, middle + (high - middle) * round_off
    )


def _add_seam(mesh: Mesh, tub: Shell, which: int, v: float, reach: float, gap: Material) -> None:
    ws = np.linspace(-reach, reach, 11)
    mesh.add(end_strip(tub, which, ws, v - 0.007, v + 0.007), gap, TUB, 2)


def _add_plate(mesh: Mesh, tub: Shell, which: int, v: float, rows: int) -> None:
    """A number plate, blacked out as in VeRi."""
    high = 0.11 if rows == 1 else 0.18
    half = 0.24 if rows == 1 else 0.17
    width = float(tub.left[2, -which, 1])
    height = float(tub.end_height(which, 1.0) - tub.end_height(which, 0.0))
    ws = np.array([-half, half]) / width
    dv = 0.5 * high / height
    edge = end_strip(tub, which, 1.12 * ws, v - 1.3 * dv, v + 1.3 * dv)
    mesh.add(edge, WHITE.scaled(0.35), TUB, 7)
    mesh.add(end_strip(tub, which, ws, v - dv, v + dv), PLATE, TUB, 8)


def _add_bonnet_lines(mesh: Mesh, body: Body, gap: Material) -> None:
    shape = body.shape
    if shape.type_id in (BUS, TRUCK):
        return
    x0, x1 = shape.windscreen[0] + 0.04, shape.bonnet[0] - 0.05
    xs = np.linspace(x0, x1, 4)
    width = np.interp(xs, body.tub.left[-1, :, 0], body.tub.left[-1, :, 1])
    edge = 0.90 * width
    mesh.add(top_strip(body.tub, xs, edge + 0.005, edge - 0.005), gap, TUB, 2, mirror=True)
    # A dark scuttle at the foot of the windscreen.
    scuttle = [shape.windscreen[0] - 0.05, shape.windscreen[0] + 0.06]
    mesh.add(top_strip(body.tub, scuttle, 0.62, -0.62), PLASTIC.scaled(0.6), TUB, 2)


def add_rear(mesh: Mesh, body: Body, style: Style, marks: Marks, paint: Material) -> None:
    """Tail lamps, boot lid, bumper and plate."""
    tub, lamp = body.tub, style.tail
    _add_seam(mesh, tub, REAR, 0.42, 1.4, gap_in(paint))
    mesh.add(end_strip(tub, REAR, np.linspace(-1.3, 1.3, 7), 0.0, 0.14), PLASTIC, TUB, 2)
    mesh.add(_lamp_faces(tub, REAR, lamp), RED_LAMP, TUB, 3, mirror=True)
    span = lamp.outer - lamp.inner
    low, high = lamp.low[0], lamp.high[0]
    tall = high - low > 0.35
    inner = Lamp(lamp.inner + 0.15 * span, lamp.outer - 0.3 * span, (low + 0.03,) * 2,
                 (low + 0.3 * (high - low),) * 2)  # fmt: skip
    mesh.add(_lamp_faces(tub, REAR, inner), WHITE if tall else DARK_RED_LAMP, TUB, 4, mirror=True)
    upper = Lamp(lamp.inner + 0.1 * span, lamp.outer - 0.25 * span,
                 (low + 0.5 * (high - low),) * 2, (high - 0.03,) * 2)  # fmt: skip
    mesh.add(_lamp_faces(tub, REAR, upper), RED_LIT if marks.braking else DARK_RED_LAMP, TUB, 4,
             mirror=True)  # fmt: skip
    if style.tail_bar:
        bar = end_strip(
            tub, REAR, np.linspace(-lamp.inner, lamp.inner, 5), high - 0.09, high - 0.03
        )
        mesh.add(bar, RED_LAMP, TUB, 3)
    # Shut line of the boot or tailgate.
    edge = min(lamp.inner, 0.9)
    for w in (-edge, edge):
        mesh.add(
            end_strip(tub, REAR, [w - 0.008, w + 0.008], 0.42, 0.97, rows=2), gap_in(paint), TUB, 2
        )
    _add_plate(mesh, tub, REAR, style.rear_plate, 2 if body.shape.type_id in (BUS, TRUCK) else 1)
    if style.belt_badge:
        half = style.belt_badge
        v = style.rear_plate + 0.14 if style.rear_plate > 0.5 else 0.62
        strip = end_strip(tub, REAR, np.linspace(-half, half, 3), v - 0.015, v + 0.015)
        mesh.add(strip, CHROME, TUB, 3)
    mesh.add(end_disc(tub, REAR, 0.0, 0.84, 0.05), CHROME, TUB, 4)
    for w in (-0.9, 0.9):
        reflector = end_strip(tub, REAR, [w - 0.12, w + 0.12], 0.2, 0.25)
        mesh.add(reflector, DARK_RED_LAMP, TUB, 3)
