"""A crop of which nothing is known is shown to the network as after `mtn trans`."""

from types import SimpleNamespace

import numpy as np
import pytest

from mtn_core.config import ModelConfig
from mtn_core.data.images import read_image
from mtn_core.data.pose_maps import draw_segments
from mtn_core.gallery.embedder import Embedder
from mtn_core.pose.decode import decode_heatmaps
from mtn_core.pose.transforms import transform_crop
from mtn_core.predict.backend import Outputs

pytest.importorskip("mindspore")
SIZE = 32


class Peaks:
    """Heatmaps with a peak for every keypoint, at a place that depends on the crop."""

    image_size, heatmap_size = 64, 64

    def __call__(self, image):
        shift = image[:, 10, 10].sum(axis=1).astype(int) % 16
        centre = np.random.default_rng(1).integers(4, 44, (2, 1, 36)) + shift[:, None]
        across, down = (np.exp(-np.square(np.arange(64) - c[..., None]) / 8) for c in centre)
        height = np.random.default_rng(2).uniform(0.4, 1, (1, 36, 1, 1))
        return (height * down[..., :, None] * across[..., None, :]).astype(np.float32)


class Recorder:
    """A network that keeps what it is shown."""

    metric, recipe, rank, rank_size = "cosine", None, 0, 1

    def __init__(self, **network):
        self.model = ModelConfig(image_size=SIZE, num_ids=5, **network)
        self.provenance = {"checkpoint_sha256": "a" * 64}
        self.batch = {}

    def embed(self, batch):
        self.batch = dict(batch)
        return Outputs(batch["keypoints"][:, :8])


@pytest.fixture(scope="module")
def predicted(smoke_root, tmp_path_factory):
    """The smoke set's query with keypoints and maps that the peaks say."""
    from mtn_core.pose.maps import write_pose_maps

    out = tmp_path_factory.mktemp("predicted")
    write_pose_maps(smoke_root, Peaks(), "p" * 64, splits=["query"], out=out, progress=False)
    return out


def crops(images):
    return np.stack([transform_crop(image, Peaks.image_size) for image in images])


def test_the_same_batch_as_from_files(predicted):
    from mtn_core.data.pipeline import EvalLoader
    from mtn_core.data.source import open_source
    from mtn_core.data.split import load_split

    recorder = Recorder(heatmaps=True, segments=True, keypoints=True)
    split = load_split(predicted, "query")
    source = open_source(split, heatmaps=True, segments=True)
    count = 16
    with EvalLoader(source, model=recorder.model, batch_size=count) as loader:
        expected = {key: value.copy() for key, value in next(iter(loader)).items()}
    images = [read_image(split.image_path(row)) for row in range(count)]
    embedder = Embedder(recorder, "x", predictor=Peaks(), pose_sha256="p" * 64)
    embedded = embedder.embed(images)
    np.testing.assert_array_equal(recorder.batch["image"], expected["image"])
    np.testing.assert_allclose(recorder.batch["keypoints"], expected["keypoints"], atol=2e-3)
    assert np.abs(expected["keypoints"]).max() > 0.2
    for key in ("heatmaps", "segments"):  # on disk they are JPEG
        difference = np.abs(recorder.batch[key].astype(int) - expected[key])
        assert expected[key].any() and np.mean(difference > 24) < 0.01, key
    seen, wanted = (
        batch["segments"].reshape(count, 13, -1).max(axis=2) > 128
        for batch in (recorder.batch, expected)
    )
    np.testing.assert_array_equal(seen, wanted)
    sizes = np.array([image.shape[1::-1] for image in images])
    drawn = draw_segments(decode_heatmaps(Peaks()(crops(images)), sizes), sizes)
    left_out = drawn.reshape(count, 13, -1).any(axis=2) & ~seen  # for want of confidence
    assert seen.any() and left_out.any()
    np.testing.assert_allclose(
        embedded.keypoints.reshape(count, -1) - 0.5, recorder.batch["keypoints"], atol=1e-6
    )


def test_a_crop_without_a_pose_is_what_search_shows(predicted):
    from mtn_core.predict.crop import batch_without_pose

    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    recorder = Recorder(heatmaps=True, segments=True, keypoints=True)
    assert Embedder(recorder, "x").embed([image, image]).keypoints is None
    for key, value in batch_without_pose(image, recorder.model).items():
        np.testing.assert_array_equal(recorder.batch[key], np.concatenate([value] * 2))


def test_another_number_of_crops_is_filled_up_once_a_whole_batch_was_seen():
    recorder = Recorder(segments=False, keypoints=False)
    embedder = Embedder(recorder, "x", batch_size=4)
    images = [np.full((9, 9, 3), i, np.uint8) for i in range(6)]
    assert embedder.embed(images[:1]).features.shape == (1, 8)
    assert len(recorder.batch["image"]) == 1
    assert embedder.embed(images).features.shape == (6, 8)
    assert len(recorder.batch["image"]) == 4
    assert embedder.new_info(None).dimension == 8
    assert SimpleNamespace(**vars(embedder.input)).pose_sha256 is None
