"""MindCV's ResNet-50 checkpoints by --pre_ckpt_path, as they are and for IBN-a."""

import mindspore as ms
import numpy as np
import pytest

from mtn_core.config import ModelConfig
from mtn_core.convert.load import load_pretrained
from mtn_core.errors import CheckpointError
from mtn_core.models.checkpoint import network_weights, save_checkpoint
from mtn_core.models.multitask import MultiTaskNet

resnet = pytest.importorskip("mindcv.models.resnet", reason="MindCV is not installed")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as MindCV publishes them, and its values."""
    network = resnet.resnet50()
    rng = np.random.default_rng(1)
    for parameter in network.get_parameters():
        if "bn" in parameter.name or "down_sample.1" in parameter.name:
            values = rng.uniform(0.5, 1.5, parameter.shape).astype(np.float32)
            parameter.set_data(ms.Tensor(values))
    path = tmp_path_factory.mktemp("mindcv") / "resnet50-e0733ab8.ckpt"
    ms.save_checkpoint(network, str(path))
    return path, network_weights(network)


def create(**options):
    return MultiTaskNet(ModelConfig(**{"num_ids": 7, "backbone": "resnet50", **options}))


def test_every_value_of_the_backbone_is_taken(published):
    path, theirs = published
    network = create(segments=True)
    before = network.backbone.conv1.weight.asnumpy().copy()
    report = load_pretrained(network, path)
    ours = network_weights(network.backbone)
    assert sum(name.startswith("backbone.") for name in report.mapped) == len(ours)
    for name, value in ours.items():
        if name != "backbone.conv1.weight":
            np.testing.assert_array_equal(value, theirs[name.removeprefix("backbone.")])
    stem = ours["backbone.conv1.weight"]
    np.testing.assert_array_equal(stem[:, :3], theirs["conv1.weight"])
    np.testing.assert_array_equal(stem[:, 3:], before[:, 3:])
    assert "fc_id.weight" in report.kept


def test_ibn_a_takes_its_norms_by_halves(published):
    path, theirs = published
    network = create(backbone="resnet50_ibn_a")
    load_pretrained(network, path)
    ours = network_weights(network.backbone)
    norm, name = "backbone.layer2.1.bn1", "layer2.1.bn1"
    for value in ("gamma", "beta"):
        np.testing.assert_array_equal(
            ours[f"{norm}.instance_{value}"], theirs[f"{name}.{value}"][:64]
        )
        np.testing.assert_array_equal(ours[f"{norm}.norm.{value}"], theirs[f"{name}.{value}"][64:])
    mean = theirs[f"{name}.moving_mean"][64:]
    np.testing.assert_array_equal(ours[f"{norm}.norm.moving_mean"], mean)
    np.testing.assert_array_equal(ours["backbone.layer4.0.bn1.gamma"], theirs["layer4.0.bn1.gamma"])


def test_a_training_goes_on_from_a_network_of_ours(published, tmp_path):
    first, second = create(), create(num_ids=9)
    load_pretrained(first, published[0])
    save_checkpoint(tmp_path / "own.ckpt", network_weights(first), {})
    report = load_pretrained(second, tmp_path / "own.ckpt")
    assert "9" in report.kept["classifier_id.weight"]
    np.testing.assert_array_equal(first.fc_id.weight.asnumpy(), second.fc_id.weight.asnumpy())


def test_another_backbone_is_named(published, tmp_path):
    dense = create(backbone="densenet121")
    with pytest.raises(CheckpointError, match=r"a ResNet-50, .* model\.backbone=densenet121"):
        load_pretrained(dense, published[0])
    save_checkpoint(tmp_path / "dense.ckpt", network_weights(dense), {})
    with pytest.raises(CheckpointError, match=r"a DenseNet-121, .* model\.backbone=resnet50"):
        load_pretrained(create(), tmp_path / "dense.ckpt")


def test_other_resnets_do_not_fit(tmp_path):
    ms.save_checkpoint(resnet.resnet101(), str(tmp_path / "resnet101.ckpt"))
    with pytest.raises(CheckpointError, match=r"does not fit(.|\n)*layer3\.6"):
        load_pretrained(create(), tmp_path / "resnet101.ckpt")
