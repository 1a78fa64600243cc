import mindspore as ms
import numpy as np
import pytest

from mtn_core.config import ModelConfig
from mtn_core.data.split import find_labelled, load_split
from mtn_core.device import Device
from mtn_core.errors import CheckpointError, DataError
from mtn_core.models.checkpoint import load_checkpoint, network_weights, save_checkpoint
from mtn_core.models.multitask import LEAKY_SLOPE, MultiTaskNet
from mtn_core.predict.attention import AttentionMapper
from mtn_core.predict.crop import CropEmbedder, check_same_network, find_checkpoint
from mtn_core.predict.mindspore import MindSporeBackend

MODEL = ModelConfig(image_size=64, segments=True, num_ids=5)


@pytest.fixture(scope="module")
def mapper():
    mapper = AttentionMapper(MODEL, batch_size=4)
    ms.set_seed(0)
    mapper.load(network_weights(MultiTaskNet(MODEL)))
    return mapper


@pytest.fixture(scope="module")
def split(smoke_root):
    return load_split(smoke_root, "query")


def test_maps_do_not_depend_on_what_else_is_asked_for(mapper, split):
    maps = mapper.compute(split, [0, 1, 2])
    assert sorted(maps) == [0, 1, 2]
    for heat in maps.values():
        assert heat.shape == (2, 2)
        assert (heat >= 0).all() and np.isfinite(heat).all()
    again = mapper.compute(split, [2])
    np.testing.assert_allclose(again[2], maps[2], rtol=1e-4, atol=1e-6)


def test_slope_is_that_of_the_score(mapper):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 1024, 2, 2)).astype(np.float32)
    keypoints = np.zeros((1, 108), np.float32)
    towards = rng.normal(size=(1, 1024)).astype(np.float32)

    tensors = [ms.Tensor(a) for a in (features, keypoints, towards)]
    (score, embedding), slope = mapper._slope(*tensors)
    weight = mapper.network.fc_id.weight.asnumpy()
    bias = mapper.network.fc_id.bias.asnumpy()
    before = np.concatenate([features.mean((2, 3)), keypoints], 1) @ weight.T + bias
    active = np.where(before > 0, 1, LEAKY_SLOPE)
    np.testing.assert_allclose(embedding.asnumpy(), before * active, rtol=1e-4, atol=1e-4)
    assert float(score.asnumpy()) == pytest.approx((before * active * towards).sum(), rel=1e-3)
    expected = ((towards * active) @ weight[:, :1024] / 4)[..., None, None]
    np.testing.assert_allclose(
        slope.asnumpy(), np.broadcast_to(expected, features.shape), rtol=1e-3, atol=1e-6
    )


def test_row_outside_the_split_is_refused(mapper, split):
    with pytest.raises(DataError, match=rf"no row {len(split)} in split query"):
        mapper.compute(split, [len(split)])
    assert mapper.compute(split, []) == {}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    ms.set_seed(0)
    weights = network_weights(MultiTaskNet(MODEL))
    meta = {"kind": "multitask", "model": MODEL.model_dump(), "pids": list(range(5))}
    save_checkpoint(folder / "ckpt" / "best.ckpt", weights, meta)
    return folder


def test_crop_of_a_data_set_is_embedded_with_its_pose(run_dir, split, tmp_path):
    checkpoint = load_checkpoint(find_checkpoint(run_dir))
    embedder = CropEmbedder(MindSporeBackend.of_checkpoint(checkpoint, Device("CPU")))
    path = split.image_path(0)
    labelled = find_labelled(path)
    assert labelled.frame["name"].tolist() == [path.name]
    with_pose = embedder.embed(path)
    copy = tmp_path / "foreign.jpg"
    copy.write_bytes(path.read_bytes())
    assert find_labelled(copy) is None
    without = embedder.embed(copy)
    assert with_pose.shape == without.shape == (1024,)
    assert np.isfinite(without).all()
    assert not np.allclose(with_pose, without)


def test_checkpoint_of_other_weights_is_refused(run_dir, tmp_path):
    (run_dir / "results.json").write_text('{"checkpoint_sha256": "00"}')
    with pytest.raises(CheckpointError, match="other weights made its embeddings"):
        find_checkpoint(run_dir)
    (run_dir / "results.json").unlink()
    assert find_checkpoint(run_dir).name == "best.ckpt"
    with pytest.raises(CheckpointError, match="none of them exists"):
        find_checkpoint(tmp_path)


def test_a_run_is_not_searched_with_another_network(run_dir, tmp_path):
    checkpoint = load_checkpoint(find_checkpoint(run_dir))
    backend = MindSporeBackend.of_checkpoint(checkpoint, Device("CPU"))
    check_same_network(backend, "it", tmp_path)
    (tmp_path / "results.json").write_text('{"checkpoint_sha256": "cdcdcdcdcdcd00"}')
    with pytest.raises(DataError, match=rf"it is of checkpoint {checkpoint.sha256[:12]}.*by cdcd"):
        check_same_network(backend, "it", tmp_path)


def test_attention_of_a_network_with_parts_is_the_global_vectors(split):
    model = ModelConfig(image_size=64, pose="parts", keypoints=False, num_ids=5)
    mapper = AttentionMapper(model, batch_size=2)
    ms.set_seed(0)
    mapper.load(network_weights(MultiTaskNet(model)))
    towards = np.random.default_rng(0).normal(size=1024 + 5 * 257).astype(np.float32)
    found = mapper.compute(split, [0, 1], towards=towards)
    alone = mapper.compute(split, [0, 1], towards=towards[:1024])
    own = mapper.compute(split, [0, 1])
    assert all(heat.max() > 0 for heat in own.values())
    for row in (0, 1):
        assert found[row].shape == (2, 2)
        np.testing.assert_array_equal(found[row], alone[row])
