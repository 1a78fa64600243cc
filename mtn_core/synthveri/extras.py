"""What is fitted or stuck to a car: mirrors, roof, stripes, stickers."""

import numpy as np

from mtn_core.synthveri.bodywork import Body, arch_radius
from mtn_core.synthveri.marks import Marks, Sticker
from mtn_core.synthveri.materials import (
    BLACK_GLOSS,
    CHROME,
    GAP,
    GLASS,
    PLASTIC,
    PRIVACY_GLASS,
    SILVER,
    WHITE,
)
from mtn_core.synthveri.mesh import Material, Mesh
from mtn_core.synthveri.parts import CABIN, MIRROR_LEFT, MIRROR_RIGHT, ROOF, TUB
from mtn_core.synthveri.shapes import BUS, PICKUP, TRUCK, VAN
from mtn_core.synthveri.strips import (
    FRONT,
    REAR,
    block,
    end_strip,
    side_strip,
    top_strip,
)
from mtn_core.synthveri.style import Style


def add_mirrors(mesh: Mesh, body: Body, marks: Marks, paint: Material) -> None:
    """Outside mirrors on short arms."""
    shape = body.shape
    material = (paint, BLACK_GLOSS, CHROME)[marks.mirrors]
    if shape.type_id in (BUS, TRUCK):
        x, z, size = shape.windscreen[0] - 0.02, shape.windscreen[1] + 0.45, (0.08, 0.17, 0.36)
        material = PLASTIC
    else:
        x, z, size = shape.windscreen[0] - 0.32, shape.windscreen[1] + 0.06, (0.11, 0.20, 0.14)
    y = float(body.tub.side([(x - 0.1, shape.windscreen[1] - 0.05)])[0, 1]) + 0.02
    depth, across, height = size
    house = block((x - depth, x + depth), (y, y + across), (z, z + height), taper=0.025)
    foot = block((x - 0.03, x + 0.03), (y - 0.12, y + 0.03), (z + 0.01, z + 0.05))
    glass = np.array(
        [
            (x - depth - 0.004, y + across - 0.02, z + 0.02),
            (x - depth - 0.004, y + 0.02, z + 0.02),
            (x - depth + 0.01, y + 0.04, z + height - 0.02),
            (x - depth + 0.01, y + across - 0.04, z + height - 0.02),
        ]
    )[None]
    for side, part in ((1, MIRROR_LEFT), (-1, MIRROR_RIGHT)):
        for faces, stuff, layer in ((foot, PLASTIC, 0), (house, material, 1), (glass, GLASS, 2)):
            turned = faces if side == 1 else (faces * [1.0, -1.0, 1.0])[:, ::-1]
            mesh.add(turned, stuff, part, layer)


def add_roof(mesh: Mesh, body: Body, style: Style, marks: Marks, paint: Material) -> None:
    """Sunroof, rails, bars, box, antenna, taxi sign, spoiler."""
    shape, cabin = body.shape, body.cabin
    rear, front = shape.roof_rear[0], shape.roof_front[0]
    if shape.type_id == TRUCK:
        return
    length = front - rear
    edge = float(np.interp(0.5 * (rear + front), cabin.left[-1, :, 0], cabin.left[-1, :, 1]))
    if marks.roof in (1, 2):
        x1 = front - 0.12 * length
        x0 = x1 - (0.30 if marks.roof == 1 else 0.72) * length
        half = (0.55 if marks.roof == 1 else 0.78) * edge
        xs = np.linspace(x0, x1, 5)
        mesh.add(top_strip(cabin, xs, half + 0.02, -half - 0.02), GAP, CABIN, 2)
        mesh.add(top_strip(cabin, xs, half, 0.0), PRIVACY_GLASS, CABIN, 3)
        mesh.add(top_strip(cabin, xs, 0.0, -half), PRIVACY_GLASS, CABIN, 3)
    top = float(cabin.top([(0.5 * (rear + front), 0.8 * edge)])[0, 2])
    if marks.rails:
        material = (PLASTIC, SILVER)[marks.rails - 1]
        rail = block((rear + 0.05, front - 0.1), (0.86 * edge, 0.86 * edge + 0.045),
                     (top + 0.02, top + 0.07), taper=0.01)  # fmt: skip
        mesh.add(rail, material, ROOF, 1, mirror=True)
    if marks.bars:
        for share in (0.3, 0.7):
            x = rear + share * length
            bar = block((x - 0.03, x + 0.03), (-0.9 * edge, 0.9 * edge), (top + 0.06, top + 0.10))
            mesh.add(bar, SILVER if marks.rails == 2 else PLASTIC, ROOF, 2)
    if marks.roof_box:
        side = 0.25 * (marks.load[3] - 0.5)
        box = block((rear + 0.1 * length, rear + 0.85 * length), (side - 0.36, side + 0.36),
                    (top + 0.08, top + 0.34), taper=0.06)  # fmt: skip
        mesh.add(box, BLACK_GLOSS if marks.load[4] < 0.6 else SILVER, ROOF, 3)
    if marks.antenna == 1:
        x = rear + 0.08
        z = float(cabin.top([(x, 0.0)])[0, 2])
        fin = block((x - 0.09, x + 0.09), (-0.025, 0.025), (z - 0.02, z + 0.07), taper=0.02)
        mesh.add(fin, paint if marks.load[5] < 0.5 else BLACK_GLOSS, ROOF, 1)
    elif marks.antenna == 2:
        x, y = (rear + 0.1, 0.0) if marks.load[5] < 0.5 else (front - 0.1, 0.35)
        z = float(cabin.top([(x, y)])[0, 2])
        mesh.add(block((x - 0.008, x + 0.008), (y - 0.008, y + 0.008), (z, z + 0.35)), GAP, ROOF, 1)
    if marks.taxi:
        x, z = 0.5 * (rear + front) + 0.1, top + 0.05
        sign = block((x - 0.09, x + 0.09), (-0.22, 0.22), (z, z + 0.14), taper=0.03)
        mesh.add(sign, marks.lettering[0], ROOF, 4)
    if style.spoiler:
        x = shape.roof_rear[0]
        width = float(np.interp(x, cabin.left[-2, :, 0], cabin.left[-2, :, 1])) - 0.05
        z = shape.roof_rear[1]
        lip = block((x - style.spoiler - 0.10, x + 0.12), (-width, width), (z - 0.02, z + 0.035),
                    taper=0.02)  # fmt: skip
        mesh.add(lip, BLACK_GLOSS if marks.load[6] < 0.25 else paint, ROOF, 0)


