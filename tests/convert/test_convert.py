import json

import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file

from mtn_core.config import ModelConfig
from mtn_core.convert.multitask import check_out, convert_file, convert_state_dict, save_converted
from mtn_core.errors import CheckpointError, RunFolderError
from mtn_core.models.checkpoint import create_network, load_checkpoint
from mtn_core.models.densenet import DenseNet121

SMALL = ModelConfig(num_ids=20)


def test_every_parameter_is_mapped_or_skipped_with_a_reason(torchvision_arrays):
    conversion = convert_state_dict(torchvision_arrays)
    report = conversion.report
    assert report.mapped.keys() | report.skipped.keys() == torchvision_arrays.keys()
    assert not report.mapped.keys() & report.skipped.keys()
    expected = {f"backbone.{p.name}": p.shape for p in DenseNet121().get_parameters()}
    assert {n: a.shape for n, a in conversion.parameters.items()} == expected
    assert sorted(report.mapped.values()) == sorted(expected)
    assert conversion.model is None
    counters = [name for name in torchvision_arrays if name.endswith("num_batches_tracked")]
    assert sorted(report.skipped) == sorted([*counters, "classifier.weight", "classifier.bias"])


def test_values_arrive_where_they_belong(torchvision_arrays):
    got = convert_state_dict(torchvision_arrays).parameters
    pairs = {
        "backbone.conv0.weight": "features.conv0.weight",
        "backbone.norm0.gamma": "features.norm0.weight",
        "backbone.norm0.beta": "features.norm0.bias",
        "backbone.denseblock1.0.conv1.weight": "features.denseblock1.denselayer1.conv1.weight",
        "backbone.denseblock3.23.norm2.moving_mean": (
            "features.denseblock3.denselayer24.norm2.running_mean"
        ),
        "backbone.transition2.norm.moving_variance": "features.transition2.norm.running_var",
        "backbone.transition3.conv.weight": "features.transition3.conv.weight",
        "backbone.norm5.beta": "features.norm5.bias",
    }
    for ours, theirs in pairs.items():
        np.testing.assert_array_equal(got[ours], torchvision_arrays[theirs])


def test_both_spellings_of_torchvision_are_the_same(torchvision_arrays, old_torchvision_arrays):
    assert "features.denseblock1.denselayer1.norm.1.weight" in old_torchvision_arrays
    old = convert_state_dict(old_torchvision_arrays).parameters
    new = convert_state_dict(torchvision_arrays).parameters
    assert old.keys() == new.keys()
    assert all(np.array_equal(old[name], new[name]) for name in new)


def test_a_backbone_without_prefix_is_known_too(make_backbone):
    assert len(convert_state_dict(make_backbone(prefix="")).parameters) == 604


@pytest.mark.parametrize(
    "options",
    [
        {"num_colors": 6, "num_types": 5},
        {"heatmaps": True, "attributes": False},
        {"segments": True, "keypoints": False},
        {"heatmaps": True, "segments": True},
    ],
    ids=str,
)
def test_the_original_says_which_network_it_is(make_original, options):
    model = ModelConfig(num_ids=33, **options)
    conversion = convert_state_dict(make_original(model))
    assert conversion.model == model
    assert "fc_id.bias" in conversion.parameters


def test_the_original_without_any_hidden_layer_gives_its_backbone(make_original):
    model = ModelConfig(num_ids=5, keypoints=False, attributes=False)
    conversion = convert_state_dict(make_original(model))
    assert conversion.model is None
    assert "classifies pooled features" in conversion.report.skipped["classifier_vid.weight"]
    assert all(name.startswith("backbone.") for name in conversion.parameters)


def test_missing_unexpected_and_misshapen_parameters_are_listed(torchvision_arrays):
    arrays = dict(torchvision_arrays)
    del arrays["features.denseblock2.denselayer3.conv2.weight"]
    del arrays["features.norm5.running_var"]
    arrays["features.denseblock1.denselayer7.conv1.weight"] = np.zeros((128, 256, 1, 1), "f4")
    arrays["features.transition1.conv.weight"] = np.zeros((64, 256, 1, 1), "f4")
    with pytest.raises(CheckpointError) as error:
        convert_state_dict(arrays, source="broken.pth")
    text = str(error.value)
    assert "broken.pth does not fit" in text
    assert "missing: backbone.denseblock2.2.conv2.weight, backbone.norm5.moving_variance" in text
    assert "unexpected: features.denseblock1.denselayer7.conv1.weight" in text
    assert "features.transition1.conv.weight (64, 256, 1, 1), expected (128, 256, 1, 1)" in text


