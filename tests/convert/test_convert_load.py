import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file

from mtn_core.config import ModelConfig
from mtn_core.convert.load import load_pretrained
from mtn_core.convert.multitask import convert_state_dict, save_converted
from mtn_core.errors import CheckpointError, MissingFileError
from mtn_core.models.checkpoint import network_weights, save_checkpoint
from mtn_core.models.multitask import MultiTaskNet

STEM = "backbone.conv0.weight"


def create(**options):
    network = MultiTaskNet(ModelConfig(**{"num_ids": 7, **options}))
    network.set_train(False)
    return network


def write(arrays, path):
    """A converted checkpoint of PyTorch arrays."""
    source = path.with_suffix(".safetensors")
    save_file(arrays, source)
    save_converted(convert_state_dict(arrays), path, source)
    return path


@pytest.fixture(scope="module")
def pretrained(torchvision_arrays, tmp_path_factory):
    return write(torchvision_arrays, tmp_path_factory.mktemp("rgb") / "MultiTask_pretrained.ckpt")


@pytest.mark.parametrize("maps", [{"segments": True}, {"heatmaps": True, "segments": True}])
def test_zero_extra_channels_give_the_pretrained_response(pretrained, maps):
    network, plain = create(**maps), create()
    load_pretrained(network, pretrained)
    load_pretrained(plain, pretrained)
    rng = np.random.default_rng(0)
    stack = np.zeros((2, network.config.in_channels, 64, 64), np.float32)
    stack[:, :3] = rng.normal(size=(2, 3, 64, 64))
    expected = plain.backbone(ms.Tensor(stack[:, :3].copy())).asnumpy()
    got = network.backbone(ms.Tensor(stack)).asnumpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)
    stack[:, 3:] = 1
    assert np.abs(network.backbone(ms.Tensor(stack)).asnumpy() - expected).max() > 0.1


def test_rgb_filters_are_kept_and_extra_channels_keep_their_own_values(
    pretrained, torchvision_arrays
):
    network = create(heatmaps=True, segments=True)
    before = network.backbone.conv0.weight.asnumpy().copy()
    report = load_pretrained(network, pretrained)
    after = network.backbone.conv0.weight.asnumpy()
    np.testing.assert_array_equal(after[:, :3], torchvision_arrays["features.conv0.weight"])
    np.testing.assert_array_equal(after[:, 3:], before[:, 3:])
    assert "sees no heatmaps" in report.kept[f"{STEM} [heatmaps]"]
    assert "sees no segments" in report.kept[f"{STEM} [segments]"]


def test_backbone_loads_completely_and_heads_stay(pretrained, torchvision_arrays):
    network = create(pooling="gem", neck="bnneck")
    before = {name: value.copy() for name, value in network_weights(network).items()}
    report = load_pretrained(network, pretrained)
    after = network_weights(network)
    assert len(report.mapped) == 604
    assert report.mapped.keys() | report.kept.keys() == after.keys()
    assert not report.skipped
    for name in report.kept:
        assert not name.startswith("backbone.")
        np.testing.assert_array_equal(after[name], before[name])
        assert report.kept[name] == "not in the file"
    np.testing.assert_array_equal(
        after["backbone.norm5.moving_variance"], torchvision_arrays["features.norm5.running_var"]
    )


def test_maps_that_both_networks_see_are_taken_from_the_right_channels(make_original, tmp_path):
    arrays = make_original(ModelConfig(num_ids=7, heatmaps=True, segments=True))
    path = write(arrays, tmp_path / "both.ckpt")
    network = create(segments=True)
    report = load_pretrained(network, path)
    theirs = arrays["base.conv0.weight"]
    expected = np.concatenate([theirs[:, :3], theirs[:, 39:]], axis=1)
    np.testing.assert_array_equal(network.backbone.conv0.weight.asnumpy(), expected)
    assert "sees no heatmaps" in report.skipped[f"{STEM} [heatmaps]"]
    # And the other way: heatmaps from a file without segments.
    arrays = make_original(ModelConfig(num_ids=7, heatmaps=True))
    network = create(heatmaps=True, segments=True)
    own = network.backbone.conv0.weight.asnumpy().copy()
    load_pretrained(network, write(arrays, tmp_path / "heatmaps.ckpt"))
    got = network.backbone.conv0.weight.asnumpy()
    np.testing.assert_array_equal(got[:, :39], arrays["base.conv0.weight"])
    np.testing.assert_array_equal(got[:, 39:], own[:, 39:])


