"""The same random weights in a PyTorch DenseNet-121 and in ours, through a file and `convert`."""

import mindspore as ms
import numpy as np
import pytest

from mtn_core.config import ModelConfig
from mtn_core.convert.load import load_pretrained
from mtn_core.convert.multitask import convert_file, save_converted
from mtn_core.convert.parity import TOLERANCE, compare_backbones
from mtn_core.convert.reference import random_state_dict
from mtn_core.models.checkpoint import create_network, load_checkpoint
from mtn_core.models.multitask import MultiTaskNet

torch = pytest.importorskip("torch", reason="torch is not installed (extra: convert)")

import torch_multitask  # noqa: E402

from mtn_core.convert import torch_twin  # noqa: E402

STAGES = ["conv0", "norm0", "relu0", "pool0"]
STAGES += ["denseblock1", "transition1", "denseblock2", "transition2"]
STAGES += ["denseblock3", "transition3", "denseblock4", "norm5", "whole"]


def inputs(channels, size=64, num=2, seed=0):
    rng = np.random.default_rng(seed)
    stack = rng.normal(size=(num, channels, size, size)).astype(np.float32)
    return stack, rng.uniform(-0.5, 0.5, (num, 108)).astype(np.float32)


@pytest.fixture(scope="module")
def features():
    model = torch_twin.create_features()
    torch_twin.load_backbone(model, random_state_dict())
    return model


@pytest.fixture(scope="module")
def backbone_checkpoint(features, tmp_path_factory):
    """torchvision's file format, converted: what `--pre_ckpt_path` gets."""
    folder = tmp_path_factory.mktemp("pretrained")
    weights = {f"features.{name}": value for name, value in features.state_dict().items()}
    weights["classifier.weight"] = torch.zeros(1000, 1024)
    weights["classifier.bias"] = torch.zeros(1000)
    source = folder / "densenet121-0123abcd.pth"
    torch.save(weights, source)
    out = folder / "MultiTask_pretrained.ckpt"
    save_converted(convert_file(source), out, source)
    return out


@pytest.fixture(scope="module")
def network(backbone_checkpoint):
    network = MultiTaskNet(ModelConfig(num_ids=3))
    load_pretrained(network, backbone_checkpoint)
    return network


def test_backbone_at_every_stage(features, network):
    stack, _ = inputs(3)
    expected = torch_twin.stage_outputs(features, stack)
    table = compare_backbones(expected, network.backbone, stack)
    assert table["stage"].tolist() == STAGES
    assert table["largest_difference"].max() < TOLERANCE == 1e-4, table
    # Features of order one, else the tolerance says nothing.
    assert table["largest_value"].min() > 1


def test_a_wrong_weight_is_seen_at_its_stage(features, network):
    norm = network.backbone.denseblock2[3].norm2
    mean = norm.moving_mean.asnumpy()
    norm.moving_mean.set_data(ms.Tensor(mean + 0.01))
    stack, _ = inputs(3)
    expected = torch_twin.stage_outputs(features, stack)
    table = compare_backbones(expected, network.backbone, stack)
    norm.moving_mean.set_data(ms.Tensor(mean))
    wrong = table.loc[table["largest_difference"] > TOLERANCE, "stage"].tolist()
    assert wrong == STAGES[STAGES.index("denseblock2") :]


@pytest.mark.parametrize(
    "options",
    [
        {"segments": True, "keypoints": False},
        {"attributes": False},
        {"heatmaps": True, "segments": True, "num_colors": 7},
    ],
    ids=str,
)
def test_trained_original_with_its_heads(options, tmp_path):
    config = ModelConfig(num_ids=12, **options)
    original = torch_multitask.TorchMultiTaskNet(config)
    torch_twin.load_backbone(original.base, random_state_dict(config.in_channels, seed=1))
    weights = {f"module.{name}": value for name, value in original.state_dict().items()}
    content = {"state_dict": weights, "rank1": np.float64(0.7), "epoch": 9}
    path = tmp_path / "model_best.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    conversion = convert_file(path)
    assert conversion.model == config
    save_converted(conversion, tmp_path / "original.ckpt", path)
    network = create_network(load_checkpoint(tmp_path / "original.ckpt"))
    images = inputs(config.in_channels, size=32)
    table = torch_multitask.compare_outputs(
        torch_multitask.named_outputs(original, *images), network, *images
    )
    assert table["largest_difference"].max() < TOLERANCE, table
    assert table["largest_value"].min() > 0.1
    assert len(table) == (4 if config.attributes else 2)


def test_training_moves_the_running_statistics_as_pytorch_does(features, backbone_checkpoint):
    # Momentum 0.9 here is 0.1 there; both must keep the unbiased variance.
    network = MultiTaskNet(ModelConfig(num_ids=3))
    load_pretrained(network, backbone_checkpoint)
    twin = torch_twin.create_features()
    twin.load_state_dict(features.state_dict())
    stack, _ = inputs(3, num=4)
    twin.train()
    network.set_train(True)
    with torch.no_grad():
        expected = twin.norm0(twin.conv0(torch.from_numpy(stack))).numpy()
    got = network.backbone.norm0(network.backbone.conv0(ms.Tensor(stack))).asnumpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)
    norm = network.backbone.norm0
    np.testing.assert_allclose(norm.moving_mean.asnumpy(), twin.norm0.running_mean, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.asnumpy(), twin.norm0.running_var, rtol=2e-5)
