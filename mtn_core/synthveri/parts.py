"""Parts of a vehicle, each painted as a whole, and their order for a camera."""

import numpy as np

UNDER, BED, TUB, CARGO, CABIN, ROOF, MIRROR_LEFT, MIRROR_RIGHT = range(8)
NUM_PARTS = 8


def part_ranks(eye: np.ndarray, cab_rear: float | None) -> np.ndarray:
    """Order in which the parts are painted; cameras look down on every vehicle.

    Args:
        eye: The camera's place in the car's frame.
        cab_rear: Where a truck's cab ends and its load begins; ``None`` for one body.

    Returns:
        (NUM_PARTS,) int, low first.
    """
    ranks = np.zeros(NUM_PARTS, int)
    ranks[[UNDER, BED, TUB, CABIN, ROOF]] = (0, 2, 3, 4, 5)
    left, right = (6, 1) if eye[1] > 0 else (1, 6)
    ranks[[MIRROR_LEFT, MIRROR_RIGHT]] = (left, right)
    if cab_rear is not None:
        ranks[CARGO] = 2 if eye[0] > cab_rear else 7
    return ranks
