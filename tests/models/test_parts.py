"""Part masks and vectors against NumPy, and what each kind of pose gives the network."""

import mindspore as ms
import numpy as np
import pytest

from mtn_core.config import ModelConfig, config_from_dict
from mtn_core.errors import ConfigError
from mtn_core.models.multitask import MultiTaskNet, embedding_width
from mtn_core.models.parts import PartHead, PartMasks
from mtn_core.models.preprocess import InputStack
from mtn_core.vehicle import NUM_PARTS, PART_NAMES, SEGMENT_NAMES, SEGMENT_PARTS

PARTS = ModelConfig(image_size=64, pose="parts", last_stride=1, num_ids=5)


def batch(count=3, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    segments = np.zeros((count, 13, 64, 64), np.uint8)
    for row in range(count):
        for segment in rng.permutation(13)[:6]:
            top, left = rng.integers(0, 40, 2)
            segments[row, segment, top : top + 20, left : left + 24] = 255
    return image, segments, rng.uniform(-0.5, 0.5, (count, 108)).astype(np.float32)


def stack(model, image, segments):
    return InputStack(model)(ms.Tensor(image), None, ms.Tensor(segments))


def run(network, model, image, segments, keypoints):
    outputs = network(stack(model, image, segments), ms.Tensor(keypoints))
    return [output.asnumpy() for output in outputs]


def test_every_segment_belongs_to_the_face_that_its_name_says():
    faces = {"left": "left", "right": "right", "boot": "rear", "rear": "rear", "roof": "roof"}
    faces |= dict.fromkeys(("windscreen", "bonnet", "front"), "front")
    found = [PART_NAMES[part] for part in SEGMENT_PARTS]
    assert found == [faces[name.split("_")[0]] for name in SEGMENT_NAMES]


@pytest.mark.parametrize("last_stride", [1, 2])
def test_masks_are_the_covered_share_of_every_cell(last_stride):
    model = PARTS.model_copy(update={"last_stride": last_stride})
    image, segments, _ = batch()
    masks = PartMasks(model)(stack(model, image, segments)).asnumpy()
    side = 4 if last_stride == 1 else 2
    assert masks.shape == (3, NUM_PARTS, side, side)
    for part in range(NUM_PARTS):
        covered = (segments[:, part == SEGMENT_PARTS] > 0).any(axis=1)
        cells = covered.reshape(3, side, 64 // side, side, 64 // side).mean((2, 4))
        np.testing.assert_allclose(masks[:, part], cells, atol=1e-5)


def test_a_part_is_the_mean_of_the_features_that_it_covers():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(2, 1024, 4, 4)).astype(np.float32)
    masks = rng.uniform(0, 1, (2, NUM_PARTS, 4, 4)).astype(np.float32)
    masks[1, 3] = 0
    pooled = rng.normal(size=(2, 1024)).astype(np.float32)
    head = PartHead(1024, 5)
    head.set_train(False)
    tensors = [ms.Tensor(array) for array in (features, masks, pooled)]
    vectors, areas, logits = (output.asnumpy() for output in head(*tensors))
    means = np.einsum("nchw,nphw->npc", features, masks)
    means /= np.maximum(masks.sum((2, 3)), 1e-9)[..., None]
    means[1, 3] = pooled[1]
    expected = means @ head.fc.weight.asnumpy().T + head.fc.bias.asnumpy()
    expected = expected.reshape(2, -1) / np.sqrt(1 + head.neck.eps)
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    np.testing.assert_allclose(areas, masks.mean((2, 3)), atol=1e-6)
    share = np.sqrt(areas / areas.sum(axis=1, keepdims=True))
    weighted = expected.reshape(2, NUM_PARTS, -1) * share[..., None]
    wanted = weighted.reshape(2, -1) @ head.classifier.weight.asnumpy().T
    np.testing.assert_allclose(logits, wanted, atol=1e-5)


def test_outputs_while_training_and_otherwise():
    network = MultiTaskNet(PARTS)
    network.set_train(False)
    inputs = batch()
    outputs = run(network, PARTS, *inputs)
    assert [o.shape for o in outputs] == [(3, 5), (3, 10), (3, 9), (3, 1024 + 5 * 256 + 5)]
    assert embedding_width(PARTS) == outputs[3].shape[1]
    network.set_train(True)
    outputs = run(network, PARTS, *inputs)
    assert outputs[4].shape == (3, 5) and outputs[3].shape == (3, 2309)


def test_parts_are_no_input_of_the_backbone():
    """Without keypoints, maps change nothing but the parts."""
    model = PARTS.model_copy(update={"keypoints": False})
    network = MultiTaskNet(model)
    network.set_train(False)
    assert network.backbone.conv0.weight.shape[1] == 3
    image, segments, keypoints = batch()
    seen = run(network, model, image, segments, keypoints)[3]
    blind = run(network, model, image, 0 * segments, keypoints)[3]
    np.testing.assert_allclose(seen[:, :1024], blind[:, :1024], atol=1e-5)
    assert (blind[:, -NUM_PARTS:] == 0).all() and (seen[:, -NUM_PARTS:] > 0).any()


def test_both_is_input_and_parts():
    model = ModelConfig(image_size=64, pose="both", heatmaps=True, num_ids=5)
    network = MultiTaskNet(model)
    assert network.backbone.conv0.weight.shape[1] == model.in_channels == 3 + 36 + 13
    assert model.pools_parts and embedding_width(model) == 2309


def test_pose_decides_what_is_used():
    none = ModelConfig(pose="none", segments=True, heatmaps=True)
    assert not (none.heatmaps or none.segments or none.keypoints) and none.in_channels == 3
    parts = ModelConfig(pose="parts")
    assert parts.segments and parts.in_channels == 16 and parts.stem_channels == 3
    assert ModelConfig(segments=True) == ModelConfig(segments=True, pose="input")
    with pytest.raises(ConfigError, match=r"heatmaps is true; set model\.pose=both"):
        config_from_dict({"model": {"pose": "parts", "heatmaps": True}})


def test_a_network_with_parts_is_trained_for_their_distance():
    values = {"model": {"pose": "both"}, "eval": {"metric": "cosine"}}
    assert config_from_dict(values).eval.metric == "covisible"
    assert config_from_dict({"eval": {"metric": "cosine"}}).eval.metric == "cosine"
