"""MindCV's DenseNet-121 checkpoints: by `mtn convert` and by --pre_ckpt_path, without torch."""

import mindspore as ms
import numpy as np
import pytest
from mindcv_twin import MindCVDenseNet

from mtn_core.cli import main
from mtn_core.config import ModelConfig
from mtn_core.convert.load import load_pretrained
from mtn_core.convert.multitask import convert_file
from mtn_core.convert.read import read_state_dict
from mtn_core.errors import CheckpointError
from mtn_core.models.checkpoint import load_checkpoint
from mtn_core.models.multitask import MultiTaskNet


@pytest.fixture(scope="module")
def twin():
    """Every parameter has values of its own, the statistics too."""
    network = MindCVDenseNet()
    rng = np.random.default_rng(1)
    for parameter in network.get_parameters():
        low, high = (0.5, 1.5) if parameter.name.endswith(("gamma", "variance")) else (-0.1, 0.1)
        values = rng.uniform(low, high, parameter.shape).astype(np.float32)
        if "conv" in parameter.name:
            values *= 10 * np.sqrt(2 / values[0].size)
        parameter.set_data(ms.Tensor(values))
    network.set_train(False)
    return network


@pytest.fixture(scope="module")
def published(twin, tmp_path_factory):
    path = tmp_path_factory.mktemp("mindcv") / "densenet121-120_5004_Ascend.ckpt"
    ms.save_checkpoint(twin, str(path))
    return path


def test_the_twin_has_mindcvs_names(published):
    names = ms.load_checkpoint(str(published)).keys()
    assert names >= {
        "features.conv0.weight",
        "features.norm0.moving_variance",
        "features.denseblock1.cell_list.0.norm1.gamma",
        "features.denseblock4.cell_list.15.conv2.weight",
        "features.transition3.features.norm.beta",
        "features.transition1.features.conv.weight",
        "features.norm5.moving_mean",
        "classifier.weight",
    }
    assert len(names) == 606


def test_the_converted_network_computes_the_same(twin, published):
    network = MultiTaskNet(ModelConfig(num_ids=7))
    report = load_pretrained(network, published)
    assert sum(name.startswith("backbone.") for name in report.mapped) == 604
    network.set_train(False)
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    expected = twin(ms.Tensor(images)).asnumpy()
    assert expected.std() > 0.1
    got = network.backbone(ms.Tensor(images)).asnumpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_convert_writes_a_checkpoint_to_start_from(twin, published, tmp_path, capsys):
    out = tmp_path / "weights.ckpt"
    assert main(["convert", "--pth_path", str(published), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "MindCV's DenseNet-121" in text and "mapped: 604 parameters" in text
    assert "skipped: classifier.weight, classifier.bias - ImageNet" in text
    converted = load_checkpoint(out)
    assert converted.meta["kind"] == "backbone"
    layer = twin.features.denseblock2.cell_list[3]
    for name, value in (
        ("backbone.denseblock2.3.norm2.moving_mean", layer.norm2.moving_mean),
        ("backbone.denseblock2.3.conv1.weight", layer.conv1.weight),
        ("backbone.transition2.conv.weight", twin.features.transition2.features.conv.weight),
    ):
        np.testing.assert_array_equal(converted.weights[name], value.asnumpy())
    # What is converted already says so.
    with pytest.raises(CheckpointError, match="needs no conversion"):
        read_state_dict(out)


def test_another_densenet_is_refused_by_name(tmp_path):
    path = tmp_path / "densenet169.ckpt"
    ms.save_checkpoint(MindCVDenseNet((6, 12, 32, 32)), str(path))
    with pytest.raises(
        CheckpointError, match=r"unexpected: .*denseblock3.cell_list.24.norm1.gamma"
    ):
        convert_file(path)


def test_a_checkpoint_that_lacks_a_layer_is_refused(twin, tmp_path):
    path = tmp_path / "cut.ckpt"
    entries = [
        {"name": p.name, "data": p}
        for p in twin.get_parameters()
        if "denseblock3.cell_list.7" not in p.name
    ]
    ms.save_checkpoint(entries, str(path))
    with pytest.raises(CheckpointError, match=r"missing: backbone.denseblock3.7.norm1"):
        convert_file(path)


@pytest.mark.slow
def test_training_starts_from_it(published, smoke_root, tmp_path, capsys):
    arguments = ["train", "--root", str(smoke_root), "--out", str(tmp_path / "run")]
    arguments += ["--recipe", "smoke", "--epochs", "1", "--pre_ckpt_path", str(published)]
    arguments += ["--set", "model.image_size=32", "train.eval_every=0"]
    assert main(arguments) == 0
    assert (tmp_path / "run" / "ckpt" / "last.ckpt").is_file()
