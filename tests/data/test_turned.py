"""Keypoints and heatmaps that fit a picture as it is stored, not as EXIF turns it."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mtn_core.data.labels import Labels
from mtn_core.data.layout import map_file_names
from mtn_core.data.pose_maps import draw_heatmaps
from mtn_core.data.turned import Turned, find_turned_problems

NAME = "0001_c001_1_0.jpg"
SIZES = Turned(stored=(100, 60), upright=(60, 100))


def problems_of(points, heatmaps=Path("none"), sizes=SIZES, confidence=0.01):
    """Problems of one image; keypoints without a point are not seen, and far outside."""
    keypoints = np.full((1, 36, 3), 1000, np.float32)
    keypoints[..., 2] = 0
    for k, point in enumerate(points):
        keypoints[0, k] = *point, confidence
    frame = pd.DataFrame({"name": ["other.jpg", NAME]})
    labels = Labels(frame, np.concatenate([np.full((1, 36, 3), np.nan), keypoints]))
    return [p.what for p in find_turned_problems({Path(NAME): sizes}, labels, heatmaps)]


@pytest.mark.parametrize(
    ("point", "outside"),
    [
        ((90, 50), True),
        ((61.1, 50), True),
        ((61, 50), False),  # a pixel beyond the edge is no sign
        ((50, 101), False),  # outside as it is stored
        ((-1, 50), False),
        ((62, -1), True),
        ((62, 61), True),
        ((62, 62), False),  # outside both ways: another problem
        ((62, -1.1), False),
    ],
)
def test_keypoints_outside_of_the_upright_picture_and_inside_the_stored(point, outside):
    found = problems_of([(30, 30), point])
    assert len(found) == outside
    if outside:
        assert "turns it upright to 60x100, but its keypoints lie outside of that" in found[0]


def test_unseen_keypoints_and_equal_sizes_tell_nothing():
    assert problems_of([]) == []
    assert problems_of([(90, 50)], confidence=0) == []
    assert problems_of([(90, 50)], sizes=Turned((60, 60), (60, 60))) == []


@pytest.mark.parametrize(("share", "wrong"), [(0, True), (0.31, True), (0.36, False), (1, False)])
def test_heatmaps_drawn_for_the_stored_picture(tmp_path, share, wrong):
    """Told where the maps are less than half as far from the stored picture's."""
    points = [(10 + k, 20 + k) for k in range(36)]
    keypoints = np.array([[(*point, 1) for point in points]] * 2)
    stored, upright = draw_heatmaps(keypoints, np.array(SIZES)).astype(float)
    folder = tmp_path / NAME.removesuffix(".jpg")
    folder.mkdir()
    for name, plane in zip(map_file_names(36), stored + share * (upright - stored), strict=True):
        (folder / name).write_bytes(cv2.imencode(".png", plane.round().astype(np.uint8))[1])
    found = problems_of(points, tmp_path, confidence=1)
    assert len(found) == wrong
    if wrong:
        assert "upright to 60x100, but the maps are drawn for 100x60" in found[0]
    cv2.imwrite(str(folder / "00.jpg"), np.zeros((32, 32), np.uint8))
    assert problems_of(points, tmp_path, confidence=1) == []
    (folder / "00.jpg").unlink()
    assert problems_of(points, tmp_path, confidence=1) == []


def test_maps_of_another_size_tell_nothing(tmp_path):
    folder = tmp_path / NAME.removesuffix(".jpg")
    folder.mkdir()
    for name in map_file_names(36):
        cv2.imwrite(str(folder / name), np.zeros((32, 32), np.uint8))
    assert problems_of([(30, 30)], tmp_path, confidence=1) == []
