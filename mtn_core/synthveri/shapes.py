"""Side profiles of the nine VeRi types, and how one model differs from another of its type.

Each family is the median side profile of VeRi's annotations (in wheelbases, origin at the rear
wheel's centre) with the lines moved to where that type has them.
"""

from dataclasses import dataclass, replace

import numpy as np

SEDAN, SUV, VAN, HATCHBACK, MPV, PICKUP, BUS, TRUCK, ESTATE = range(1, 10)


@dataclass(frozen=True)
class Shape:
    """Measures of one model, in metres; the points are (x, z) in the car's frame.

    Attributes:
        type_id: VeRi type, 1..9.
        wheelbase: Between the axles.
        wheel_radius: Of the tyre.
        half_width: Half the width of the body without mirrors.
        sill: Height of the body's lower edge.
        rear_low: Rear lower corner.
        boot: Upper edge of the rear at its corner.
        rear_window: Lower rear corner of the cabin.
        roof_rear: Rear corner of the roof.
        roof_front: Front corner of the roof.
        windscreen: Lower front corner of the cabin.
        bonnet: Front corner of the bonnet.
        front_low: Front lower corner.
        roof_share: Width of the roof as a share of the body's.
        corner: Length and inset of the rounded front corner.
        corner_rear: The same at the rear.
        cargo: Name of what stands behind the cab: ``""``, ``bed``, ``box``, ``flat``, ``tarp``.
        cab_rear: Where the cab of a truck or pickup ends.
    """

    type_id: int
    wheelbase: float
    wheel_radius: float
    half_width: float
    sill: float
    rear_low: tuple[float, float]
    boot: tuple[float, float]
    rear_window: tuple[float, float]
    roof_rear: tuple[float, float]
    roof_front: tuple[float, float]
    windscreen: tuple[float, float]
    bonnet: tuple[float, float]
    front_low: tuple[float, float]
    roof_share: float = 0.76
    corner: tuple[float, float] = (0.42, 0.26)
    corner_rear: tuple[float, float] = (0.34, 0.18)
    cargo: str = ""
    cab_rear: float = 0.0


# wheelbase m, wheel radius m, half width m, sill m, roof share, then in wheelbases
# (along, up from the wheel's centre): rear low, boot, rear window, roof rear, roof front,
# windscreen base, bonnet front, front low.
_FAMILIES = {
    SEDAN: (2.68, 0.32, 0.90, 0.20, 0.72,
        (-0.29, 0.04), (-0.285, 0.27), (-0.14, 0.305), (0.15, 0.435), (0.58, 0.44),
        (0.88, 0.275), (1.23, 0.185), (1.235, 0.01)),
    SUV: (2.68, 0.36, 0.93, 0.26, 0.76,
        (-0.245, 0.04), (-0.22, 0.33), (-0.17, 0.375), (0.00, 0.525), (0.59, 0.53),
        (0.87, 0.335), (1.20, 0.255), (1.21, 0.02)),
    VAN: (2.85, 0.32, 0.88, 0.24, 0.84,
        (-0.27, 0.03), (-0.265, 0.26), (-0.25, 0.345), (-0.19, 0.585), (0.90, 0.585),
        (1.10, 0.315), (1.24, 0.225), (1.25, 0.00)),
    HATCHBACK: (2.52, 0.31, 0.86, 0.20, 0.74,
        (-0.21, 0.04), (-0.19, 0.29), (-0.14, 0.345), (0.06, 0.475), (0.61, 0.48),
        (0.90, 0.295), (1.20, 0.205), (1.21, 0.01)),
    MPV: (2.78, 0.32, 0.90, 0.21, 0.79,
        (-0.25, 0.04), (-0.235, 0.285), (-0.20, 0.345), (-0.07, 0.505), (0.64, 0.505),
        (0.97, 0.285), (1.22, 0.205), (1.23, 0.00)),
    PICKUP: (3.05, 0.37, 0.92, 0.32, 0.78,
        (-0.36, 0.05), (-0.36, 0.235), (0.14, 0.265), (0.20, 0.43), (0.54, 0.44),
        (0.77, 0.28), (1.19, 0.22), (1.20, 0.02)),
    BUS: (5.40, 0.48, 1.24, 0.32, 0.94,
        (-0.46, -0.01), (-0.46, 0.16), (-0.46, 0.22), (-0.45, 0.46), (1.36, 0.46),
        (1.41, 0.16), (1.43, 0.07), (1.43, -0.01)),
    TRUCK: (3.40, 0.40, 1.02, 0.42, 0.88,
        (-0.36, 0.04), (-0.36, 0.14), (-0.36, 0.34), (-0.36, 0.62), (1.08, 0.53),
        (1.19, 0.29), (1.24, 0.18), (1.24, 0.00)),
    ESTATE: (2.70, 0.32, 0.90, 0.20, 0.74,
        (-0.31, 0.04), (-0.29, 0.28), (-0.25, 0.33), (-0.12, 0.445), (0.57, 0.455),
        (0.87, 0.275), (1.23, 0.185), (1.24, 0.00)),
}  # fmt: skip


def create_shape(type_id: int, rng: np.random.Generator) -> Shape:
    """Draw a model of a type: the family's profile, stretched and shifted a little."""
    family = _FAMILIES[type_id]
    wheelbase, radius, half_width, sill, roof_share = family[:5]
    stretch = rng.uniform(0.94, 1.07)
    wheelbase *= stretch
    radius *= rng.uniform(0.96, 1.05)
    half_width *= rng.uniform(0.97, 1.03)
    points = np.array(family[5:]) + rng.normal(0, 0.008, (8, 2)).clip(-0.016, 0.016)
    rise = rng.uniform(0.94, 1.06) / stretch  # height does not grow with length
    points *= [1.0, rise]
    points *= wheelbase
    points[:, 1] += radius
    # Each column above the other one, and the bonnet below the windscreen.
    points[7, 0] = points[6, 0] + 0.02
    rear_low, boot, rear_window, roof_rear, roof_front, windscreen, bonnet, front_low = (
        (x, z) for x, z in points
    )
    shape = Shape(
        type_id,
        wheelbase,
        radius,
        half_width,
        sill * rng.uniform(0.9, 1.1),
        rear_low,
        boot,
        rear_window,
        roof_rear,
        roof_front,
        windscreen,
        bonnet,
        front_low,
        roof_share=roof_share * rng.uniform(0.98, 1.02),
        corner=(rng.uniform(0.34, 0.50), rng.uniform(0.20, 0.30)),
        corner_rear=(rng.uniform(0.26, 0.40), rng.uniform(0.13, 0.20)),
    )
    if type_id == VAN:
        shape = replace(shape, corner=(0.26, 0.20), corner_rear=(0.14, 0.09))
    elif type_id == BUS:
        shape = replace(shape, corner=(0.30, 0.22), corner_rear=(0.18, 0.12))
    elif type_id == PICKUP:
        rear = shape.rear_window[0] - 0.02
        shape = replace(shape, cargo="bed", cab_rear=rear, corner_rear=(0.10, 0.06))
    elif type_id == TRUCK:
        cargo = str(rng.choice(["box", "box", "flat", "tarp"]))
        cab_rear = wheelbase * rng.uniform(0.72, 0.78)
        shape = replace(shape, corner=(0.20, 0.14), corner_rear=(0.06, 0.04), cargo=cargo,
                        cab_rear=cab_rear)  # fmt: skip
    return shape
