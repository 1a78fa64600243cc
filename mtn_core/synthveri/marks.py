"""What tells one car from another of the same model and colour."""

from dataclasses import dataclass

import numpy as np

from mtn_core.synthveri.materials import BLACK_GLOSS, GUNMETAL, SILVER, linear
from mtn_core.synthveri.mesh import Material
from mtn_core.synthveri.shapes import BUS, ESTATE, MPV, PICKUP, SUV, TRUCK, VAN

_VIVID = (
    (200, 30, 35), (30, 70, 170), (240, 200, 30), (30, 130, 70), (240, 240, 240), (25, 25, 28),
    (235, 120, 30), (110, 180, 220), (120, 60, 130),
)  # fmt: skip


@dataclass(frozen=True)
class WheelStyle:
    """Rims of a car.

    Attributes:
        spokes: Number; 0 is a closed disc.
        rim: Material of rim and spokes.
        back: Material between the spokes.
        share: Of the tyre's radius that the rim takes.
        thick: Width of a spoke as a share of the rim's radius.
    """

    spokes: int
    rim: Material
    back: Material
    share: float
    thick: float


@dataclass(frozen=True)
class Sticker:
    """A patch of colour on a surface.

    Attributes:
        where: ``windscreen``, ``rear_window``, ``flank``, ``bonnet``, ``tailgate``.
        u: Place across or along, -1..1 of what there is.
        v: Place up, 0..1.
        width: Metres.
        height: Metres.
        letters: Number of letters it is broken into; 0 is a plain patch.
        material: Its colour.
    """

    where: str
    u: float
    v: float
    width: float
    height: float
    letters: int
    material: Material


@dataclass(frozen=True)
class Marks:
    """Individual features of a vehicle.

    Attributes:
        wheel: Rims.
        rails: 0 no roof rails, 1 black, 2 silver.
        bars: Cross bars on the roof.
        roof_box: A luggage box on the bars.
        roof: 0 plain, 1 sunroof, 2 panoramic glass, 3 black roof.
        antenna: 0 none, 1 fin, 2 rod.
        stripe: 0 none, 1 two over bonnet and roof, 2 along the flank, 3 lower flank band.
        stripe_material: Colour of the stripe.
        stickers: Patches on glass and metal.
        mirrors: 0 as the body, 1 black, 2 bright.
        privacy: Dark glass behind the front doors.
        visors: Rain visors over the side windows.
        patch: Door or wing in another colour (-1 none, 0 front door, 1 rear door, 2 wing).
        patch_material: Its colour.
        dirt: How far dirt has crept up the body, 0..1.
        front_plate: 0 missing, 1 a single row, 2 two rows.
        lit: Headlamps on.
        braking: Brake lamps on.
        seats: Albedo of seats and dashboard as seen through the glass.
        dash: Number of things on the dashboard.
        rear_things: Colours of what lies under the rear window.
        lettering: Colours of a load's or a bus's livery: ground, band, text.
        livery: Which livery, 0 is plain.
        load: Random numbers 0..1 for what else a heavy vehicle shows.
        taxi: A sign on the roof.
    """

    wheel: WheelStyle
    rails: int
    bars: bool
    roof_box: bool
    roof: int
    antenna: int
    stripe: int
    stripe_material: Material
    stickers: tuple[Sticker, ...]
    mirrors: int
    privacy: bool
    visors: bool
    patch: int
    patch_material: Material
    dirt: float
    front_plate: int
    lit: bool
    braking: bool
    seats: float
    dash: int
    rear_things: tuple[Material, ...]
    lettering: tuple[Material, Material, Material]
    livery: int
    load: tuple[float, ...]
    taxi: bool


def vivid(rng: np.random.Generator) -> Material:
    """A colour as signs and liveries have it."""
    colour = np.array(_VIVID[int(rng.integers(len(_VIVID)))]) * rng.uniform(0.85, 1.05)
    return Material(linear(tuple(np.clip(colour, 0, 255))), 0.03, 0.4)


