"""Images that EXIF turns upright: their labels and maps must be those of the upright picture.

Some tools see such an image as it is stored, lying on its side, and give keypoints or draw maps for
that. Sizes tell where width and height change places and are not equal; a mirrored picture, or one
that stands on its head, has the same size either way.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtn_core.data.images import decode_map, read_bytes
from mtn_core.data.labels import Labels
from mtn_core.data.layout import find_map_folder, map_file_names
from mtn_core.data.pose_maps import draw_heatmaps
from mtn_core.data.presence import Problem
from mtn_core.errors import DataError
from mtn_core.vehicle import NUM_KEYPOINTS

_TOLERANCE = 1.0  # pixels that a keypoint may lie outside


class Turned(NamedTuple):
    """Sizes of an image that EXIF turns, as (width, height): as it is stored, and upright."""

    stored: tuple[int, int]
    upright: tuple[int, int]


def find_turned_problems(
    images: Mapping[Path, Turned], labels: Labels, heatmaps: Path
) -> list[Problem]:
    """Keypoints and heatmaps that fit the stored picture and not the upright one.

    Args:
        images: The images that EXIF turns.
        labels: Of their split.
        heatmaps: The split's folder of heatmaps; need not exist.
    """
    row_of = {name: row for row, name in enumerate(labels.frame["name"])}
    problems = []
    for path, sizes in images.items():
        keypoints = labels.keypoints[row_of[path.name]]
        seen = keypoints[keypoints[:, 2] > 0, :2]
        stored, upright = np.array(sizes.stored), np.array(sizes.upright)
        if not len(seen) or sizes.stored == sizes.upright:
            continue
        shown = f"{upright[0]}x{upright[1]}"
        if not _inside(seen, upright) and _inside(seen, stored):
            problems.append(
                Problem(
                    path,
                    f"EXIF turns it upright to {shown}, but its keypoints lie outside of that; "
                    "give those of the upright picture",
                )
            )
        elif _drawn_for(stored, upright, keypoints, find_map_folder(heatmaps, path.name)):
            problems.append(
                Problem(
                    find_map_folder(heatmaps, path.name),
                    f"EXIF turns the image upright to {shown}, but the maps are drawn for "
                    f"{stored[0]}x{stored[1]}; mtn draw-pose --overwrite draws them anew",
                )
            )
    return problems


def _inside(points: np.ndarray, size: np.ndarray) -> bool:
    return bool(((points >= -_TOLERANCE) & (points <= size + _TOLERANCE)).all())


def _drawn_for(
    stored: np.ndarray, upright: np.ndarray, keypoints: np.ndarray, folder: Path
) -> bool:
    """Whether heatmaps are nearer to those of the stored picture, and by far."""
    try:
        paths = [folder / name for name in map_file_names(NUM_KEYPOINTS)]
        found = np.stack([decode_map(read_bytes(path), path) for path in paths])
    except (DataError, ValueError):
        return False  # absent or broken, which others report
    expected = draw_heatmaps(np.stack([keypoints] * 2), np.stack([stored, upright]))
    if found.shape != expected.shape[1:]:
        return False
    far = np.abs(expected - found.astype(np.float32)).mean(axis=(1, 2, 3))
    return bool(2 * far[0] < far[1])
