"""Centre loss and its moving centres against NumPy."""

import mindspore as ms
import numpy as np
import pytest

from mtn_core.losses import CenterLoss


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(6, 4)).astype(np.float32), np.array([0, 0, 2, 2, 2, -1])


def reference(embedding, labels, centers, rate=0.5):
    known = labels >= 0
    difference = embedding[known] - centers[labels[known]]
    moved = centers.copy()
    for pid in np.unique(labels[known]):
        rows = difference[labels[known] == pid]
        moved[pid] += rate * rows.sum(axis=0) / (1 + len(rows))
    return 0.5 * np.square(difference).sum(axis=1).mean(), moved


def test_value_and_centres_follow_the_paper():
    criterion = CenterLoss(3, 4)
    criterion.set_train(True)
    centers = np.zeros((3, 4))
    for seed in range(3):
        embedding, labels = batch(seed)
        expected, centers = reference(embedding, labels, centers)
        found = criterion(ms.Tensor(embedding), ms.Tensor(labels, ms.int32))
        assert float(found.asnumpy()) == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(criterion.centers.asnumpy(), centers, atol=1e-6)
    assert (centers[1] == 0).all() and np.abs(centers[[0, 2]]).min() > 0


def test_the_gradient_is_the_difference_and_the_centres_are_no_weights():
    criterion = CenterLoss(3, 4)
    criterion.set_train(True)
    embedding, labels = batch()
    ids = ms.Tensor(labels, ms.int32)
    slope = ms.grad(lambda x: criterion(x, ids))(ms.Tensor(embedding)).asnumpy()
    np.testing.assert_allclose(slope[:5], embedding[:5] / 5, atol=1e-6)
    assert (slope[5] == 0).all() and not criterion.trainable_params()


def test_centres_rest_when_not_training_and_where_a_value_is_not_finite():
    criterion = CenterLoss(3, 4)
    embedding, labels = batch()
    criterion.set_train(False)
    criterion(ms.Tensor(embedding), ms.Tensor(labels, ms.int32))
    assert (criterion.centers.asnumpy() == 0).all()
    criterion.set_train(True)
    embedding[0, 0] = np.inf
    criterion(ms.Tensor(embedding), ms.Tensor(labels, ms.int32))
    assert np.isfinite(criterion.centers.asnumpy()).all()


def test_a_batch_of_unknown_vehicles_costs_nothing():
    criterion = CenterLoss(3, 4)
    criterion.set_train(True)
    unknown = ms.Tensor(np.full(6, -1), ms.int32)
    assert float(criterion(ms.Tensor(batch()[0]), unknown).asnumpy()) == 0
