"""ResNet-50 of MindCV as a backbone, and IBN-a's norms against NumPy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import amp, nn

from mtn_core.config import ModelConfig
from mtn_core.device import setup_device
from mtn_core.models.ibn import InstanceBatchNorm2d
from mtn_core.models.multitask import MultiTaskNet

resnet = pytest.importorskip("mindcv.models.resnet", reason="MindCV is not installed")


def create(**options):
    options = {"num_ids": 7, "image_size": 64, "backbone": "resnet50", **options}
    network = MultiTaskNet(ModelConfig(**options))
    network.set_train(False)
    return network


def crops(channels=3, size=64, seed=0):
    rng = np.random.default_rng(seed)
    return ms.Tensor(rng.normal(size=(2, channels, size, size)).astype(np.float32))


def test_feature_map_is_mindcvs():
    network = create()
    whole = resnet.resnet50(num_classes=1)
    whole.set_train(False)
    values = network.backbone.parameters_dict()
    for parameter in whole.get_parameters():
        if not parameter.name.startswith("classifier"):
            parameter.set_data(values.pop(f"backbone.{parameter.name}"))
    assert not values
    expected = whole.forward_features(crops()).asnumpy()
    got = network.backbone(crops()).asnumpy()
    assert got.shape == (2, 2048, 2, 2)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet50_ibn_a"])
def test_last_stride_1_doubles_the_feature_map_and_keeps_every_name(backbone):
    plain, fine = create(backbone=backbone), create(backbone=backbone, last_stride=1)
    assert fine.backbone(crops()).shape == (2, 2048, 4, 4)
    shapes = [{n: p.shape for n, p in net.parameters_dict().items()} for net in (plain, fine)]
    assert shapes[0] == shapes[1]


def test_all_heads_and_parts_stand_on_it():
    network = create(backbone="resnet50_ibn_a", pose="both", heatmaps=True)
    keypoints = ms.Tensor(np.zeros((2, 108), np.float32))
    outputs = network(crops(52), keypoints)
    assert [x.shape for x in outputs] == [(2, 7), (2, 10), (2, 9), (2, 1024 + 5 * 256 + 5)]
    assert all(np.isfinite(x.asnumpy()).all() for x in outputs)
    stem = network.backbone.conv1.weight.asnumpy()
    assert stem.shape == (64, 52, 7, 7)
    assert stem[:, 3:].std() == pytest.approx(0.02, rel=0.02) and stem[:, :3].std() > 0.05


def test_ibn_a_is_in_the_first_three_stages_alone():
    cells = dict(create(backbone="resnet50_ibn_a").backbone.cells_and_names())
    mixed = {name for name, cell in cells.items() if isinstance(cell, InstanceBatchNorm2d)}
    blocks = {1: 3, 2: 4, 3: 6}
    assert mixed == {f"layer{s}.{b}.bn1" for s, count in blocks.items() for b in range(count)}


def test_instance_norm_on_the_first_half_and_batch_norm_on_the_second():
    rng = np.random.default_rng(3)
    x = rng.normal(2, 3, (4, 6, 5, 7)).astype(np.float32)
    norm = InstanceBatchNorm2d(6)
    for parameter in norm.get_parameters():
        parameter.set_data(ms.Tensor(rng.uniform(0.5, 2, parameter.shape).astype(np.float32)))
    values = {name: p.asnumpy()[:, None, None] for name, p in norm.parameters_dict().items()}
    instance = x[:, :3]
    mean, variance = instance.mean((2, 3), keepdims=True), instance.var((2, 3), keepdims=True)
    first = (instance - mean) / np.sqrt(variance + 1e-5)
    first = first * values["instance_gamma"] + values["instance_beta"]
    for training in (True, False):
        batch = x[:, 3:]
        mean, variance = values["norm.moving_mean"], values["norm.moving_variance"]
        if training:
            mean = batch.mean((0, 2, 3))[:, None, None]
            variance = batch.var((0, 2, 3))[:, None, None]
        second = (batch - mean) / np.sqrt(variance + 1e-5)
        second = second * values["norm.gamma"] + values["norm.beta"]
        expected = np.concatenate([first, second], axis=1)
        norm.set_train(training)
        if training:
            trained = norm(ms.Tensor(x)).asnumpy()
            np.testing.assert_allclose(trained, expected, atol=2e-4)
            for name, value in values.items():
                norm.parameters_dict()[name].set_data(ms.Tensor(value.ravel()))
        else:
            np.testing.assert_allclose(norm(ms.Tensor(x)).asnumpy(), expected, atol=2e-4)


class _Alone(nn.Cell):
    def __init__(self):
        super().__init__()
        self.norm = InstanceBatchNorm2d(4)

    def construct(self, x):
        return self.norm(x)


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_mixed_precision_does_not_overflow_the_squares(level):
    setup_device("CPU")  # graphs, as in every training
    x = np.random.default_rng(0).normal(0, 4000, (2, 4, 8, 8)).astype(np.float32)
    network = _Alone()
    amp.auto_mixed_precision(network, level)
    network.set_train()
    half = network(ms.Tensor(x)).asnumpy().astype(np.float64)
    assert half.std() == pytest.approx(1, rel=0.02)


def test_its_norms_are_not_decayed():
    from mtn_core.config import OptimConfig
    from mtn_core.engine.optim import decay_factors

    weights = create(backbone="resnet50_ibn_a").backbone.trainable_params()
    factors = dict(
        zip([w.name for w in weights], decay_factors(weights, OptimConfig()), strict=True)
    )
    assert factors["backbone.layer1.0.bn1.instance_gamma"] == 0
    assert factors["backbone.layer1.0.conv1.weight"] > 0


def test_without_mindcv_the_install_command_is_named(monkeypatch, tmp_path, smoke_root, capsys):
    import sys

    from mtn_core.cli import main

    for name in list(sys.modules):
        if name.startswith(("mindcv", "mtn_core.models.resnet")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mindcv", None)
    command = [
        "train",
        "--recipe",
        "smoke",
        "--root",
        str(smoke_root),
        "--out",
        str(tmp_path / "r"),
    ]
    assert main([*command, "--set", "model.backbone=resnet50"]) != 0
    assert "pip install 'mtn_core[backbones]'" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_the_fields_baseline_trains_evaluates_and_shows_where_it_looks(smoke_root, tmp_path):
    """The recipe `bot` at a smaller size, through the commands."""
    from mtn_core.cli import main
    from mtn_core.data.split import load_split
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.predict.attention import AttentionMapper

    run, root = tmp_path / "run", ["--root", str(smoke_root)]
    small = ["model.image_size=64", "data.ids_per_batch=4", "optim.warmup_epochs=0.2"]
    command = ["train", *root, "--out", str(run), "--recipe", "bot", "--epochs", "1"]
    assert main([*command, "--set", *small]) == 0
    best = run / "ckpt" / "best.ckpt"
    assert main(["eval", *root, "--ckpt_path", str(best), "--out", str(run)]) == 0
    checkpoint = load_checkpoint(best)
    mapper = AttentionMapper(checkpoint.model_config)
    mapper.load(checkpoint.weights)
    split = load_split(smoke_root, "query")
    maps = mapper.compute(split, [0, 1])
    assert all(np.isfinite(m).all() and m.any() for m in maps.values()) and len(maps) == 2