def test_a_classifier_for_other_classes_is_skipped_and_said_so(make_original, tmp_path):
    arrays = make_original(ModelConfig(num_ids=20))
    network = create(num_ids=7)
    own = network.classifier_id.weight.asnumpy().copy()
    report = load_pretrained(network, write(arrays, tmp_path / "a.ckpt"))
    np.testing.assert_array_equal(network.classifier_id.weight.asnumpy(), own)
    assert "20 classes, this network 7" in report.skipped["classifier_id.weight"]
    assert "20 classes, this network 7" in report.to_text()
    # The heads that fit are used.
    np.testing.assert_array_equal(
        network.classifier_color.weight.asnumpy(), arrays["classifier_vcolor.weight"]
    )
    np.testing.assert_array_equal(network.fc_id.bias.asnumpy(), arrays["fc_vid.bias"])


def test_a_network_without_keypoints_does_not_take_the_joined_layers(make_original, tmp_path):
    arrays = make_original(ModelConfig(num_ids=7))
    network = create(keypoints=False, attributes=False)
    report = load_pretrained(network, write(arrays, tmp_path / "a.ckpt"))
    assert "only one of them sees keypoints" in report.skipped["fc_id.weight"]
    assert report.skipped["fc_color.weight"] == "this network is built without it"
    assert "fc_id.weight" in report.kept
    assert "fc_color.weight" not in report.kept


def test_every_value_of_the_file_is_accounted_for(make_original, tmp_path):
    arrays = make_original(ModelConfig(num_ids=20, heatmaps=True))
    path = write(arrays, tmp_path / "a.ckpt")
    report = load_pretrained(create(segments=True, attributes=False), path)
    in_file = convert_state_dict(arrays).parameters.keys()
    assert in_file == report.mapped.keys() | {n for n in report.skipped if "[" not in n}
    assert not report.mapped.keys() & report.skipped.keys()


def test_pytorch_files_need_no_detour(torchvision_arrays, tmp_path):
    save_file(torchvision_arrays, tmp_path / "a.safetensors")
    network = create()
    assert len(load_pretrained(network, tmp_path / "a.safetensors").mapped) == 604


def test_training_state_in_the_file_is_no_obstacle(tmp_path):
    trained = create()
    state = {"optimizer.moment1.fc_id.weight": np.zeros(3, np.float32)}
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, network_weights(trained), {"kind": "multitask"}, state)
    network = create()
    load_pretrained(network, path)
    expected = network_weights(trained)
    for name, value in network_weights(network).items():
        np.testing.assert_array_equal(value, expected[name])


@pytest.fixture(scope="module")
def network():
    return create()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop("backbone.norm5.beta"), r"missing: backbone\.norm5\.beta"),
        (lambda w: w.pop(STEM), r"missing: backbone\.conv0\.weight"),
        (lambda w: w.update({"backbone.extra": np.ones(2, "f4")}), r"unexpected: backbone\.extra"),
        (lambda w: w.update({"conv_first.w": np.ones(2, "f4")}), r"unexpected: conv_first\.w"),
        (
            lambda w: w.update({"backbone.norm0.beta": np.ones(63, "f4")}),
            r"another shape: backbone\.norm0\.beta \(63,\), expected \(64,\)",
        ),
        (
            lambda w: w.update({STEM: np.ones((64, 5, 7, 7), "f4")}),
            r"another shape: backbone\.conv0\.weight \(64, 5, 7, 7\)",
        ),
        (
            lambda w: w.update({"backbone.norm0.beta": np.full(64, np.nan, "f4")}),
            r"norm0\.beta holds values that are not finite",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(network, change, message, tmp_path):
    before = {name: value.copy() for name, value in network_weights(network).items()}
    weights = {n: v + 1 for n, v in before.items() if n.startswith("backbone.")}
    change(weights)
    save_checkpoint(tmp_path / "a.ckpt", weights, {})
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(network, tmp_path / "a.ckpt")
    for name, value in network_weights(network).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_file_that_is_not_there():
    with pytest.raises(MissingFileError, match=r"absent\.ckpt does not exist"):
        load_pretrained(create(), "absent.ckpt")


def test_training_starts_from_the_file(pretrained, torchvision_arrays, smoke_root, caplog):
    from mtn_core.config import load_config
    from mtn_core.device import Device
    from mtn_core.engine.multitask import MultiTaskTask, open_training

    config = load_config("smoke")
    caplog.set_level("INFO")
    source = open_training([smoke_root], config)
    task = MultiTaskTask(config, source, None, Device("CPU"), pretrained)
    task.loader.close()
    stem = task.network.backbone.conv0.weight.asnumpy()
    assert stem.shape[1] == 16
    np.testing.assert_array_equal(stem[:, :3], torchvision_arrays["features.conv0.weight"])
    # The log says what did not come from the file.
    assert "keeps its initial value: backbone.conv0.weight [segments]" in caplog.text
