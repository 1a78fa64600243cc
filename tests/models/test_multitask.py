import mindspore as ms
import numpy as np
import pytest

from mtn_core.config import ModelConfig
from mtn_core.errors import ConfigError
from mtn_core.models.multitask import GeM, MultiTaskNet

RGB, HEATMAPS, SEGMENTS, BOTH = (
    (False, False, 3),
    (True, False, 39),
    (False, True, 16),
    (True, True, 52),
)


def inputs(channels, size=32, num=2, seed=0):
    rng = np.random.default_rng(seed)
    stack = rng.normal(size=(num, channels, size, size)).astype(np.float32)
    keypoints = rng.uniform(-0.5, 0.5, (num, 108)).astype(np.float32)
    return ms.Tensor(stack), ms.Tensor(keypoints)


def create(train=False, **options):
    network = MultiTaskNet(ModelConfig(**{"num_ids": 7, "image_size": 32, **options}))
    network.set_train(train)
    return network


@pytest.mark.parametrize(
    "maps, keypoints, attributes",
    [
        (RGB, True, True),
        (RGB, True, False),
        (RGB, False, False),
        (HEATMAPS, True, True),
        (SEGMENTS, False, True),
        (BOTH, True, False),
    ],
)
def test_all_inputs_and_heads(maps, keypoints, attributes):
    heatmaps, segments, channels = maps
    network = create(
        heatmaps=heatmaps, segments=segments, keypoints=keypoints, attributes=attributes
    )
    stack, points = inputs(channels)
    outputs = network(stack, points)
    assert [x.shape for x in outputs] == [(2, 7), (2, 10), (2, 9), (2, 1024)]
    assert all(np.isfinite(x.asnumpy()).all() for x in outputs)
    # What a network does not have must not act.
    moved = network(stack, points + 0.3)
    assert (np.abs(moved[3].asnumpy() - outputs[3].asnumpy()).max() > 0) == keypoints
    assert bool(outputs[1].asnumpy().any()) == bool(outputs[2].asnumpy().any()) == attributes
    names = {name.split(".")[0] for name in network.parameters_dict()}
    assert ("fc_color" in names) == ("classifier_type" in names) == attributes


@pytest.mark.parametrize("size", [32, 96, 160])
def test_one_network_takes_any_multiple_of_32(size):
    network = create(segments=True)
    assert network(*inputs(16, size))[3].shape == (2, 1024)


def test_every_map_channel_reaches_the_embedding():
    network = create(heatmaps=True, segments=True)
    stack, points = inputs(52, num=1)
    before = network(stack, points)[3].asnumpy()
    for channel in (0, 2, 3, 38, 39, 51):
        changed = stack.asnumpy().copy()
        changed[:, channel] += 3
        after = network(ms.Tensor(changed), points)[3].asnumpy()
        assert np.abs(after - before).max() > 1e-5, channel


def test_embedding_is_the_fully_connected_feature_of_pooled_maps_and_keypoints():
    network = create()
    stack, points = inputs(3, 64)
    pooled = network.backbone(stack).asnumpy().mean((2, 3))
    joined = np.concatenate([pooled, points.asnumpy()], axis=1)
    feature = joined @ network.fc_id.weight.asnumpy().T + network.fc_id.bias.asnumpy()
    expected = np.where(feature > 0, feature, 0.01 * feature)
    id_logits, _, _, embedding = network(stack, points)
    np.testing.assert_allclose(embedding.asnumpy(), expected, atol=2e-5)
    classifier = network.classifier_id
    expected = expected @ classifier.weight.asnumpy().T + classifier.bias.asnumpy()
    np.testing.assert_allclose(id_logits.asnumpy(), expected, atol=2e-5)


def test_one_image_gives_the_same_embedding_in_any_batch():
    network = create(segments=True)
    stack, points = inputs(16, num=3)
    together = network(stack, points)[3].asnumpy()
    alone = network(stack[1:2], points[1:2])[3].asnumpy()
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_training_ids_must_be_known():
    with pytest.raises(ConfigError, match="num_ids"):
        MultiTaskNet(ModelConfig(num_ids=0))


@pytest.mark.parametrize("exponent", [1.0, 3.0, 7.5])
def test_gem_agrees_with_its_definition(exponent):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 3, 4)).astype(np.float32)
    clamped = np.maximum(x.astype(np.float64), 1e-6)
    expected = (clamped**exponent).mean((2, 3)) ** (1 / exponent)
    np.testing.assert_allclose(GeM(exponent)(ms.Tensor(x)).asnumpy(), expected, rtol=2e-5)


@pytest.mark.parametrize("exponent", [3.0, 8.0, 20.0])
def test_gem_has_finite_gradients_where_a_channel_is_clamped(exponent):
    # norm5 has no ReLU behind it: whole channels can be negative.
    pool = GeM(exponent)
    x = np.full((1, 3, 2, 2), -1.0, np.float32)
    x[0, 1] = [[1, 2], [3, 4]]
    x[0, 2] = [[-1, -1], [-1, 50]]
    forward = ms.value_and_grad(lambda t: pool(t).sum(), 0, pool.trainable_params())
    value, (on_input, on_exponent) = forward(ms.Tensor(x))
    assert np.isfinite(value.asnumpy())
    assert np.isfinite(on_input.asnumpy()).all()
    assert np.isfinite(on_exponent[0].asnumpy()).all()
    assert not on_input.asnumpy()[0, 0].any()


