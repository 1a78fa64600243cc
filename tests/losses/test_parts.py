"""The part triplet against NumPy, anchor by anchor."""

import mindspore as ms
import numpy as np
import pytest

from mtn_core.losses import CovisibleTriplet


def batch(seed=0, count=12, ids=3):
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(count, 5 * 256)).astype(np.float32)
    areas = rng.uniform(0, 0.3, (count, 5)) * (rng.random((count, 5)) < 0.5)
    return parts, areas.astype(np.float32), np.arange(count) % ids


def reference(parts, areas, labels, margin=0.3, soft=False):
    losses = []
    for i in range(len(labels)):
        near, far = [], []
        for j in range(len(labels)):
            weights = np.sqrt(areas[i].astype(np.float64) * areas[j])
            if i == j or weights.sum() <= 0.02 or labels[i] < 0 or labels[j] < 0:
                continue
            each = (parts[i].astype(np.float64) - parts[j]).reshape(5, 256)
            mean = (weights * np.linalg.norm(each, axis=1)).sum() / weights.sum()
            (near if labels[i] == labels[j] else far).append(mean)
        if near and far:
            gap = max(near) - min(far)
            losses.append(np.logaddexp(0, gap) if soft else max(0, gap + margin))
    return np.mean(losses) if losses else 0.0


def loss(parts, areas, labels, **options):
    tensors = ms.Tensor(parts), ms.Tensor(areas), ms.Tensor(labels, ms.int32)
    return float(CovisibleTriplet(**options)(*tensors).asnumpy())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{"margin": 2.0}, {"soft": True}])
def test_it_is_the_mean_over_anchors(seed, options):
    parts, areas, labels = batch(seed)
    labels[seed] = -1
    assert loss(parts, areas, labels, **options) == pytest.approx(
        reference(parts, areas, labels, **options), rel=1e-4
    )


def test_images_without_a_common_part_are_no_pair():
    parts, areas, labels = batch()
    areas[:] = 0
    areas[np.arange(12), np.arange(12) // 3 % 5] = 0.2  # the three of a view are of three vehicles
    assert loss(parts, areas, labels, margin=50.0) == 0
    areas[3:6] = areas[:3]
    assert loss(parts, areas, labels, margin=50.0) > 0


def test_gradients_are_finite_where_nothing_is_seen():
    parts, areas, labels = batch()
    areas[:4] = 0
    parts[5] = parts[8]
    criterion, ids = CovisibleTriplet(soft=True), ms.Tensor(labels, ms.int32)
    slope = ms.grad(lambda x: criterion(x, ms.Tensor(areas), ids))(ms.Tensor(parts)).asnumpy()
    assert np.isfinite(slope).all() and (slope[:4] == 0).all() and np.abs(slope[4:]).max() > 0
