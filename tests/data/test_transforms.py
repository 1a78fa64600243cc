"""Geometry of image, maps and keypoints together (properties 1, 5 and 6 of the known defects)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtn_core.config import DataConfig
from mtn_core.data.pose_maps import draw_heatmaps
from mtn_core.data.transforms import (
    ENLARGEMENT,
    Augmentation,
    _runs,
    draw_augmentation,
    enlarge_maps,
    keypoint_vector,
    scratch,
    transform_heatmaps,
    transform_image,
    transform_keypoints,
    transform_segments,
    used_segments,
)
from mtn_core.vehicle import KEYPOINT_FLIP, SEGMENT_FLIP, SEGMENT_KEYPOINTS

FLIP = Augmentation(flip=True)
SHIFTS = [(0, 0), (1 / 8, 1 / 8), (3 / 64, 5 / 64), (1 / 8, 0), (0, 7 / 64)]


def random_maps(count=36, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64), dtype=np.uint8)


def random_keypoints(seed=0, width=300, height=200):
    keypoints = np.random.default_rng(seed).random((36, 3)).astype(np.float32)
    return keypoints * np.array([width, height, 1], np.float32)


def random_image(height=200, width=300, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def everything(augmentation):
    image = transform_image(random_image(), 64, augmentation)
    keypoints = transform_keypoints(random_keypoints(), 300, 200, augmentation)
    return (
        image,
        keypoints,
        transform_heatmaps(random_maps(), augmentation),
        transform_segments(random_maps(13), augmentation),
    )


def test_flipping_twice_changes_nothing():
    image = random_image(96, 96)
    np.testing.assert_array_equal(
        transform_image(transform_image(image, 96, FLIP), 96, FLIP), image
    )
    keypoints = random_keypoints(width=1, height=1)
    once = transform_keypoints(keypoints, 1, 1, FLIP)
    np.testing.assert_allclose(transform_keypoints(once, 1, 1, FLIP), keypoints, atol=1e-6)
    for transform, count in ((transform_heatmaps, 36), (transform_segments, 13)):
        maps = random_maps(count)
        np.testing.assert_array_equal(transform(transform(maps, FLIP), FLIP), maps)


def test_a_flip_mirrors_and_swaps_the_sides():
    image, keypoints, heatmaps, segments = everything(Augmentation())
    image2, keypoints2, heatmaps2, segments2 = everything(FLIP)
    np.testing.assert_array_equal(image2, image[:, ::-1])
    np.testing.assert_array_equal(heatmaps2, heatmaps[KEYPOINT_FLIP, :, ::-1])
    np.testing.assert_array_equal(segments2, segments[SEGMENT_FLIP, :, ::-1])
    for k in range(18):
        for here, there in ((k, k + 18), (k + 18, k)):
            np.testing.assert_allclose(keypoints2[here, 0], 1 - keypoints[there, 0], atol=1e-6)
            np.testing.assert_array_equal(keypoints2[here, 1:], keypoints[there, 1:])
    # 0-3, 1-4 and 2-5 change places, the others keep theirs.
    assert SEGMENT_FLIP.tolist() == [3, 4, 5, 0, 1, 2, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [32, 64, 96, 224, 256])
def test_image_maps_and_keypoints_stay_aligned(shift, flip, size):
    """A white dot at a keypoint lies under its heatmap and at its coordinates afterwards."""
    height, width = 256, 256
    augmentation = Augmentation(shift=shift, flip=flip)
    keypoints = np.zeros((36, 3), np.float32)
    keypoints[7] = [150.5, 100.5, 1]
    image = np.zeros((height, width, 3), np.uint8)
    image[92:109, 142:159] = 255
    maps = draw_heatmaps(keypoints[None], np.array([[width, height]]))[0]
    out = transform_image(image, size, augmentation)
    points = transform_keypoints(keypoints, width, height, augmentation)
    heat = transform_heatmaps(maps, augmentation)
    index = 25 if flip else 7
    x, y, confidence = points[index]
    assert confidence == 1
    assert heat[index].max() > 200
    assert heat[np.arange(36) != index].max() == 0
    for array, side in ((out[..., 0], size), (heat[index], 64)):
        rows, columns = np.indices(array.shape)
        weight = array / array.sum(dtype=float)
        centre = ((columns + 0.5) * weight).sum() / side, ((rows + 0.5) * weight).sum() / side
        np.testing.assert_allclose(centre, (x, y), atol=0.6 / size)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("flip", [False, True])
def test_maps_are_enlarged_and_cut_one_by_one(shift, flip):
    """The tall picture of all maps gives what 36 separate maps would, edges included."""
    import cv2

    maps = random_maps()
    left, top = (round(64 * s) for s in shift)
    expected = np.stack([cv2.resize(m, (72, 72)) for m in maps])
    expected = expected[:, top : top + 64, left : left + 64]
    if flip:
        expected = expected[KEYPOINT_FLIP, :, ::-1]
    result = transform_heatmaps(maps, Augmentation(shift=shift, flip=flip))
    assert np.abs(result.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("flip", [False, True])
def test_maps_may_come_enlarged(flip):
    maps, augmentation = random_maps(), Augmentation(shift=(3 / 64, 5 / 64), flip=flip)
    enlarged = enlarge_maps(maps)
    assert enlarged.shape == (36, 72, 72)
    out = np.empty_like(enlarged)
    assert enlarge_maps(maps, out) is out
    np.testing.assert_array_equal(out, enlarged)
    np.testing.assert_array_equal(
        transform_heatmaps(enlarged, augmentation), transform_heatmaps(maps, augmentation)
    )


def test_neighbours_that_stay_together_are_mirrored_together():
    assert _runs((3, 4, 5, 0, 1, 2, 6, 8)) == [(0, 3, 3), (3, 0, 3), (6, 6, 1), (7, 8, 1)]


def test_scratch_is_used_again_while_its_shape_stays():
    first = scratch("a test", (2, 3))
    assert scratch("a test", (2, 3)) is first
    assert scratch("another", (2, 3)) is not first
    assert scratch("a test", (3, 2)).shape == (3, 2)


def test_the_translation_enlarges_by_an_eighth_and_cuts_anywhere():
    config = DataConfig(flip=0, translation=1)
    shifts = {draw_augmentation(np.random.default_rng(i), config).shift for i in range(2000)}
    xs = sorted({x for x, _ in shifts})
    assert xs == [n / 64 for n in range(9)]
    assert len(shifts) == 81
    image = random_image(288, 288)
    cut = transform_image(image[:256, :256], 256, Augmentation(shift=(0, 0)))
    assert ENLARGEMENT == 1.125
    import cv2

    expected = cv2.resize(image[:256, :256], (288, 288))[:256, :256]
    np.testing.assert_array_equal(cut, expected)


def test_probabilities_are_what_they_say():
    config = DataConfig(flip=0.3, translation=0.7, erasing=0.2, color_jitter=0.1)
    drawn = [draw_augmentation(np.random.default_rng(i), config) for i in range(3000)]
    assert np.mean([a.flip for a in drawn]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([a.shift is not None for a in drawn]) == pytest.approx(0.7, abs=0.03)
    assert np.mean([a.box is not None for a in drawn]) == pytest.approx(0.2, abs=0.03)
    lightness = np.array([a.lightness for a in drawn])
    assert 0.9 <= lightness.min() < 0.91
    assert 1.09 < lightness.max() <= 1.1
    off = DataConfig(flip=0, translation=0)
    assert draw_augmentation(np.random.default_rng(0), off) == Augmentation()


class Draws:
    """A generator that gives what it is told to, in the order of the draws."""

    def __init__(self, shares=(0.5, 0.5, 0.5), corner=(0, 0), lightness=(0, 0), box=(0, 0, 0, 0)):
        translation, flip, erasing = shares
        self.values = [translation, *corner, flip, *lightness, erasing, *box]

    def random(self, count):
        assert count == len(self.values)
        return np.array(self.values)


def test_each_draw_has_its_place():
    draws = Draws((0.1, 0.2, 0.3), (0.5, 0.99), (0.75, 0), (0.5, 0.5, 0.25, 1))
    config = DataConfig(translation=0.11, flip=0.21, erasing=0.31, color_jitter=0.2)
    drawn = draw_augmentation(draws, config)
    assert drawn.shift == (4 / 64, 8 / 64)
    assert drawn.flip
    assert drawn.lightness == pytest.approx((1.1, 0.8))
    side = 0.11**0.5  # of a square, whose area is half way from 0.02 to 0.2
    left = 0.25 * (1 - side)
    assert drawn.box == pytest.approx((left, 1 - side, left + side, 1))
    none = draw_augmentation(draws, DataConfig(translation=0.1, flip=0.2, erasing=0.3))
    assert none == Augmentation()


@pytest.mark.parametrize(("aspect_draw", "aspect"), [(0, 0.3), (1, 1 / 0.3)])
@pytest.mark.parametrize(("area_draw", "area"), [(0, 0.02), (1, 0.2)])
def test_erased_boxes_at_their_limits(area_draw, area, aspect_draw, aspect):
    draws = Draws(box=(area_draw, aspect_draw, 1, 0))
    left, top, right, bottom = draw_augmentation(draws, DataConfig(erasing=1)).box
    assert (right - left) * (bottom - top) == pytest.approx(area)
    assert (right - left) / (bottom - top) == pytest.approx(aspect)
    assert (right, top) == (pytest.approx(1), 0)


def test_turning_one_augmentation_off_leaves_the_others():
    both = draw_augmentation(np.random.default_rng(4), DataConfig(flip=1, translation=1))
    one = draw_augmentation(np.random.default_rng(4), DataConfig(flip=1, translation=0))
    assert one.flip
    assert one.shift is None
    assert draw_augmentation(np.random.default_rng(4), DataConfig(flip=0, translation=1)).shift == (
        both.shift
    )


def test_a_keypoint_that_leaves_the_image_loses_its_confidence():
    keypoints = np.zeros((36, 3), np.float32)
    keypoints[:, 2] = 0.8
    keypoints[0, :2] = 3, 50  # 3/100 * 1.125 < 1/8: cut off at the left
    keypoints[1, :2] = 50, 50
    keypoints[2, :2] = 98, 98
    keypoints[3, :2] = 130, 50  # outside from the start
    shifted = transform_keypoints(keypoints, 100, 100, Augmentation(shift=(1 / 8, 0)))
    assert shifted[0, 2] == 0
    assert shifted[0, 0] < 0
    assert shifted[1, 2] == pytest.approx(0.8)
    assert shifted[2, 2] == 0, "98 * 1.125 - 0 is below the lower edge"
    plain = transform_keypoints(keypoints, 100, 100)
    assert plain[[0, 1, 2], 2].tolist() == pytest.approx([0.8] * 3)
    assert plain[3, 2] == 0


def test_edges_of_image_and_erased_box_belong_to_one_side():
    keypoints = np.zeros((36, 3), np.float32)
    keypoints[:6] = [[0, 0, 0.5], [8, 8, 0.5], [2, 4, 0.5], [6, 4, 0.5], [2, 8, 0.5], [4, 3, 0.5]]
    whole = transform_keypoints(keypoints, 8, 8)
    assert whole[:6, 2].tolist() == [0.5] * 6
    erased = transform_keypoints(keypoints, 8, 8, Augmentation(box=(0.25, 0.5, 0.75, 1.0)))
    assert erased[:6, 2].tolist() == [0.5, 0.5, 0, 0.5, 0.5, 0.5], "left and upper edge alone"
    inside = Augmentation(box=(0, 0, 0.5, 0.5))
    assert transform_keypoints(keypoints, 8, 8, inside)[:6, 2].tolist() == [0, *[0.5] * 5]


@given(st.floats(-50, 350), st.floats(-50, 250), st.booleans(), st.sampled_from([None, *SHIFTS]))
@settings(max_examples=200, deadline=None)
def test_confidence_is_kept_exactly_inside_the_image(x, y, flip, shift):
    keypoints = np.zeros((36, 3), np.float32)
    keypoints[4] = x, y, 0.6
    result = transform_keypoints(keypoints, 300, 200, Augmentation(shift=shift, flip=flip))
    point = result[22 if flip else 4]
    inside = (point[:2] >= 0).all() and (point[:2] <= 1).all()
    assert point[2] == (np.float32(0.6) if inside else 0)


def test_confidences_are_clipped():
    keypoints = np.ones((36, 3), np.float32)
    keypoints[0, 2], keypoints[1, 2] = 1.05, -0.2
    assert transform_keypoints(keypoints, 2, 2)[:3, 2].tolist() == [1, 0, 1]


def test_nothing_is_changed_in_place():
    """Property 1: a sample that is read twice is the same."""
    image, keypoints = random_image(), random_keypoints()
    heatmaps, segments = random_maps(), random_maps(13)
    arrays = (image, keypoints, heatmaps, segments)
    copies = [a.copy() for a in arrays]
    config = DataConfig(flip=0.5, translation=0.5, erasing=0.5, color_jitter=0.3)
    for i in range(20):
        augmentation = draw_augmentation(np.random.default_rng(i), config)
        for a in arrays:
            a.setflags(write=False)
        transform_image(image, 64, augmentation)
        transform_keypoints(keypoints, 300, 200, augmentation)
        transform_heatmaps(heatmaps, augmentation)
        transform_segments(segments, augmentation)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    square = random_image(64, 64)
    transform_image(square, 64)[:] = 0
    np.testing.assert_array_equal(square, random_image(64, 64), "nor where nothing is to be done")


def test_results_go_into_the_given_arrays():
    augmentation = Augmentation(shift=(1 / 64, 2 / 64), flip=True, lightness=(1.1, 1.0))
    out = np.empty((64, 64, 3), np.uint8)
    maps = np.empty((36, 64, 64), np.uint8)
    assert transform_image(random_image(), 64, augmentation, out=out) is out
    assert transform_heatmaps(random_maps(), augmentation, out=maps) is maps
    expected = everything(augmentation)
    np.testing.assert_array_equal(out, expected[0])
    np.testing.assert_array_equal(maps, expected[2])


def test_erasing_takes_image_maps_and_keypoints():
    box = (0.25, 0.5, 0.75, 1.0)
    keypoints = np.zeros((36, 3), np.float32)
    keypoints[:, 2] = 0.9
    keypoints[0, :2], keypoints[1, :2] = (150, 150), (30, 30)
    image, _, heatmaps, segments = everything(Augmentation(box=box))
    points = transform_keypoints(keypoints, 300, 200, Augmentation(box=box))
    assert points[0, 2] == 0
    assert points[1, 2] == np.float32(0.9)
    assert np.unique(image[32:, 16:48].reshape(-1, 3), axis=0).tolist() == [[124, 116, 104]]
    assert heatmaps[:, 32:, 16:48].max() == 0
    assert segments[:, 32:, 16:48].max() == 0
    plain = everything(Augmentation())
    erased = np.zeros((64, 64), bool)
    erased[32:, 16:48] = True
    np.testing.assert_array_equal(image[~erased], plain[0][~erased])
    np.testing.assert_array_equal(heatmaps[:, ~erased], plain[2][:, ~erased])
    np.testing.assert_array_equal(segments[:, ~erased], plain[3][:, ~erased])


def test_erased_boxes_stay_inside():
    config = DataConfig(erasing=1)
    for i in range(300):
        left, top, right, bottom = draw_augmentation(np.random.default_rng(i), config).box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert 0.015 <= (right - left) * (bottom - top) <= 0.21


def test_jitter_changes_lightness_and_keeps_hue():
    gradient = np.zeros((64, 64, 3), np.uint8)
    gradient[..., 0] = np.linspace(40, 160, 64)[None]
    brighter = transform_image(gradient, 64, Augmentation(lightness=(1.2, 1.0)))
    expected = (gradient * 1.2 + 0.5).astype(np.uint8)
    assert np.abs(brighter.astype(int) - expected).max() <= 1
    assert brighter[..., 1:].max() == 0, "a red car stays red"


def test_contrast_is_about_the_mean_of_the_image_and_brightness_after_it():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = 0, 150, 150  # the mean of all channels is 100
    image[:, 32:] = 60, 90, 150
    for lightness, left, right in (
        ((1.0, 0.5), [50, 125, 125], [80, 95, 125]),
        ((1.1, 0.5), [55, 138, 138], [88, 105, 138]),
        ((3.0, 1.0), [0, 255, 255], [180, 255, 255]),
        ((1.0, 3.0), [0, 250, 250], [0, 70, 250]),
    ):
        out = transform_image(image, 64, Augmentation(lightness=lightness))
        assert (out[0, 0].tolist(), out[63, 63].tolist()) == (left, right)


@pytest.mark.parametrize("height, width, shrinks", [(65, 65, True), (64, 200, False)])
def test_a_crop_is_averaged_where_both_sides_shrink(height, width, shrinks):
    import cv2

    image = random_image(height, width)
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    expected = cv2.resize(image, (64, 64), interpolation=method)
    np.testing.assert_array_equal(transform_image(image, 64), expected)


def test_large_crops_are_averaged_not_sampled():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    out = transform_image(stripes, 32)
    assert np.abs(out.astype(int) - 127).max() <= 1


def test_segments_are_used_at_half_confidence_of_all_four():
    keypoints = np.zeros((36, 3), np.float32)
    keypoints[SEGMENT_KEYPOINTS[4], 2] = 0.5
    used = used_segments(keypoints)
    assert used.tolist() == [i == 4 for i in range(13)]
    keypoints[SEGMENT_KEYPOINTS[4][2], 2] = 0.499
    assert not used_segments(keypoints).any()


def test_the_keypoint_vector_is_interleaved():
    keypoints = np.arange(108, dtype=np.float32).reshape(36, 3) / 108
    vector = keypoint_vector(keypoints)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector[3:6], keypoints[1] - 0.5)
