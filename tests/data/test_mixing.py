import shutil

import cv2
import numpy as np
import pytest

from mtn_core.config import DataConfig, ModelConfig
from mtn_core.data.mixing import load_mixed_split, mix_splits, row_repeats
from mtn_core.data.packs.write import pack_dataset
from mtn_core.data.pipeline import TrainLoader
from mtn_core.data.split import load_split
from mtn_core.errors import ConfigError, DataError

MODEL = ModelConfig(image_size=64, heatmaps=True)


@pytest.fixture
def two_roots(tiny_root, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_root, other)
    return [tiny_root, other]


def test_ids_never_collide(two_roots):
    mixed = load_mixed_split(two_roots, "train")
    assert len(mixed) == 36
    assert mixed.frame["pid"].nunique() == 12
    first, second = (mixed.frame.loc[mixed.frame["part"] == p, "pid"] for p in (0, 1))
    assert not set(first) & set(second)
    assert first.tolist() == load_split(two_roots[0], "train").frame["pid"].tolist()
    assert mixed.pid_offsets == (0, 7)


def test_rows_are_those_of_their_part(two_roots):
    mixed = load_mixed_split(two_roots, "train")
    for row in (0, 17, 18, 35):
        part = mixed.parts[row // 18]
        assert mixed.image_path(row) == part.image_path(row % 18)
        assert mixed.heatmap_dir(row) == part.heatmap_dir(row % 18)
        assert mixed.segment_dir(row) == part.segment_dir(row % 18)
        np.testing.assert_array_equal(mixed.keypoints[row], part.keypoints[row % 18])
    assert mixed.has_keypoints
    with pytest.raises(DataError, match="one image folder a part"):
        mixed.folder("image")


def test_one_root_is_just_its_split(two_roots):
    split = load_split(two_roots[0], "train")
    assert mix_splits([split]) is split
    assert split.parts == (split,)


@pytest.mark.parametrize("pack", [(), (0,), (0, 1)])
def test_batches_come_from_both_whether_packed_or_not(two_roots, pack):
    for number in pack:
        pack_dataset(two_roots[number], splits=["train"], progress=False)
    mixed = load_mixed_split(two_roots, "train")
    config = DataConfig(ids_per_batch=4, images_per_id=3, flip=0, translation=0)
    with TrainLoader(mixed, config=config, model=MODEL, seed=0) as loader:
        assert len(loader.pid_index) == 12
        seen = set()
        for batch in loader:
            seen |= set(batch["pid_index"].tolist())
            for position, row in enumerate(batch["index"].tolist()):
                part = mixed.parts[row // 18]
                for k in (0, 35):
                    file = part.heatmap_dir(row % 18) / f"{k:02d}.jpg"
                    expected = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
                    np.testing.assert_array_equal(batch["heatmaps"][position, k], expected)
    assert seen == set(range(12))


def test_weights_set_how_often_a_root_comes(two_roots):
    mixed = load_mixed_split(two_roots, "train")
    config = DataConfig(ids_per_batch=4, images_per_id=3, weights=(1.0, 0.5))
    with TrainLoader(mixed, config=config, model=MODEL, seed=0) as loader:
        rows = np.concatenate([b for e in range(8) for b in loader.sampler.batches(e)])
    share = (rows >= 18).mean()
    assert share == pytest.approx(1 / 3, abs=0.1)
    assert set(rows.tolist()) == set(range(36))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0,), "2 roots, got 1 weights"),
        ((1.0, 0.0), "must be above 0"),
        ((1.0, float("nan")), "must be above 0"),
    ],
)
def test_weights_that_do_not_fit(two_roots, weights, message):
    mixed = load_mixed_split(two_roots, "train")
    with pytest.raises(ConfigError, match=message):
        row_repeats(mixed, weights)
    with pytest.raises(ConfigError, match=message):
        mix_splits(mixed.parts, weights)
    assert row_repeats(mixed, None) is None


def test_splits_that_cannot_be_mixed(two_roots):
    with pytest.raises(ConfigError, match="given twice"):
        load_mixed_split([two_roots[0], two_roots[0]], "train")
    with pytest.raises(ConfigError, match="must have one name"):
        mix_splits([load_split(two_roots[0], "train"), load_split(two_roots[1], "test")])
    with pytest.raises(ConfigError, match="at least one"):
        load_mixed_split([], "train")