def test_gem_exponent_gradient_agrees_with_finite_differences():
    x = np.random.default_rng(1).uniform(0.1, 2, (2, 4, 3, 3)).astype(np.float32)
    pool = GeM(3.0)
    grad = ms.value_and_grad(lambda t: pool(t).sum(), None, pool.trainable_params())
    got = float(grad(ms.Tensor(x))[1][0].asnumpy()[0])

    def gem(p):
        return ((x.astype(np.float64) ** p).mean((2, 3)) ** (1 / p)).sum()

    assert got == pytest.approx((gem(3 + 1e-5) - gem(3 - 1e-5)) / 2e-5, rel=1e-3)


def test_gem_keeps_half_precision_from_overflowing():
    x = np.full((1, 2, 2, 2), 100, np.float16)
    pooled = GeM(3.0)(ms.Tensor(x))
    assert pooled.dtype == ms.float32
    np.testing.assert_allclose(pooled.asnumpy(), 100, rtol=1e-4)


def test_gem_network_trains_its_exponent():
    network = create(pooling="gem")
    assert network(*inputs(3))[3].shape == (2, 1024)
    assert "pool.exponent" in {p.name for p in network.trainable_params()}


def test_neck_gives_the_centred_feature_for_retrieval_and_the_raw_one_for_the_triplet_loss():
    network = create(neck="bnneck")
    rng = np.random.default_rng(0)
    values = {
        "moving_mean": rng.normal(size=1024),
        "moving_variance": rng.uniform(0.5, 2, 1024),
        "gamma": rng.uniform(0.5, 2, 1024),
    }
    for name, value in values.items():
        getattr(network.neck, name).set_data(ms.Tensor(value.astype(np.float32)))
    stack, points = inputs(3, num=4)
    raw = create_raw(network, stack, points)
    id_logits, _, _, embedding = network(stack, points)
    scale = values["gamma"] / np.sqrt(values["moving_variance"] + 1e-5)
    expected = (raw - values["moving_mean"]) * scale
    np.testing.assert_allclose(embedding.asnumpy(), expected, atol=1e-4)
    # The classifier sees the centred feature and has no bias (Luo et al., figure 5).
    assert network.classifier_id.bias is None
    logits = embedding.asnumpy() @ network.classifier_id.weight.asnumpy().T
    np.testing.assert_allclose(id_logits.asnumpy(), logits, atol=1e-5)


def create_raw(network, stack, points):
    pooled = network.backbone(stack).mean((2, 3))
    joined = ms.ops.cat((pooled, points), axis=1)
    return network.leaky_relu(network.fc_id(joined)).asnumpy()


def test_neck_while_training_returns_the_feature_before_it():
    network = create(train=True, neck="bnneck")
    stack, points = inputs(3, num=4)
    embedding = network(stack, points)[3].asnumpy()
    centred = network.neck(ms.Tensor(embedding)).asnumpy()
    np.testing.assert_allclose(centred.mean(0), 0, atol=1e-4)
    assert np.abs(embedding.mean(0)).max() > 0.01
    assert "neck.beta" not in {p.name for p in network.trainable_params()}


def test_last_stride_keeps_the_parameters():
    # Converted weights serve both strides.
    shapes = [
        {name: p.shape for name, p in create(last_stride=s).parameters_dict().items()}
        for s in (1, 2)
    ]
    assert shapes[0] == shapes[1]


def test_frozen_warm_up_covers_the_backbone_and_nothing_else():
    network = create()
    names = {p.name for p in network.backbone_parameters()}
    assert names == {p.name for p in network.trainable_params() if p.name.startswith("backbone.")}
    assert "backbone.conv0.weight" in names


def test_graph_mode_gives_the_same_outputs():
    network = create(segments=True, pooling="gem", neck="bnneck", attributes=False)
    tensors = inputs(16)
    expected = [x.asnumpy() for x in network(*tensors)]
    mode = ms.get_context("mode")
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        got = [x.asnumpy() for x in network(*tensors)]
    finally:
        ms.set_context(mode=mode)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["O0", "O2", "O3"])
def test_one_training_gradient_is_finite_at_every_precision(level):
    from mtn_core.config import LossConfig
    from mtn_core.losses import MultiTaskLoss

    network = create(train=True, segments=True)
    if level != "O0":
        ms.amp.auto_mixed_precision(network, level)
    criterion = MultiTaskLoss(LossConfig())
    labels = [ms.Tensor(x, ms.int32) for x in ([0, 0, 1, 1], [1, 2, -1, 3], [4, -1, 0, 8])]
    # Activations of a diverging network: their squares do not fit float16.
    network.fc_id.bias.set_data(network.fc_id.bias + 300)

    def forward(stack, points):
        return criterion(*network(stack, points), *labels)[0]

    step = ms.value_and_grad(forward, None, network.trainable_params())
    loss, gradients = step(*inputs(16, num=4))
    assert loss.dtype == ms.float32
    assert np.isfinite(loss.asnumpy())
    bad = [
        p.name
        for p, g in zip(network.trainable_params(), gradients, strict=True)
        if not np.isfinite(g.asnumpy()).all()
    ]
    assert not bad
