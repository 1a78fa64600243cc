"""How a model is styled: what all its cars share beyond the shape."""

from dataclasses import dataclass

import numpy as np

from mtn_core.synthveri.shapes import BUS, ESTATE, MPV, PICKUP, SEDAN, SUV, TRUCK, VAN


@dataclass(frozen=True)
class Lamp:
    """A lamp on a corner, between two places around it.

    Attributes:
        inner: ``w`` of its inner end (see ``Shell.front``).
        outer: ``w`` of its outer end.
        low: Lower edge at the inner and outer end, as shares of the end's height.
        high: Upper edge at the inner and outer end.
    """

    inner: float
    outer: float
    low: tuple[float, float]
    high: tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Design of a model.

    Attributes:
        head: Headlamps.
        head_dark: Whether they have a dark ground.
        tail: Tail lamps.
        tail_bar: A lit strip joins the tail lamps.
        grille: Half width (w), lower and upper edge (shares of the front's height).
        grille_bars: Number of horizontal bars.
        grille_chrome: Whether the grille has a bright frame.
        intake: Half width, lower and upper edge of the lower air intake.
        fog: Fog lamps.
        cladding: Dark lower body and wheel arches.
        window_chrome: Bright line around the side windows.
        pillar_dark: Whether the pillars between the side windows are black.
        pillars: x of the pillars between side panes, in wheelbases, front to rear.
        glass: Rear and front end of the side windows, as shares of the cabin's length.
        handle: Height of the door handles below the belt line, metres.
        crease: How far the line along the flank stands out, metres.
        rear_plate: Height of the rear plate, as a share of the rear's height.
        blind: Panes from the rear that are sheet metal (delivery vans).
        spoiler: Length of the lip above the rear window, metres.
        flank_strip: 0 none, 1 black, 2 bright moulding along the doors.
        belt_badge: Half width of the bright strip above the rear plate.
    """

    head: Lamp
    head_dark: bool
    tail: Lamp
    tail_bar: bool
    grille: tuple[float, float, float]
    grille_bars: int
    grille_chrome: bool
    intake: tuple[float, float, float]
    fog: bool
    cladding: bool
    window_chrome: bool
    pillar_dark: bool
    pillars: tuple[float, ...]
    glass: tuple[float, float]
    handle: float
    crease: float
    rear_plate: float
    blind: int
    spoiler: float
    flank_strip: int
    belt_badge: float


def create_style(type_id: int, rng: np.random.Generator) -> Style:
    """Draw the design of a model of a type."""
    heavy = type_id in (BUS, TRUCK)
    upright = type_id in (SUV, VAN, MPV, PICKUP, BUS, TRUCK, ESTATE)
    pillars = {
        SEDAN: (0.50, 0.16),
        SUV: (0.50, 0.12),
        VAN: (0.76, 0.26),
        MPV: (0.56, 0.14),
        PICKUP: (0.48,),
        ESTATE: (0.49, 0.13),
        TRUCK: (),
        BUS: tuple(np.linspace(1.22, -0.36, int(rng.integers(5, 8))).tolist()),
    }.get(type_id, (0.48, 0.12))
    pillars = tuple(p + rng.uniform(-0.02, 0.02) for p in pillars)
    return Style(
        head=_head(heavy, rng),
        head_dark=bool(rng.random() < 0.5),
        tail=_tail(type_id, upright, rng),
        tail_bar=bool(rng.random() < 0.18 and not heavy),
        grille=(rng.uniform(0.35, 0.72), rng.uniform(0.46, 0.60), rng.uniform(0.74, 0.84)),
        grille_bars=int(rng.integers(0, 5)),
        grille_chrome=bool(rng.random() < 0.6),
        intake=(rng.uniform(0.45, 0.95), rng.uniform(0.06, 0.12), rng.uniform(0.24, 0.34)),
        fog=bool(rng.random() < 0.6),
        cladding=bool(rng.random() < {SUV: 0.55, PICKUP: 0.5, VAN: 0.2}.get(type_id, 0.06)),
        window_chrome=bool(rng.random() < 0.4 and not heavy),
        pillar_dark=bool(rng.random() < 0.75 or heavy),
        pillars=pillars,
        glass=(rng.uniform(0.03, 0.14) if type_id != BUS else 0.01, rng.uniform(0.95, 1.0)),
        handle=rng.uniform(0.10, 0.17),
        crease=rng.uniform(0.004, 0.022),
        rear_plate=rng.uniform(0.58, 0.68) if rng.random() < 0.7 else rng.uniform(0.26, 0.32),
        blind=int(rng.choice([0, 0, 1, 2])) if type_id == VAN else 0,
        spoiler=float(rng.choice([0.0, 0.10, 0.18])) if upright and not heavy else 0.0,
        flank_strip=int(rng.choice([0, 0, 1, 2])) if not heavy else 0,
        belt_badge=float(rng.choice([0.0, 0.25, 0.5])),
    )


def _head(heavy: bool, rng: np.random.Generator) -> Lamp:
    kind = "block" if heavy else str(rng.choice(["swept", "swept", "block", "slim", "eye"]))
    inner, outer = rng.uniform(0.60, 0.80), rng.uniform(1.35, 1.80)
    if kind == "swept":
        low, rise = rng.uniform(0.62, 0.68), rng.uniform(0.02, 0.08)
        return Lamp(inner, outer, (low, low + rise), (low + 0.12, low + rise + 0.17))
    if kind == "slim":
        low = rng.uniform(0.70, 0.76)
        return Lamp(inner - 0.1, outer + 0.1, (low, low + 0.03), (low + 0.08, low + 0.13))
    if kind == "eye":
        low = rng.uniform(0.56, 0.62)
        return Lamp(inner + 0.1, outer - 0.1, (low, low + 0.02), (low + 0.2, low + 0.28))
    low = rng.uniform(0.45, 0.55) if heavy else rng.uniform(0.60, 0.66)
    height = rng.uniform(0.13, 0.2)
    return Lamp(inner, outer - 0.15, (low, low), (low + height, low + height))


def _tail(type_id: int, upright: bool, rng: np.random.Generator) -> Lamp:
    if type_id in (BUS, TRUCK, VAN, PICKUP) or (upright and rng.random() < 0.45):
        low = rng.uniform(0.40, 0.52)
        inner = rng.uniform(0.84, 0.92) if type_id != TRUCK else 0.7
        return Lamp(inner, rng.uniform(1.2, 1.7), (low, low), (low + 0.42, low + 0.44))
    low, high = rng.uniform(0.62, 0.68), rng.uniform(0.86, 0.93)
    tilt = rng.uniform(-0.02, 0.06)
    return Lamp(
        rng.uniform(0.50, 0.72), rng.uniform(1.4, 2.1), (low, low + tilt), (high - 0.05, high)
    )
