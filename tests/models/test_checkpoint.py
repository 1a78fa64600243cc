import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from mtn_core.config import ModelConfig
from mtn_core.errors import CheckpointError, ConfigError
from mtn_core.models.checkpoint import (
    META_NAME,
    create_network,
    load_checkpoint,
    load_weights,
    network_weights,
    save_checkpoint,
)
from mtn_core.predict.backend import check_maps


def small():
    return nn.SequentialCell([nn.Dense(3, 2), nn.BatchNorm1d(2)])


def test_weights_state_and_meta_come_back(tmp_path):
    network = small()
    path = tmp_path / "a.ckpt"
    state = {"optimizer.moment1.0.weight": np.ones((2, 3), np.float32)}
    average = {"ema.0.weight": np.full((2, 3), 7, np.float32)}
    save_checkpoint(path, network_weights(network), {"kind": "x", "name": "ü"}, state | average)
    loaded = load_checkpoint(path)
    assert loaded.meta == {"kind": "x", "name": "ü"}
    assert (loaded.weights["0.weight"] == 7).all(), "averaged weights are the ones to use"
    np.testing.assert_array_equal(loaded.raw_weights["0.weight"], network[0].weight.asnumpy())
    assert set(loaded.state) == set(state) | set(average)
    assert set(ms.load_checkpoint(str(path))) >= {"0.weight", "1.moving_mean"}


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_cut_file_is_an_error_that_names_it(tmp_path, keep):
    path = tmp_path / "cut.ckpt"
    save_checkpoint(path, network_weights(small()), {})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(CheckpointError, match=r"cut\.ckpt"):
        load_checkpoint(path)


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "bad.ckpt"
    save_checkpoint(path, network_weights(small()), {})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_checkpoint(tmp_path / "no.ckpt")
    (tmp_path / "a.pth").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="mtn convert"):
        load_checkpoint(tmp_path / "a.pth")


def test_what_does_not_fit_is_listed_and_nothing_is_loaded():
    network = small()
    before = network_weights(network)["0.weight"].copy()
    values = {k: np.zeros_like(v) for k, v in network_weights(network).items()}
    del values["0.bias"]
    values["2.weight"] = np.zeros(3)
    values["1.gamma"] = np.zeros(5)
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, values, "a.ckpt")
    text = str(caught.value)
    assert "missing: 0.bias" in text
    assert "unexpected: 2.weight" in text
    assert "1.gamma: network (2,), file (5,)" in text
    np.testing.assert_array_equal(network[0].weight.asnumpy(), before)


def test_a_checkpoint_without_a_model_says_so(tmp_path):
    path = tmp_path / "foreign.ckpt"
    ms.save_checkpoint(small(), str(path))
    with pytest.raises(CheckpointError, match="does not say which network"):
        create_network(load_checkpoint(path))
    model = ModelConfig(num_ids=3, image_size=32, segments=True)
    save_checkpoint(path, {"x": np.zeros(1)}, {"kind": "multitask", "model": model.model_dump()})
    with pytest.raises(ConfigError, match="--segmentaware True, but --segmentaware False"):
        check_maps(load_checkpoint(path).model_config, path, heatmaps=None, segments=False)
    with pytest.raises(CheckpointError, match="missing"):
        create_network(load_checkpoint(path))


def write_with_meta(path, text):
    data = np.frombuffer(text.encode(), np.uint8).copy()
    entries = {"x": np.zeros(1, np.float32), META_NAME: data}
    ms.save_checkpoint([{"name": n, "data": ms.Tensor(v)} for n, v in entries.items()], str(path))
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind:", "not JSON"),
        ("[1, 2]", "expected an object, got list"),
        ('{"kind": 7}', "configuration key 'kind'"),
        ('{"epoch": -1}', "configuration key 'epoch'"),
        ('{"metric": "manhattan"}', "configuration key 'metric'"),
        ('{"model": [1]}', "configuration key 'model'"),
    ],
)
def test_meta_data_that_cannot_be_used_names_the_file(tmp_path, text, message):
    path = write_with_meta(tmp_path / "meta.ckpt", text)
    with pytest.raises(CheckpointError, match=rf"meta\.ckpt.*{message}"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"kind": "pose", "model": {}}, "holds a PoseEstNet, not a MultiTaskNet"),
        ({"kind": "backbone"}, "holds a bare DenseNet-121, not a MultiTaskNet"),
        ({"model": {"image_size": 100}}, "cannot build.*image_size.*multiple of 32"),
        ({"model": {"surprise": 1}}, "cannot build.*unknown configuration key 'surprise'"),
        ({"model": {"num_ids": 24}, "pids": [1, 2]}, "2 training ids for a network of 24"),
    ],
)
def test_a_checkpoint_of_something_else_says_what_it_is(tmp_path, meta, message):
    path = tmp_path / "other.ckpt"
    save_checkpoint(path, {"x": np.zeros(1)}, meta)
    with pytest.raises(CheckpointError, match=rf"other\.ckpt .*{message}"):
        _ = load_checkpoint(path).model_config


def test_weights_that_are_not_finite_are_refused():
    network = small()
    values = network_weights(network)
    values["0.weight"] = np.full_like(values["0.weight"], np.nan)
    with pytest.raises(CheckpointError, match=r"a\.ckpt has weights that are nan.*0\.weight"):
        load_weights(network, values, "a.ckpt")


def test_a_folder_is_not_said_to_be_absent(tmp_path):
    (tmp_path / "dir.ckpt").mkdir()
    with pytest.raises(CheckpointError, match=r"dir\.ckpt is a folder"):
        load_checkpoint(tmp_path / "dir.ckpt")
