import mindspore as ms
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtn_core.losses import BatchHardTriplet


def reference(embedding, labels, margin=0.3, soft=False, cosine=False):
    """Loss, active share, mean positive and negative distance, anchor by anchor in float64."""
    x = embedding.astype(np.float64)
    if cosine:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    losses, active, positives, negatives = [], [], [], []
    for anchor, label in enumerate(labels):
        if label < 0:
            continue
        distance = 1 - x @ x[anchor] if cosine else np.linalg.norm(x - x[anchor], axis=1)
        others = np.arange(len(x)) != anchor
        positive = distance[(labels == label) & others]
        negative = distance[(labels != label) & (labels >= 0)]
        if not len(positive) or not len(negative):
            continue
        gap = positive.max() - negative.min()
        losses.append(np.logaddexp(0, gap) if soft else max(gap + margin, 0))
        active.append(gap > 0 if soft else gap + margin > 0)
        positives.append(positive.max())
        negatives.append(negative.min())
    parts = (losses, active, positives, negatives)
    return [float(np.mean(part)) if part else 0.0 for part in parts]


def run(embedding, labels, **options):
    outputs = BatchHardTriplet(**options)(ms.Tensor(embedding), ms.Tensor(labels, ms.int32))
    return [float(x.asnumpy()) for x in outputs]


def gradient(embedding, labels, **options):
    criterion = BatchHardTriplet(**options)
    labels = ms.Tensor(labels, ms.int32)
    return ms.grad(lambda x: criterion(x, labels)[0])(ms.Tensor(embedding)).asnumpy()


def batch(num_ids=4, images_per_id=4, size=16, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_ids), images_per_id)
    centres = rng.normal(size=(num_ids, size))
    embedding = 0.4 * centres[labels] + 0.2 * rng.normal(size=(len(labels), size))
    order = rng.permutation(len(labels))
    return embedding[order].astype(np.float32), labels[order]


VARIANTS = [{}, {"soft": True}, {"cosine": True}, {"cosine": True, "soft": True}]


@pytest.mark.parametrize("options", [*VARIANTS, {"margin": 0.0}, {"margin": 1.2}], ids=str)
@pytest.mark.parametrize("num_ids, images_per_id", [(2, 2), (8, 4), (3, 5)])
def test_agrees_with_the_definition(num_ids, images_per_id, options):
    # Different batch sizes through one class: none of them is built in.
    embedding, labels = batch(num_ids, images_per_id)
    expected = reference(embedding, labels, **options)
    np.testing.assert_allclose(run(embedding, labels, **options), expected, rtol=1e-4, atol=1e-5)


def test_hand_worked_value():
    # On a line at 0, 1 | 3, 7: hardest positives 1 1 4 4, hardest negatives 3 2 2 6.
    embedding = np.array([[0], [1], [3], [7]], np.float32)
    loss, active, positive, negative = run(embedding, np.array([5, 5, 9, 9]), margin=0.5)
    assert loss == pytest.approx((0 + 0 + 2.5 + 0) / 4, abs=1e-5)
    assert active == pytest.approx(1 / 4)
    assert positive == pytest.approx((1 + 1 + 4 + 4) / 4, abs=1e-5)
    assert negative == pytest.approx((3 + 2 + 2 + 6) / 4, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(st.integers(-1, 3), min_size=10, max_size=10),
    soft=st.booleans(),
    cosine=st.booleans(),
)
def test_any_mixture_of_known_unknown_and_single_ids(labels, soft, cosine):
    embedding, _ = batch(5, 2, seed=3)
    labels = np.array(labels)
    expected = reference(embedding, labels, soft=soft, cosine=cosine)
    got = run(embedding, labels, soft=soft, cosine=cosine)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_unknown_ids_are_neither_positive_nor_negative(options):
    embedding, labels = batch()
    mixed = np.concatenate([embedding, embedding[:3] + 0.01]).astype(np.float32)
    with_unknown = np.concatenate([labels, [-1, -1, -1]])
    expected = run(embedding, labels, **options)
    np.testing.assert_allclose(run(mixed, with_unknown, **options), expected, rtol=1e-4, atol=1e-6)
    assert not gradient(mixed, with_unknown, **options)[-3:].any()


def test_an_anchor_without_a_positive_is_left_out_of_the_mean():
    embedding, labels = batch(3, 2)
    labels = np.where(labels == 2, [10, 11, 12, 13, 14, 15], labels)
    expected = reference(embedding, labels)
    np.testing.assert_allclose(run(embedding, labels), expected, rtol=1e-4)
    assert expected[2] > 0


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [7, 7, 7, 7], [-1, -1, -1, -1]])
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_batch_without_a_triplet_gives_zero_and_no_gradient(labels, options):
    embedding, _ = batch(2, 2)
    assert run(embedding, np.array(labels), **options) == [0, 0, 0, 0]
    assert not gradient(embedding, np.array(labels), **options).any()


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_gradient_agrees_with_finite_differences(options):
    embedding, labels = batch(3, 2, size=4, seed=7)
    got = gradient(embedding, labels, **options)
    step = 1e-6
    for row in range(len(labels)):
        for column in range(embedding.shape[1]):
            nudge = np.zeros(embedding.shape)
            nudge[row, column] = step
            above = reference(embedding + nudge, labels, **options)[0]
            below = reference(embedding - nudge, labels, **options)[0]
            expected = (above - below) / (2 * step)
            assert got[row, column] == pytest.approx(expected, abs=2e-3)
    assert np.abs(got).max() > 0.01


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_identical_embeddings_have_finite_gradients(options):
    # The slope of the root at distance 0 is infinite; a collapsed network must get out of there.
    embedding = np.ones((8, 16), np.float32)
    labels = np.repeat(np.arange(4), 2)
    loss, *_ = run(embedding, labels, **options)
    expected = np.log(2) if options.get("soft") else options.get("margin", 0.3)
    assert loss == pytest.approx(expected, abs=1e-4)
    assert np.isfinite(gradient(embedding, labels, **options)).all()


@pytest.mark.parametrize(("margin", "active"), [(None, 0), (0.0, 0), (0.1, 1)])
def test_an_anchor_at_equal_distances_is_active_by_its_margin_alone(margin, active):
    options = {"soft": True} if margin is None else {"margin": margin}
    outputs = run(np.ones((4, 3), np.float32), np.array([0, 0, 1, 1]), **options)
    assert outputs[1] == active


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("scale", [1e-4, 300.0, 60000.0])
def test_half_precision_embeddings_neither_overflow_nor_vanish(scale, options):
    # 300 squared is more than float16 holds; the published Ascend run had infinite gradients.
    embedding, labels = batch()
    embedding = (scale * embedding / np.abs(embedding).max()).astype(np.float16)
    outputs = BatchHardTriplet(**options)(ms.Tensor(embedding), ms.Tensor(labels, ms.int32))
    assert all(x.dtype == ms.float32 for x in outputs)
    got = [float(x.asnumpy()) for x in outputs]
    np.testing.assert_allclose(got, reference(embedding, labels, **options), rtol=2e-3, atol=1e-3)
    assert np.isfinite(gradient(embedding, labels, **options).astype(np.float32)).all()


def test_float32_embeddings_far_apart_are_mined_all_the_same():
    # Farther apart than any stand-in for infinity that is merely large.
    embedding, labels = batch()
    embedding = embedding * np.float32(1e8)
    expected = reference(embedding, labels)
    np.testing.assert_allclose(run(embedding, labels), expected, rtol=1e-3)