def create_marks(type_id: int, rng: np.random.Generator) -> Marks:
    """Draw the marks of one vehicle."""
    heavy = type_id in (BUS, TRUCK)
    tall = type_id in (SUV, MPV, ESTATE, VAN)
    rails = int(rng.choice([0, 1, 2])) if tall or rng.random() < 0.06 else 0
    bars = not heavy and rng.random() < (0.28 if rails else 0.07)
    return Marks(
        wheel=_wheel(heavy, rng),
        rails=rails,
        bars=bool(bars),
        roof_box=bool(bars and rng.random() < 0.4),
        roof=0 if heavy else int(rng.choice([0, 0, 0, 1, 1, 2, 3])),
        antenna=int(rng.choice([0, 1, 1, 2])),
        stripe=int(rng.choice([0] * 16 + [1, 2, 2, 3])) if not heavy else 0,
        stripe_material=vivid(rng),
        stickers=_stickers(type_id, rng),
        mirrors=int(rng.choice([0, 0, 1, 2])),
        privacy=bool(rng.random() < 0.4),
        visors=bool(rng.random() < 0.25),
        patch=int(rng.choice([-1] * 30 + [0, 1, 2])),
        patch_material=Material(linear((float(rng.choice([45, 110, 170, 225])),) * 3), 0.03, 0.5),
        dirt=float(rng.beta(1.1, 3.0)),
        front_plate=int(rng.choice([0, 1, 1, 1, 2])),
        lit=bool(rng.random() < 0.18),
        braking=bool(rng.random() < 0.2),
        seats=float(rng.choice([0.01, 0.02, 0.06, 0.15])),
        dash=int(rng.integers(0, 4)),
        rear_things=tuple(vivid(rng) for _ in range(int(rng.choice([0, 0, 1, 2, 3])))),
        lettering=(vivid(rng), vivid(rng), vivid(rng)),
        livery=int(rng.choice([0, 1, 2, 3, 4])) if heavy else int(rng.random() < 0.2),
        load=tuple(rng.random(8).tolist()),
        taxi=bool(type_id not in (BUS, TRUCK, VAN, PICKUP) and not bars and rng.random() < 0.08),
    )


def _wheel(heavy: bool, rng: np.random.Generator) -> WheelStyle:
    black = Material((0.015, 0.015, 0.015))
    if heavy:
        rim = [SILVER, GUNMETAL, Material((0.5, 0.5, 0.48))][int(rng.integers(3))]
        return WheelStyle(int(rng.choice([0, 8, 10])), rim, black, 0.62, 0.16)
    kind = rng.random()
    rim = SILVER if kind < 0.6 else GUNMETAL if kind < 0.8 else BLACK_GLOSS
    spokes = int(rng.choice([0, 5, 5, 6, 7, 8, 10, 12, 16]))
    thick = rng.uniform(0.9, 1.5) / max(spokes, 5)
    return WheelStyle(spokes, rim, black, rng.uniform(0.60, 0.74), thick * 0.55)


def _stickers(type_id: int, rng: np.random.Generator) -> tuple[Sticker, ...]:
    found = []
    # Inspection and insurance labels sit in the upper corners of the windscreen.
    corner = float(rng.choice([-1.0, 1.0]))
    for number in range(int(rng.choice([0, 1, 2, 3, 4]))):
        size = rng.uniform(0.06, 0.10)
        found.append(
            Sticker("windscreen", corner * (0.80 - 0.16 * number), rng.uniform(0.80, 0.88),
                    size, size * rng.uniform(0.8, 1.2), 0, vivid(rng))
        )  # fmt: skip
    for where, chance, widest in (
        ("rear_window", 0.30, 0.28), ("tailgate", 0.35, 0.25), ("flank", 0.16, 0.8),
        ("bonnet", 0.05, 0.4),
    ):  # fmt: skip
        if rng.random() < (chance * (3 if type_id == VAN and where == "flank" else 1)):
            width = rng.uniform(0.12, widest)
            found.append(
                Sticker(where, rng.uniform(-0.7, 0.7), rng.uniform(0.2, 0.7), width,
                        rng.uniform(0.07, 0.16), int(rng.choice([0, 0, 4, 6, 8])), vivid(rng))
            )  # fmt: skip
    return tuple(found)