def test_unknown_names_are_an_error_with_the_total(torchvision_arrays):
    strangers = {f"layer{i}.weight": np.zeros(3, "f4") for i in range(8)}
    with pytest.raises(CheckpointError, match=r"layer0\.weight.*3 more, 8 in all"):
        convert_state_dict({**torchvision_arrays, **strangers})


def test_another_network_is_named_as_such():
    with pytest.raises(CheckpointError, match=r"holds no conv0\.weight.*such as conv1\.weight"):
        convert_state_dict({"conv1.weight": np.zeros((64, 3, 7, 7), "f4"), "fc.weight": np.ones(1)})


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(torchvision_arrays, broken):
    arrays = dict(torchvision_arrays)
    arrays["features.norm0.bias"] = np.full(64, broken, np.float32)
    with pytest.raises(CheckpointError, match=r"not finite.*features\.norm0\.bias"):
        convert_state_dict(arrays)


def test_whole_numbers_are_no_weights(torchvision_arrays):
    arrays = dict(torchvision_arrays)
    arrays["features.norm0.bias"] = np.zeros(64, np.int64)
    with pytest.raises(CheckpointError, match=r"whole numbers.*features\.norm0\.bias"):
        convert_state_dict(arrays)


def test_a_parameter_in_both_spellings_is_an_error(torchvision_arrays):
    arrays = dict(torchvision_arrays)
    name = "features.denseblock1.denselayer1.norm1.weight"
    arrays[name.replace("norm1", "norm.1")] = arrays[name]
    with pytest.raises(CheckpointError, match=r"twice.*norm1\.weight and .*norm\.1\.weight"):
        convert_state_dict(arrays)


def test_a_stem_for_other_channels_is_an_error(make_backbone):
    with pytest.raises(CheckpointError, match=r"C one of 3, 39, 16, 52, got \(64, 4, 7, 7\)"):
        convert_state_dict(make_backbone(in_channels=4))


def test_checkpoint_of_a_whole_network_is_ready_for_evaluation(make_original, tmp_path):
    source = tmp_path / "model_best.safetensors"
    arrays = make_original(SMALL)
    save_file(arrays, source)
    out = tmp_path / "original.ckpt"
    save_converted(convert_file(source), out, source)
    checkpoint = load_checkpoint(out)
    network = create_network(checkpoint)
    assert network.config == SMALL
    assert not network.training
    np.testing.assert_array_equal(network.fc_id.weight.asnumpy(), arrays["fc_vid.weight"])
    assert checkpoint.meta["source"]["file"] == source.name
    assert len(checkpoint.meta["source"]["sha256"]) == 64
    json.dumps(checkpoint.meta)


def test_checkpoint_of_a_backbone_is_no_network_to_evaluate(torchvision_arrays, tmp_path):
    source = tmp_path / "densenet121.safetensors"
    save_file(torchvision_arrays, source)
    out = tmp_path / "MultiTask_pretrained.ckpt"
    save_converted(convert_file(source), out, source)
    with pytest.raises(CheckpointError, match="backbone"):
        create_network(load_checkpoint(out))
    # Natural names: MindSpore's own loader takes the file as well.
    plain = ms.load_checkpoint(str(out))
    np.testing.assert_array_equal(
        plain["backbone.norm0.gamma"].asnumpy(), torchvision_arrays["features.norm0.weight"]
    )
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_output_is_not_overwritten_unasked(tmp_path):
    out = tmp_path / "a.ckpt"
    check_out(out)
    out.write_bytes(b"kept")
    with pytest.raises(RunFolderError, match="--overwrite"):
        check_out(out)
    check_out(out, overwrite=True)
    with pytest.raises(CheckpointError, match=r"\.ckpt"):
        check_out(tmp_path / "a.pth")
    (tmp_path / "folder.ckpt").mkdir()
    with pytest.raises(RunFolderError):
        check_out(tmp_path / "folder.ckpt", overwrite=True)


def test_report_names_counts_and_reasons(torchvision_arrays):
    text = convert_state_dict(torchvision_arrays, source="d.pth").report.to_text()
    assert text.splitlines()[:2] == ["d.pth: DenseNet-121", "mapped: 604 parameters"]
    assert "skipped: classifier.weight, classifier.bias - ImageNet" in text
    assert "121 in all" in text
