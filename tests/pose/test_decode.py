"""Peaks become keypoints again."""

import numpy as np
import pytest

from mtn_core.data.pose_maps import draw_heatmaps
from mtn_core.pose.decode import decode_heatmaps, merge_flipped, to_maps, unflip_heatmaps
from mtn_core.vehicle import KEYPOINT_FLIP


def random_keypoints(seed, width=200, height=120):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(10, width - 10, (3, 36)), rng.uniform(10, height - 10, (3, 36))
    return np.dstack([x, y, rng.uniform(0.5, 1, (3, 36))])


SIZES = np.array([[200, 120]] * 3)


def test_decoding_undoes_drawing_to_a_quarter_pixel():
    keypoints = random_keypoints(0)
    maps = draw_heatmaps(keypoints, SIZES) / np.float32(255)
    step = SIZES[:, None] / 64
    found = decode_heatmaps(maps, SIZES)
    plain = decode_heatmaps(maps, SIZES, refine=False)
    error = np.abs(found[..., :2] - keypoints[..., :2]) / step
    plain_error = np.abs(plain[..., :2] - keypoints[..., :2]) / step
    assert plain_error.max() < 0.55  # half a pixel, and what rounding to grey levels adds
    assert error.max() < 0.3
    assert error.mean() < 0.6 * plain_error.mean()
    assert np.abs(found[..., 2] - keypoints[..., 2]).max() < 0.07  # the peak lies between pixels


def test_a_hand_made_map():
    maps = np.zeros((1, 1, 4, 4), np.float32)
    maps[0, 0, 2, 1] = 0.8
    maps[0, 0, 2, 0], maps[0, 0, 2, 2] = 0.1, 0.3  # higher on the right
    maps[0, 0, 1, 1], maps[0, 0, 3, 1] = 0.4, 0.2  # higher above
    found = decode_heatmaps(maps, np.array([[40, 80]]))[0, 0]
    assert found == pytest.approx([(1 + 0.25 + 0.5) * 10, (2 - 0.25 + 0.5) * 20, 0.8])
    plain = decode_heatmaps(maps, np.array([[40, 80]]), refine=False)[0, 0]
    assert plain == pytest.approx([15, 50, 0.8])


def test_borders_ties_and_broken_values():
    maps = np.zeros((1, 4, 4, 4), np.float32)
    maps[0, 0, 0, 3] = 2.0  # corner: no neighbour to look at; confidence is at most 1
    maps[0, 2] = -1  # nothing found
    maps[0, 3] = np.nan
    found = decode_heatmaps(maps, np.array([[4, 4]]))[0]
    assert found[0].tolist() == [3.5, 0.5, 1.0]
    assert found[1].tolist() == [0.5, 0.5, 0.0]  # all equal: the first, without confidence
    assert found[2, 2] == 0
    assert np.isfinite(found).all() and found[3, 2] == 0


def test_flip_test_of_a_perfect_network_changes_nothing():
    keypoints = random_keypoints(1)
    maps = draw_heatmaps(keypoints, SIZES) / np.float32(255)
    mirrored = keypoints[:, KEYPOINT_FLIP].copy()
    mirrored[..., 0] = 200 - mirrored[..., 0]
    of_mirrored = draw_heatmaps(mirrored, SIZES) / np.float32(255)
    assert np.abs(unflip_heatmaps(of_mirrored) - maps).max() <= 1.01 / 255
    assert np.abs(merge_flipped(maps, of_mirrored) - maps).max() <= 0.51 / 255


def test_written_maps_are_clipped_and_resized():
    maps = np.array([[[[-0.5, 0.5], [2.0, np.nan]]]], np.float32)
    assert to_maps(maps, 2)[0, 0].tolist() == [[0, 128], [255, 0]]
    keypoints = random_keypoints(2)
    small = draw_heatmaps(keypoints, SIZES, map_size=32, sigma=2.0) / np.float32(255)
    large = to_maps(small, 64)
    assert large.shape == (3, 36, 64, 64) and large.dtype == np.uint8
    expected = draw_heatmaps(keypoints, SIZES, map_size=64, sigma=4.0)
    assert np.abs(large.astype(int) - expected).max() < 20
    position = decode_heatmaps(large / np.float32(255), SIZES)
    assert np.abs(position[..., :2] - keypoints[..., :2]).max() < 3.2  # a pixel of the small map


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"`heatmaps` must be"):
        decode_heatmaps(np.zeros((2, 36, 4, 5)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"`sizes` must be \(N, 2\) = \(2, 2\)"):
        decode_heatmaps(np.zeros((2, 36, 4, 4)), np.ones((3, 2)))
