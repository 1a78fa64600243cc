import numpy as np
import pandas as pd
import pytest

from mtn_core.errors import DataError
from mtn_core.vehicle import KEYPOINT_FLIP
from mtn_core.viewpoint import VIEWPOINT_NAMES, estimate_azimuths, estimate_viewpoint


def project(angle, *, elevation=0.4, scale=80.0):
    """Orthographic picture of a plain box car seen from ``angle`` (0 front, pi/2 its left)."""
    along = np.array(
        [0, 1, 1.15, 1.1, 0.9, 0.85, 0.15, 0.1, -0.1, -0.15, -0.26, -0.24, -0.14, 0.06]
    )
    along = np.concatenate([along, [0.62, 0.88, 1.21, 1.22]])
    up = np.array([0, 0, 0, 0.1, 0.1, 0, 0, 0.1, 0.1, 0, 0, 0.3, 0.35, 0.5, 0.5, 0.3, 0.2, 0])
    forward = np.concatenate([along, along]) - 0.5
    left = np.repeat([0.32, -0.32], 18)
    # camera axes, seen from the direction (cos, sin) in the car's (forward, left) plane
    x = left * np.cos(angle) - forward * np.sin(angle)
    depth = forward * np.cos(angle) + left * np.sin(angle)
    y = -np.concatenate([up, up]) * np.cos(elevation) + depth * np.sin(elevation)
    return np.stack([100 + scale * x, 90 + scale * y, np.ones(36)], axis=1)


@pytest.mark.parametrize("degrees", range(-170, 180, 10))
def test_angle_of_a_projected_car(degrees):
    azimuth = estimate_azimuths(project(np.deg2rad(degrees))[None])[0]
    assert 0 <= azimuth < 360
    assert abs((azimuth - degrees + 180) % 360 - 180) < 6


def test_names_go_around_the_car():
    cars = np.stack([project(i * np.pi / 4) for i in range(8)])
    assert estimate_viewpoint(cars).tolist() == list(VIEWPOINT_NAMES)


def test_mirrored_car_is_seen_from_the_other_side():
    cars = np.stack([project(i * np.pi / 4) for i in range(8)])
    mirrored = cars[:, KEYPOINT_FLIP].copy()
    mirrored[..., 0] = 300 - mirrored[..., 0]
    swap = {"left": "right", "right": "left"}
    wanted = [" ".join(swap.get(w, w) for w in name.split()) for name in VIEWPOINT_NAMES]
    assert estimate_viewpoint(mirrored).tolist() == wanted


def test_hidden_keypoints_are_not_needed_and_not_believed():
    car = project(np.pi / 2)
    car[18:, 2] = 0.1
    car[18:, :2] = 5000
    assert estimate_viewpoint(car[None]).tolist() == ["left"]


def test_too_few_keypoints_are_unknown():
    car = project(0.3)
    car[3:, 2] = 0
    assert estimate_viewpoint(np.stack([car, np.zeros((36, 3))])).tolist() == ["unknown"] * 2
    assert estimate_viewpoint(np.zeros((0, 36, 3))).shape == (0,)


def test_shape_is_checked():
    with pytest.raises(DataError, match=r"got shape \(2, 108\)"):
        estimate_viewpoint(np.zeros((2, 108)))


def test_agrees_with_what_people_marked_visible(shared_data):
    frame = pd.read_csv(shared_data / "veri_labels" / "pose_annot_test.csv", header=None)
    keypoints = frame.iloc[:, 3:].to_numpy(float).reshape(-1, 36, 3)
    visible = keypoints[:, :, 2]
    angle = np.deg2rad(estimate_azimuths(np.dstack([keypoints[:, :, :2], np.ones_like(visible)])))
    wheels_left, wheels_right = visible[:, [0, 1]].all(axis=1), visible[:, [18, 19]].all(axis=1)
    left, right = wheels_left & ~visible[:, 18].astype(bool), wheels_right & (visible[:, 0] == 0)
    assert left.sum() > 300
    assert right.sum() > 100
    assert (np.sin(angle[left]) > 0).mean() > 0.99
    assert (np.sin(angle[right]) < 0).mean() > 0.99
