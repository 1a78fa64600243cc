"""Circle and supervised contrastive loss against NumPy, anchor by anchor."""

import mindspore as ms
import numpy as np
import pytest

from mtn_core.losses import CircleLoss, SupervisedContrastive


def batch(seed=0, count=12, ids=3):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % ids)
    centres = rng.normal(size=(ids, 8))
    return (centres[labels] + rng.normal(size=(count, 8))).astype(np.float32), labels


def pairs_of(embedding, labels):
    x = embedding.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for i in range(len(x)):
        if labels[i] < 0:
            continue
        others = (np.arange(len(x)) != i) & (labels >= 0)
        cosine = x @ x[i]
        yield cosine[others & (labels == labels[i])], cosine[others & (labels != labels[i])]


def circle(embedding, labels, margin=0.25, scale=64.0):
    losses = []
    for near, far in pairs_of(embedding, labels):
        if not len(near) or not len(far):
            continue
        pull = np.maximum(1 + margin - near, 0) * (near - 1 + margin)
        push = np.maximum(far + margin, 0) * (far - margin)
        terms = np.logaddexp.reduce(-scale * pull) + np.logaddexp.reduce(scale * push)
        losses.append(np.logaddexp(0, terms))
    return np.mean(losses) if losses else 0.0


def contrastive(embedding, labels, temperature=0.1):
    losses = []
    for near, far in pairs_of(embedding, labels):
        if len(near):
            everything = np.logaddexp.reduce(np.concatenate([near, far]) / temperature)
            losses.append(np.mean(everything - near / temperature))
    return np.mean(losses) if losses else 0.0


CASES = [
    (CircleLoss, circle, {}),
    (CircleLoss, circle, {"margin": 0.4, "scale": 256.0}),
    (SupervisedContrastive, contrastive, {}),
    (SupervisedContrastive, contrastive, {"temperature": 0.02}),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("loss", "reference", "options"), CASES)
def test_it_is_the_mean_over_anchors(loss, reference, options, seed):
    embedding, labels = batch(seed)
    labels[seed] = -1
    found = float(loss(**options)(ms.Tensor(embedding), ms.Tensor(labels, ms.int32)).asnumpy())
    assert found == pytest.approx(reference(embedding, labels, **options), rel=1e-4)


@pytest.mark.parametrize(("loss", "reference", "options"), CASES)
def test_the_gradient_is_that_of_the_reference(loss, reference, options):
    """Circle's weights are held fixed, so its slope is not that of its value: there by descent."""
    embedding, labels = batch()
    criterion, ids = loss(**options), ms.Tensor(labels, ms.int32)
    slope = ms.grad(lambda x: criterion(x, ids))(ms.Tensor(embedding)).asnumpy()
    rng = np.random.default_rng(1)
    step = 1e-3 * slope / np.abs(slope).max()
    after = reference(embedding - step, labels, **options)
    assert after < reference(embedding, labels, **options)
    if loss is SupervisedContrastive:
        way = rng.normal(size=embedding.shape)
        moved = [reference(embedding + sign * 1e-4 * way, labels, **options) for sign in (1, -1)]
        assert (slope * way).sum() == pytest.approx((moved[0] - moved[1]) / 2e-4, rel=2e-3)


@pytest.mark.parametrize(("loss", "reference", "options"), CASES)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, -1, -1], [0, 0, 1, -1]])
def test_batches_that_lack_pairs(loss, reference, options, labels):
    embedding, _ = batch(count=4)
    embedding[1] = embedding[0]
    labels = np.array(labels)
    criterion, ids = loss(**options), ms.Tensor(labels, ms.int32)
    value, slope = ms.value_and_grad(lambda x: criterion(x, ids))(ms.Tensor(embedding))
    expected = reference(embedding, labels, **options)
    assert float(value.asnumpy()) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert np.isfinite(slope.asnumpy()).all()
