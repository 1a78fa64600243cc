import mindspore as ms
import numpy as np
import pytest

from mtn_core.losses import SmoothedCrossEntropy


def reference(logits, labels, smoothing):
    """Row by row against the smoothed target; unknown rows left out."""
    losses = []
    for row, label in zip(logits.astype(np.float64), labels, strict=True):
        if label < 0:
            continue
        target = np.full(len(row), smoothing / len(row))
        target[label] += 1 - smoothing
        losses.append(-(target * (row - row.max() - np.log(np.exp(row - row.max()).sum()))).sum())
    return np.mean(losses) if losses else 0.0


def loss_and_gradient(logits, labels, smoothing=0.1):
    criterion = SmoothedCrossEntropy(smoothing)
    labels = ms.Tensor(labels, ms.int32)
    value, gradient = ms.value_and_grad(lambda x: criterion(x, labels))(ms.Tensor(logits))
    return float(value.asnumpy()), gradient.asnumpy()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("num_rows, num_classes", [(1, 2), (6, 10), (13, 576)])
def test_agrees_with_the_definition(num_rows, num_classes, smoothing):
    rng = np.random.default_rng(num_rows)
    logits = rng.normal(0, 3, (num_rows, num_classes)).astype(np.float32)
    labels = rng.integers(0, num_classes, num_rows)
    loss, _ = loss_and_gradient(logits, labels, smoothing)
    assert loss == pytest.approx(reference(logits, labels, smoothing), rel=1e-5)


def test_hand_worked_value():
    # Two classes, equal logits: the loss is log 2 whatever the smoothing.
    loss, gradient = loss_and_gradient(np.zeros((1, 2), np.float32), np.array([1]), 0.2)
    assert loss == pytest.approx(np.log(2), rel=1e-5)
    np.testing.assert_allclose(gradient, [[0.4, -0.4]], rtol=1e-5)


def test_unknown_labels_count_neither_in_the_sum_nor_in_the_mean():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (5, 9)).astype(np.float32)
    labels = np.array([3, -1, 8, -1, 0])
    loss, gradient = loss_and_gradient(logits, labels)
    known = labels >= 0
    alone, gradient_alone = loss_and_gradient(logits[known], labels[known])
    assert loss == pytest.approx(alone, rel=1e-6)
    np.testing.assert_allclose(gradient[known], gradient_alone, rtol=1e-5, atol=1e-8)
    assert not gradient[~known].any()


def test_a_tenth_is_smoothed_unless_told_otherwise():
    logits = ms.Tensor([[2.0, 1.0, -3.0]], ms.float32)
    label = ms.Tensor([0], ms.int32)
    plain, smoothed = (float(SmoothedCrossEntropy(*s)(logits, label).asnumpy()) for s in ((0,), ()))
    # The mean of the logits, 0, is 2 below the first one.
    assert smoothed == pytest.approx(plain + 0.1 * 2, rel=1e-5)


def test_only_unknown_labels_give_no_loss_and_no_gradient():
    loss, gradient = loss_and_gradient(np.ones((4, 10), np.float32), np.full(4, -1))
    assert loss == 0
    assert not gradient.any()


def test_duplicating_the_batch_changes_nothing():
    # The loss is a mean over whatever number of rows there are.
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, 7)).astype(np.float32)
    labels = rng.integers(0, 7, 4)
    once, _ = loss_and_gradient(logits, labels)
    twice, _ = loss_and_gradient(np.tile(logits, (2, 1)), np.tile(labels, 2))
    assert twice == pytest.approx(once, rel=1e-6)


def test_half_precision_logits_give_a_float32_loss_and_finite_gradients():
    logits = np.array([[65000.0, -65000.0, 0.0], [1.0, 2.0, 3.0]], np.float16)
    labels = np.array([1, 2])
    criterion = SmoothedCrossEntropy(0.1)
    loss = criterion(ms.Tensor(logits), ms.Tensor(labels, ms.int32))
    assert loss.dtype == ms.float32
    assert float(loss.asnumpy()) == pytest.approx(reference(logits, labels, 0.1), rel=1e-5)
    _, gradient = loss_and_gradient(logits, labels)
    assert np.isfinite(gradient).all()
