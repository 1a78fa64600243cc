"""Some rows of a split, several splits joined, and what is read of them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mtn_core.config import DataConfig, ModelConfig
from mtn_core.data.packs.read import PackedSource
from mtn_core.data.packs.write import pack_dataset
from mtn_core.data.pipeline import EvalLoader, TrainLoader
from mtn_core.data.presence import check_needed_files
from mtn_core.data.source import FolderReader, open_source
from mtn_core.data.split import Split, find_labelled, load_split, row_repeats
from mtn_core.errors import ConfigError, DataError

MODEL = ModelConfig(image_size=64, heatmaps=True)
MAPS = {"heatmaps": True, "segments": True}


@pytest.fixture
def train(tiny_root):
    return load_split(tiny_root, "train")


@pytest.fixture
def two_roots(tiny_root, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_root, other)
    return [tiny_root, other]


@pytest.fixture
def joined(two_roots):
    return Split.join([load_split(root, "train") for root in two_roots])


def assert_rows(taken, split, rows):
    """``taken`` holds these rows of ``split``, which holds their files."""
    assert len(taken) == len(rows)
    assert taken.frame.index.tolist() == list(range(len(rows)))
    assert taken.frame["name"].tolist() == [split.frame["name"][row] for row in rows]
    assert taken.frame["pid"].tolist() == [split.frame["pid"][row] for row in rows]
    np.testing.assert_array_equal(taken.keypoints, split.keypoints[rows])
    assert taken.parts == split.parts
    for new, old in enumerate(rows):
        assert taken.image_path(new) == split.image_path(old)
        assert taken.heatmap_dir(new) == split.heatmap_dir(old)
        assert taken.segment_dir(new) == split.segment_dir(old)


def assert_samples(source, split, rows):
    """``source`` reads the files of these rows of ``split``."""
    for sample, row in zip(source.samples(range(len(rows))), rows, strict=True):
        image = cv2.imread(str(split.image_path(row)))[..., ::-1]
        np.testing.assert_array_equal(sample.image(), image)
        for maps, folder in (
            (sample.heatmaps(), split.heatmap_dir(row)),
            (sample.segments(), split.segment_dir(row)),
        ):
            for k in (0, len(maps) - 1):
                expected = cv2.imread(f"{folder}/{k:02d}.jpg", cv2.IMREAD_GRAYSCALE)
                np.testing.assert_array_equal(maps[k], expected)


@pytest.mark.parametrize("rows", [[2, 0], [5, 5, 17], [], [17]])
def test_rows_are_taken_in_the_order_given(train, rows):
    assert_rows(train.take(rows), train, rows)
    assert_rows(train.take(np.array(rows, np.int64)), train, rows)


def test_rows_are_taken_by_a_mask(train):
    mask = train.frame["camid"].to_numpy() == 2
    rows = np.flatnonzero(mask).tolist()
    assert len(rows) == 6
    assert_rows(train.take(mask), train, rows)
    assert_rows(train.take(mask.tolist()), train, rows)


def test_rows_of_a_joined_split(joined):
    rows = [35, 1, 18, 17]
    taken = joined.take(rows)
    assert_rows(taken, joined, rows)
    assert taken.part_index.tolist() == [[1, 17], [0, 1], [1, 0], [0, 17]]
    assert_rows(joined.take(joined.part_index[:, 0] == 1), joined, list(range(18, 36)))


def test_rows_of_taken_rows_are_those_of_the_whole(train, joined):
    for split in (train, joined):
        taken = split.take([9, 3, 7, 1])
        assert_rows(taken.take([3, 0]), split, [1, 9])
        assert_rows(taken.take(np.array([False, True, True, False])), split, [3, 7])


def test_taken_rows_can_be_joined(two_roots):
    first, second = (load_split(root, "train") for root in two_roots)
    both = Split.join([first.take([4, 2]), second.take([0])])
    assert both.parts == (first, second)
    assert both.part_index.tolist() == [[0, 4], [0, 2], [1, 0]]
    assert both.image_path(2) == second.image_path(0)
    with pytest.raises(ConfigError, match="given twice"):
        Split.join([first.take([0]), first.take([1])])


def test_taken_keypoints_are_read_only(train, joined):
    for split in (train, joined, train.take([1, 2]), joined.take([1, 20])):
        with pytest.raises(ValueError, match="read-only"):
            split.keypoints[0, 0, 0] = 1


def test_keypoints_are_looked_for_in_the_taken_rows(tiny_root):
    path = tiny_root / "veri" / "label_train.csv"
    first, *rest = path.read_text().splitlines()
    empty = ",".join([*first.split(",")[:4], *["0"] * 108])
    path.write_text("\n".join([empty, *rest]) + "\n")
    split = load_split(tiny_root, "train")
    assert split.has_keypoints
    assert not split.take([0]).has_keypoints
    assert split.take([0, 1]).has_keypoints


def test_taken_rows_are_read_from_folders(train, joined):
    for split, rows in ((train, [2, 0]), (joined, [20, 2, 35, 0])):
        source = open_source(split.take(rows), **MAPS)
        assert len(source) == len(rows)
        assert all(isinstance(reader, FolderReader) for reader in source._readers)
        assert_samples(source, split, rows)


def test_taken_rows_are_read_from_the_pack(packed_root):
    split = load_split(packed_root, "train")
    source = open_source(split.take([2, 0]), **MAPS)
    (reader,) = source._readers
    assert isinstance(reader, PackedSource)
    assert_samples(source, split, [2, 0])
    assert_samples(open_source(split.take([9, 3, 7]).take([2, 0, 2]), **MAPS), split, [7, 9, 7])


def test_taken_rows_of_a_joined_split_are_read_from_a_pack_and_a_folder(packed_root, tmp_path):
    other = shutil.copytree(packed_root, tmp_path / "other")
    shutil.rmtree(other / "veri" / "pack_train")
    joined = Split.join([load_split(root, "train") for root in (packed_root, other)])
    rows = [35, 2, 18, 0]
    source = open_source(joined.take(rows), **MAPS)
    assert [type(reader) for reader in source._readers] == [PackedSource, FolderReader]
    assert_samples(source, joined, rows)


def test_batches_of_taken_rows_are_those_of_the_whole(packed_root):
    split = load_split(packed_root, "test")
    model = ModelConfig(image_size=64, **MAPS)
    with EvalLoader(open_source(split, **MAPS), model=model, batch_size=9) as loader:
        (whole,) = loader
    with EvalLoader(open_source(split.take([7, 2]), **MAPS), model=model, batch_size=2) as loader:
        (some,) = loader
    for name in whole.keys() - {"index"}:
        np.testing.assert_array_equal(some[name], whole[name][[7, 2]], err_msg=name)


def test_only_the_files_of_taken_rows_are_demanded(train):
    train.image_path(0).unlink()
    shutil.rmtree(train.heatmap_dir(1))
    rows = [5, 2]
    check_needed_files(train.take(rows), **MAPS)
    assert_samples(open_source(train.take(rows), **MAPS), train, rows)
    with pytest.raises(DataError, match="image does not exist"):
        open_source(train.take([2, 0]), **MAPS)
    with pytest.raises(DataError, match="heatmap folder is missing"):
        open_source(train.take([1]), **MAPS)


def test_ids_never_collide(joined, two_roots):
    assert len(joined) == 36
    assert (joined.root, joined.name) == (two_roots[0], "train")
    assert joined.frame["pid"].nunique() == 12
    first, second = (joined.frame.loc[joined.part_index[:, 0] == p, "pid"] for p in (0, 1))
    assert not set(first) & set(second)
    pids = load_split(two_roots[0], "train").frame["pid"]
    assert first.tolist() == pids.tolist()
    assert second.tolist() == (pids + 7).tolist()


def test_rows_are_those_of_their_part(joined):
    for row in (0, 17, 18, 35):
        part = joined.parts[row // 18]
        assert joined.image_path(row) == part.image_path(row % 18)
        assert joined.heatmap_dir(row) == part.heatmap_dir(row % 18)
        assert joined.segment_dir(row) == part.segment_dir(row % 18)
        np.testing.assert_array_equal(joined.keypoints[row], part.keypoints[row % 18])
    assert joined.has_keypoints
    with pytest.raises(DataError, match="one image folder a part"):
        joined.folder("image")


def test_a_joined_split_joins_another(joined, tiny_root, tmp_path):
    third = load_split(shutil.copytree(tiny_root, tmp_path / "third"), "train")
    all_three = Split.join([joined, third])
    assert all_three.parts == (*joined.parts, third)
    assert all_three.frame["pid"].nunique() == 18
    assert all_three.part_index[[0, 18, 36]].tolist() == [[0, 0], [1, 0], [2, 0]]
    assert all_three.image_path(53) == third.image_path(17)


def test_the_label_of_one_image_is_found(tiny_root, train, tmp_path):
    found = find_labelled(train.image_path(7))
    assert (found.root, found.name) == (tiny_root, "train")
    assert found.frame.to_dict("records") == [train.frame.loc[7].to_dict()]
    assert found.image_path(0) == train.image_path(7)
    np.testing.assert_array_equal(found.keypoints, train.keypoints[[7]])
    gallery = load_split(tiny_root, "test")
    assert find_labelled(gallery.image_path(3)).name == "test"
    assert find_labelled(train.image_path(7).with_name("0999_c001_1_0.jpg")) is None
    assert find_labelled(tmp_path / "0001_c001_1_0.jpg") is None
    assert find_labelled(Path("/0001_c001_1_0.jpg")) is None
    (tiny_root / "veri" / "label_train.csv").write_text("damaged")
    assert find_labelled(train.image_path(7)) is None


def test_one_root_is_just_its_split(train):
    assert Split.join([train]) is train
    assert train.parts == (train,)


@pytest.mark.parametrize("pack", [(), (0,), (0, 1)])
def test_batches_come_from_both_whether_packed_or_not(two_roots, pack):
    for number in pack:
        pack_dataset(two_roots[number], splits=["train"], progress=False)
    joined = Split.join([load_split(root, "train") for root in two_roots])
    source = open_source(joined, heatmaps=True, segments=False)
    config = DataConfig(ids_per_batch=4, images_per_id=3, flip=0, translation=0)
    with TrainLoader(source, config=config, model=MODEL, seed=0) as loader:
        assert len(loader.pid_index) == 12
        seen = set()
        for batch in loader:
            seen |= set(batch["pid_index"].tolist())
            for position, row in enumerate(batch["index"].tolist()):
                part = joined.parts[row // 18]
                for k in (0, 35):
                    file = part.heatmap_dir(row % 18) / f"{k:02d}.jpg"
                    expected = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
                    np.testing.assert_array_equal(batch["heatmaps"][position, k], expected)
    assert seen == set(range(12))


def test_weights_set_how_often_a_root_comes(joined):
    source = open_source(joined, heatmaps=True, segments=False)
    config = DataConfig(ids_per_batch=4, images_per_id=3, weights=(1.0, 0.5))
    with TrainLoader(source, config=config, model=MODEL, seed=0) as loader:
        rows = np.concatenate([b for e in range(8) for b in loader.sampler.batches(e)])
    share = (rows >= 18).mean()
    assert share == pytest.approx(1 / 3, abs=0.1)
    assert set(rows.tolist()) == set(range(36))


def test_weights_follow_the_root_of_a_taken_row(joined):
    assert row_repeats(joined.take([20, 1, 35]), (1.0, 0.5)).tolist() == [0.5, 1.0, 0.5]
    assert row_repeats(joined, None) is None


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0,), "2 roots, got 1 weights"),
        ((1.0, 0.0), "must be above 0"),
        ((1.0, float("nan")), "must be above 0"),
    ],
)
def test_weights_that_do_not_fit(joined, weights, message):
    with pytest.raises(ConfigError, match=message):
        row_repeats(joined, weights)


def test_splits_that_cannot_be_joined(two_roots):
    first = load_split(two_roots[0], "train")
    with pytest.raises(ConfigError, match="given twice"):
        Split.join([first, load_split(two_roots[0] / ".", "train")])
    with pytest.raises(ConfigError, match="must have one name"):
        Split.join([first, load_split(two_roots[1], "test")])
    with pytest.raises(ConfigError, match="at least one"):
        Split.join([])