def add_stripes(mesh: Mesh, body: Body, marks: Marks) -> None:
    """Racing stripes over the car, or a line along the flank."""
    shape, material = body.shape, marks.stripe_material
    if marks.stripe == 1 and max(material.albedo) < 0.6:
        material = WHITE if marks.load[2] < 0.4 else BLACK_GLOSS
    if marks.stripe == 1 and shape.type_id not in (VAN, PICKUP):
        for y in (-0.22, 0.10):
            bonnet = np.linspace(shape.windscreen[0] + 0.06, shape.bonnet[0] + 0.06, 5)
            roof = np.linspace(shape.roof_rear[0], shape.roof_front[0], 4)
            mesh.add(top_strip(body.tub, bonnet, y + 0.14, y), material, TUB, 3)
            mesh.add(top_strip(body.cabin, roof, y + 0.14, y), material, CABIN, 4)
    elif marks.stripe:
        r = arch_radius(shape)
        xs = np.linspace(r + 0.04, shape.wheelbase - r - 0.04, 7)
        if marks.stripe == 2:
            low = np.array([float(body.belt(x)) for x in xs]) - 0.22 - 0.1 * marks.load[1]
            mesh.add(side_strip(body.tub, xs, low, low + 0.07), material, TUB, 2, mirror=True)
        else:
            z = shape.sill + 0.12
            mesh.add(side_strip(body.tub, xs, z, z + 0.16), material, TUB, 2, mirror=True)


def add_stickers(mesh: Mesh, body: Body, marks: Marks) -> None:
    """Labels on glass, lettering on metal."""
    for sticker in marks.stickers:
        if body.shape.type_id == TRUCK and sticker.where in ("rear_window", "tailgate", "flank"):
            continue
        for shift, width in _letters(sticker):
            _add_sticker(mesh, body, sticker, shift, width)


def _letters(sticker: Sticker) -> list[tuple[float, float]]:
    if not sticker.letters:
        return [(0.0, sticker.width)]
    pitch = sticker.width / sticker.letters
    return [
        ((number - 0.5 * (sticker.letters - 1)) * pitch, pitch * (0.5 + 0.25 * (number % 2)))
        for number in range(sticker.letters)
    ]


def _add_sticker(mesh: Mesh, body: Body, sticker: Sticker, shift: float, width: float) -> None:
    shape, tub, cabin = body.shape, body.tub, body.cabin
    if sticker.where in ("windscreen", "rear_window", "tailgate"):
        which = FRONT if sticker.where == "windscreen" else REAR
        shell, part = (tub, TUB) if sticker.where == "tailgate" else (cabin, CABIN)
        half = float(shell.left[len(shell.left) // 2, -which, 1])
        height = float(shell.end_height(which, 1.0) - shell.end_height(which, 0.0))
        v = 0.45 + 0.4 * sticker.v if sticker.where == "tailgate" else sticker.v
        w = sticker.u * 0.9 + np.array([shift - width / 2, shift + width / 2]) / half
        dv = 0.5 * sticker.height / height * (0.4 if sticker.where == "tailgate" else 1.0)
        mesh.add(end_strip(shell, which, w.clip(-0.95, 0.95), v - dv, v + dv), sticker.material,
                 part, 6)  # fmt: skip
    elif sticker.where == "flank":
        r = arch_radius(shape)
        x0, x1 = r + 0.4, shape.wheelbase - r - 0.4
        x = 0.5 * (x0 + x1) + 0.5 * sticker.u * (x1 - x0) + shift
        low, high = shape.sill + 0.25, float(body.belt(x)) - 0.12
        z = low + sticker.v * (high - low)
        strip = side_strip(tub, [x - width / 2, x + width / 2], z - sticker.height / 2,
                           z + sticker.height / 2)  # fmt: skip
        mesh.add(strip, sticker.material, TUB, 4, mirror=True)
    else:
        x0, x1 = shape.windscreen[0] + 0.2, shape.bonnet[0] - 0.1
        if x1 > x0 + 0.2:
            x = x0 + sticker.v * (x1 - x0)
            y = 0.5 * sticker.u - shift
            xs = [x - sticker.height / 2, x + sticker.height / 2]
            mesh.add(top_strip(tub, xs, y + width / 2, y - width / 2), sticker.material, TUB, 4)
