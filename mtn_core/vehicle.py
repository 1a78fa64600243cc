"""What a vehicle is made of: 36 keypoints, 13 surface segments, VeRi's colours and types.

Keypoint k and k + 18 are the two sides of the car; 0..17 are its left side as the driver sees it.
"""

import numpy as np

NUM_KEYPOINTS = 36
NUM_SEGMENTS = 13
MAP_SIZE = 64  # heatmaps and segments are MAP_SIZE x MAP_SIZE on disk
SEGMENT_MIN_CONFIDENCE = 0.5

_SIDE_NAMES = (
    "rear_wheel",
    "front_wheel",
    "front_arch_front_foot",
    "front_arch_front_shoulder",
    "front_arch_rear_shoulder",
    "front_arch_rear_foot",
    "rear_arch_front_foot",
    "rear_arch_front_shoulder",
    "rear_arch_rear_shoulder",
    "rear_arch_rear_foot",
    "rear_lower_corner",
    "rear_upper_corner",
    "rear_window_base",
    "roof_rear_corner",
    "roof_front_corner",
    "windscreen_base",
    "bonnet_front_corner",
    "front_lower_corner",
)
KEYPOINT_NAMES = tuple(f"left_{n}" for n in _SIDE_NAMES) + tuple(f"right_{n}" for n in _SIDE_NAMES)

KEYPOINT_FLIP = np.array([*range(18, 36), *range(18)])
SEGMENT_FLIP = np.array([3, 4, 5, 0, 1, 2, *range(6, 13)])

SEGMENT_KEYPOINTS = np.array(
    [
        (5, 15, 16, 17),
        (5, 6, 12, 15),
        (6, 10, 11, 12),
        (23, 33, 34, 35),
        (23, 24, 30, 33),
        (24, 28, 29, 30),
        (10, 11, 29, 28),
        (11, 12, 30, 29),
        (12, 13, 31, 30),
        (13, 14, 32, 31),
        (14, 15, 33, 32),
        (15, 16, 34, 33),
        (16, 17, 35, 34),
    ]
)
SEGMENT_NAMES = (
    "left_front_wing",
    "left_doors",
    "left_rear_wing",
    "right_front_wing",
    "right_doors",
    "right_rear_wing",
    "rear_panel",
    "boot_lid",
    "rear_window",
    "roof",
    "windscreen",
    "bonnet",
    "front_panel",
)

# The five faces of a vehicle, and which of them each segment belongs to.
PART_NAMES = ("front", "rear", "left", "right", "roof")
NUM_PARTS = len(PART_NAMES)
SEGMENT_PARTS = np.array([2, 2, 2, 3, 3, 3, 1, 1, 1, 4, 0, 0, 0])

# Ids as VeRi numbers them, from 1; -1 is unknown.
UNKNOWN = -1
COLOR_NAMES = (
    "yellow",
    "orange",
    "green",
    "grey",
    "red",
    "blue",
    "white",
    "golden",
    "brown",
    "black",
)
TYPE_NAMES = ("sedan", "SUV", "van", "hatchback", "MPV", "pickup", "bus", "truck", "estate")


def color_name(color_id: int) -> str:
    """Name of VeRi colour 1..10, ``unknown`` for anything else."""
    return COLOR_NAMES[color_id - 1] if 1 <= color_id <= len(COLOR_NAMES) else "unknown"


def type_name(type_id: int) -> str:
    """Name of VeRi type 1..9, ``unknown`` for anything else."""
    return TYPE_NAMES[type_id - 1] if 1 <= type_id <= len(TYPE_NAMES) else "unknown"
