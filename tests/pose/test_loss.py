"""Targets and loss against NumPy."""

import mindspore as ms
import numpy as np
import pytest

from mtn_core.data.pose_maps import draw_heatmaps
from mtn_core.pose.config import PoseLossConfig
from mtn_core.pose.loss import GaussianTargets, PoseLoss
from mtn_core.pose.transforms import make_targets, transform_points


def reference(target, size, sigma):
    maps = np.zeros((*target.shape[:2], size, size))
    for n in range(target.shape[0]):
        for k in range(target.shape[1]):
            x, y, height, _ = target[n, k]
            for i in range(size):
                for j in range(size):
                    square = (j - x) ** 2 + (i - y) ** 2
                    maps[n, k, i, j] = height * np.exp(-square / (2 * sigma**2))
    return maps


def random_target(seed=0, count=2):
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 16, (count, 3, 4)).astype(np.float32)
    target[..., 2] = rng.uniform(0, 1, (count, 3))
    target[..., 3] = [1, 0.2, 0]
    return target


def test_targets_equal_the_naive_loop():
    target = random_target()
    found = GaussianTargets(16, 1.5)(ms.Tensor(target)).asnumpy()
    assert found.shape == (2, 3, 16, 16)
    assert np.abs(found - reference(target, 16, 1.5)).max() < 1e-5


def test_targets_are_the_maps_that_data_with_keypoints_has():
    # What PoseEstNet learns must be what `mtn draw-pose` draws, to a grey level.
    rng = np.random.default_rng(1)
    keypoints = np.dstack(
        [rng.uniform(5, 115, (2, 36)), rng.uniform(5, 75, (2, 36)), rng.uniform(0.5, 1, (2, 36))]
    ).astype(np.float32)
    points = np.stack([transform_points(k, 120, 80) for k in keypoints])
    target = make_targets(points, PoseLossConfig(), 64)
    drawn = draw_heatmaps(keypoints, np.array([[120, 80]] * 2)) / 255
    assert np.abs(GaussianTargets(64, 2.0)(ms.Tensor(target)).asnumpy() - drawn).max() < 1 / 255


def test_loss_equals_numpy():
    target, rng = random_target(), np.random.default_rng(5)
    heatmaps = rng.standard_normal((2, 3, 16, 16)).astype(np.float32)
    loss, parts = PoseLoss(PoseLossConfig(sigma=1.5), 16)(ms.Tensor(heatmaps), ms.Tensor(target))
    error = ((heatmaps - reference(target, 16, 1.5)) ** 2).sum((2, 3)) / (np.pi * 1.5**2)
    assert float(loss) == pytest.approx((error * target[..., 3]).mean(), rel=1e-5)
    assert parts.asnumpy() == pytest.approx([error[:, 0].mean(), error[:, 1].mean()], rel=1e-5)


def test_one_missed_keypoint_costs_one_and_a_perfect_one_nothing():
    target = np.array([[[32, 32, 1, 1]]], np.float32)
    loss = PoseLoss(PoseLossConfig(sigma=2.0), 64)
    empty = np.zeros((1, 1, 64, 64), np.float32)
    assert float(loss(ms.Tensor(empty), ms.Tensor(target))[0]) == pytest.approx(1, abs=1e-3)
    perfect = reference(target, 64, 2.0).astype(np.float32)
    assert float(loss(ms.Tensor(perfect), ms.Tensor(target))[0]) == pytest.approx(0, abs=1e-6)


def test_keypoints_without_label_have_no_gradient():
    target = random_target()
    cell = PoseLoss(PoseLossConfig(), 16)
    gradient = ms.grad(lambda maps: cell(maps, ms.Tensor(target))[0])
    found = gradient(ms.Tensor(np.ones((2, 3, 16, 16), np.float32))).asnumpy()
    assert np.abs(found[:, 2]).max() == 0
    assert np.abs(found[:, 0]).max() > 4 * np.abs(found[:, 1]).max() > 0


def test_half_precision_heatmaps_stay_finite():
    heatmaps = ms.Tensor(np.full((1, 3, 16, 16), 300, np.float16))
    loss, _ = PoseLoss(PoseLossConfig(), 16)(heatmaps, ms.Tensor(random_target(count=1)))
    assert np.isfinite(float(loss))


def test_a_batch_without_hidden_keypoints_has_parts_of_zero():
    target = random_target()
    target[..., 3] = 1
    _, parts = PoseLoss(PoseLossConfig(), 16)(
        ms.Tensor(np.zeros((2, 3, 16, 16), np.float32)), ms.Tensor(target)
    )
    assert parts.asnumpy()[1] == 0
