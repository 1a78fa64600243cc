import mindspore as ms
import numpy as np
import pytest

from mtn_core.config import LossConfig
from mtn_core.losses import LOSS_PARTS, BatchHardTriplet, MultiTaskLoss, SmoothedCrossEntropy


def inputs(num_rows=8, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(num_rows, n)).astype(np.float32) for n in (20, 10, 9, 32)]
    labels = [
        np.repeat(np.arange(num_rows // 2), 2),
        rng.integers(0, 10, num_rows),
        rng.integers(0, 9, num_rows),
    ]
    return [ms.Tensor(a) for a in arrays], [ms.Tensor(x, ms.int32) for x in labels]


def test_default_weights_are_those_of_the_paper():
    tensors, labels = inputs()
    loss, parts = MultiTaskLoss(LossConfig())(*tensors, *labels)
    named = dict(zip(LOSS_PARTS, parts.asnumpy(), strict=True))
    expected = (
        named["loss_id"]
        + named["loss_triplet"]
        + 0.125 * named["loss_color"]
        + 0.125 * named["loss_type"]
    )
    assert float(loss.asnumpy()) == pytest.approx(expected, rel=1e-6)


def test_parts_stand_in_the_order_of_their_names():
    (id_logits, color_logits, type_logits, embedding), (pids, colors, types) = inputs()
    config = LossConfig(label_smoothing=0.2, margin=0.7)
    _, parts = MultiTaskLoss(config)(
        id_logits, color_logits, type_logits, embedding, pids, colors, types
    )
    cross_entropy = SmoothedCrossEntropy(0.2)
    triplet, active, positive, negative = BatchHardTriplet(0.7)(embedding, pids)
    expected = [
        cross_entropy(id_logits, pids),
        triplet,
        cross_entropy(color_logits, colors),
        cross_entropy(type_logits, types),
        active,
        positive,
        negative,
    ]
    np.testing.assert_allclose(parts.asnumpy(), [float(x.asnumpy()) for x in expected], rtol=1e-6)
    assert len(LOSS_PARTS) == len(expected)


@pytest.mark.parametrize("options", [{"triplet": "soft"}, {"distance": "cosine"}])
def test_configuration_chooses_the_triplet_variant(options):
    tensors, labels = inputs()
    _, parts = MultiTaskLoss(LossConfig(**options))(*tensors, *labels)
    criterion = BatchHardTriplet(
        0.3, soft=options.get("triplet") == "soft", cosine=options.get("distance") == "cosine"
    )
    expected = float(criterion(tensors[3], labels[0])[0].asnumpy())
    assert parts.asnumpy()[1] == pytest.approx(expected, rel=1e-6)
    plain = float(BatchHardTriplet(0.3)(tensors[3], labels[0])[0].asnumpy())
    assert expected != pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize("num_rows", [4, 8, 14])
def test_batch_size_is_not_built_in(num_rows):
    criterion = MultiTaskLoss(LossConfig())
    for rows in (8, num_rows):
        tensors, labels = inputs(rows)
        loss, _ = criterion(*tensors, *labels)
        fresh, _ = MultiTaskLoss(LossConfig())(*tensors, *labels)
        assert float(loss.asnumpy()) == float(fresh.asnumpy())


def test_unknown_attributes_leave_only_the_identity_losses():
    # The real crops have no colours: the loss must not move the colour head.
    tensors, (pids, colors, _) = inputs()
    unknown = ms.Tensor(np.full(colors.shape, -1), ms.int32)
    loss, parts = MultiTaskLoss(LossConfig())(*tensors, pids, unknown, unknown)
    assert parts.asnumpy()[2:4].tolist() == [0, 0]
    assert float(loss.asnumpy()) == pytest.approx(float(parts.asnumpy()[:2].sum()), rel=1e-6)


def test_half_precision_outputs_give_a_finite_float32_loss():
    tensors, labels = inputs()
    tensors = [ms.Tensor((300 * x.asnumpy()).astype(np.float16)) for x in tensors]
    criterion = MultiTaskLoss(LossConfig())
    loss, parts = criterion(*tensors, *labels)
    assert loss.dtype == parts.dtype == ms.float32
    assert np.isfinite(parts.asnumpy()).all()
    gradients = ms.grad(lambda *x: criterion(*x, *labels)[0], grad_position=(0, 1, 2, 3))(*tensors)
    assert all(np.isfinite(g.asnumpy()).all() for g in gradients)
