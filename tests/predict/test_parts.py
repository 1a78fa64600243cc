"""A network with parts through the evaluation: by what it is asked to compare."""

import numpy as np
import pytest

from mtn_core.config import EvalConfig, ModelConfig
from mtn_core.errors import ConfigError
from mtn_core.predict.backend import Outputs
from mtn_core.predict.evaluate import compare, open_evaluation


class Stub:
    """Embeddings made from the mean colour; the segments' areas stand in for the parts'."""

    metric, recipe, provenance, rank, rank_size = "covisible", None, {}, 0, 1

    def __init__(self, pose):
        self.model = ModelConfig(image_size=32, pose=pose, keypoints=False)

    def embed(self, batch):
        image = batch["image"].astype(np.float32) / 255
        features = image.mean((1, 2)) - 0.5
        if self.model.pools_parts:
            parts = np.random.default_rng(0).normal(size=(len(image), 5 * 256))
            areas = (batch["segments"] > 0).mean((2, 3))[:, [10, 7, 1, 4, 9]]
            features = np.concatenate([features, parts, areas], axis=1)
        return Outputs(features.astype(np.float32))

    def gather(self, values):
        return values


@pytest.fixture(scope="module")
def evaluation(smoke_root):
    return open_evaluation(smoke_root, Stub("parts").model)


def test_parts_are_compared_by_what_both_show(evaluation):
    result = compare(Stub("parts"), evaluation, EvalConfig(metric="covisible"), shown=False)
    assert result.protocol["metric"] == "covisible"
    assert result.query.features.shape[1] == 3 + 5 * 257


def test_by_another_metric_the_global_vector_is_all_that_is_left(evaluation, smoke_root):
    result = compare(Stub("parts"), evaluation, EvalConfig(metric="cosine"), shown=False)
    plain = Stub("none")
    expected = compare(
        plain, open_evaluation(smoke_root, plain.model), EvalConfig(metric="cosine"), shown=False
    )
    np.testing.assert_array_equal(result.query.features, expected.query.features)
    assert result.mAP == expected.mAP


def test_parts_that_are_not_there_are_not_compared(smoke_root):
    plain = Stub("none")
    evaluation = open_evaluation(smoke_root, plain.model)
    with pytest.raises(ConfigError, match=r"this network has none \(model\.pose is none\)"):
        compare(plain, evaluation, EvalConfig(metric="covisible"), shown=False)
