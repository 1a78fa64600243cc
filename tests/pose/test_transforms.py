"""Image, keypoints and targets stay together under every augmentation."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtn_core.pose.config import PoseDataConfig, PoseLossConfig
from mtn_core.pose.transforms import (
    NO_AUGMENTATION,
    PoseAugmentation,
    draw_pose_augmentation,
    make_targets,
    transform_crop,
    transform_points,
)
from mtn_core.vehicle import KEYPOINT_FLIP

augmentations = st.builds(
    PoseAugmentation,
    scale=st.floats(0.75, 1.25),
    angle=st.floats(-30, 30),
    flip=st.booleans(),
)


def keypoints_at(points):
    keypoints = np.zeros((36, 3), np.float32)
    keypoints[: len(points)] = [(x, y, 1) for x, y in points]
    return keypoints


@settings(max_examples=60, deadline=None)
@given(
    augmentation=augmentations,
    width=st.integers(60, 400),
    height=st.integers(60, 400),
    u=st.floats(0.3, 0.7),
    v=st.floats(0.3, 0.7),
)
@example(
    augmentation=PoseAugmentation(scale=1.25, angle=-17.0), width=60, height=255, u=0.625, v=0.375
)
def test_a_dot_in_the_image_is_where_its_keypoint_says(augmentation, width, height, u, v):
    x, y = u * width, v * height
    rows, columns = np.mgrid[:height, :width] + 0.5
    blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (0.06 * min(width, height)) ** 2))
    image = np.repeat((255 * blob)[..., None], 3, axis=2).astype(np.uint8)
    size = 128
    result = transform_crop(image, size, augmentation)[..., 0].astype(float)
    # The border is grey: only the dot counts.
    result[result < 160] = 0
    rows, columns = np.mgrid[:size, :size] + 0.5
    centre = np.array([(result * columns).sum(), (result * rows).sum()]) / result.sum() / size
    points = transform_points(keypoints_at([(x, y)]), width, height, augmentation)
    found = points[18 if augmentation.flip else 0, :2]
    assert np.abs(found - centre).max() < 0.01


def test_flip_is_an_involution_and_swaps_the_sides():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(5, 90, (36, 3)).astype(np.float32)
    once = transform_points(keypoints, 100, 100, PoseAugmentation(flip=True))
    plain = transform_points(keypoints, 100, 100)
    assert np.allclose(once[:, 0], 1 - plain[KEYPOINT_FLIP, 0], atol=1e-6)
    assert np.array_equal(once[:, 1:], plain[KEYPOINT_FLIP, 1:])
    again = transform_points(
        np.column_stack([once[:, :2] * 100, once[:, 2]]), 100, 100, PoseAugmentation(flip=True)
    )
    assert np.allclose(again, plain, atol=1e-5)
    image = rng.integers(0, 255, (100, 100, 3), np.uint8)
    flipped = transform_crop(image, 64, PoseAugmentation(flip=True))
    assert np.array_equal(flipped[:, ::-1], transform_crop(image, 64))


def test_a_positive_angle_turns_counter_clockwise():
    right_of_centre = keypoints_at([(90, 50)])
    turned = transform_points(right_of_centre, 100, 100, PoseAugmentation(angle=90))
    assert turned[0, :2] == pytest.approx((0.5, 0.1), abs=1e-6)


def test_rotation_keeps_the_proportions_of_the_crop():
    # In a crop twice as wide as high, a turn by 90 degrees moves a point 20 pixels right of the
    # centre to 20 pixels above it.
    points = transform_points(keypoints_at([(120, 50)]), 200, 100, PoseAugmentation(angle=90))
    assert points[0, :2] * (200, 100) == pytest.approx((100, 30), abs=1e-4)


def test_draws_stay_within_their_limits():
    config = PoseDataConfig(scale=0.25, rotation=30, rotation_share=0.6, color_jitter=0.2)
    drawn = [draw_pose_augmentation(np.random.default_rng(i), config) for i in range(500)]
    scales = np.array([a.scale for a in drawn])
    angles = np.array([a.angle for a in drawn])
    assert 0.75 <= scales.min() < 0.8 and 1.2 < scales.max() <= 1.25
    assert -30 <= angles.min() < -25 and 25 < angles.max() <= 30
    assert 0.5 < (angles != 0).mean() < 0.7
    assert 0.4 < np.mean([a.flip for a in drawn]) < 0.6
    gains = np.array([a.gains for a in drawn])
    assert gains.min() >= 0.8 and gains.max() <= 1.2


def test_turning_an_augmentation_off_leaves_the_others_alone():
    on = draw_pose_augmentation(np.random.default_rng(4), PoseDataConfig(rotation_share=1))
    off = draw_pose_augmentation(
        np.random.default_rng(4), PoseDataConfig(rotation_share=1, rotation=0)
    )
    assert on.angle != 0 == off.angle
    assert (on.scale, on.flip) == (off.scale, off.flip)


def test_nothing_is_changed_in_place():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (80, 120, 3), np.uint8)
    keypoints = rng.uniform(0, 80, (36, 3)).astype(np.float32)
    keypoints.setflags(write=False)
    image.setflags(write=False)
    augmentation = PoseAugmentation(1.1, 20, True, (1.1, 0.9, 1.0), 5)
    first = transform_crop(image, 64, augmentation)
    assert np.array_equal(first, transform_crop(image, 64, augmentation))
    assert np.array_equal(
        transform_points(keypoints, 120, 80, augmentation),
        transform_points(keypoints, 120, 80, augmentation),
    )


def test_targets_say_place_height_and_weight():
    config = PoseLossConfig(hidden_weight=0.2, hidden_height=0.3)
    keypoints = keypoints_at([(50, 25), (50, 25), (500, 25)])
    keypoints[0, 2], keypoints[1, 2] = 1.123, 0.4  # PoseEstNet's heights may exceed 1
    points = transform_points(keypoints, 100, 100)
    targets = make_targets(points, config, 64)
    assert targets[0].tolist() == [31.5, 15.5, 1.0, 1.0]
    assert targets[1] == pytest.approx([31.5, 15.5, 0.3, 0.2])  # hidden
    assert targets[2, 2:] == pytest.approx([0, 0.2])  # outside: taught to be absent
    assert targets[3, 2:].tolist() == [0, 0]  # three zeros: no label
    assert np.isfinite(targets).all()
    without = make_targets(points, PoseLossConfig(), 64)
    assert without[:4, 3].tolist() == [1, 0, 0, 0]


def test_what_lies_outside_the_crop_is_neutral():
    image = np.full((100, 100, 3), 255, np.uint8)
    shrunk = transform_crop(image, 64, PoseAugmentation(scale=0.75))
    assert shrunk[0, 0].tolist() == [124, 116, 104]
    assert shrunk[32, 32].tolist() == [255, 255, 255]
    assert transform_crop(image, 64, NO_AUGMENTATION).min() == 255
