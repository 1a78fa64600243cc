"""Annotation files and splits, good and bad; batches of several sets."""

import cv2
import numpy as np
import pytest

from mtn_core.config import load_config
from mtn_core.errors import ConfigError, DataError
from mtn_core.pose.config import PoseConfig
from mtn_core.pose.loader import CropLoader, PoseTrainLoader
from mtn_core.pose.sources import (
    PoseSet,
    load_pose_annotations,
    load_pose_split,
    read_annotations,
)


def row(name, width=40, height=30, **changes):
    cells = [name, str(width), str(height)]
    for k in range(36):
        cells += [str(k), str(k // 2), str(k % 2)]
    for position, value in changes.items():
        cells[int(position[1:])] = value
    return ",".join(cells)


@pytest.fixture
def annotated(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        cv2.imwrite(str(folder / f"{i}_c001.jpg"), rng.integers(0, 255, (30, 40, 3), np.uint8))
    path = tmp_path / "annot.csv"
    path.write_text("\n".join(row(f"{i}_c001.jpg") for i in range(6)) + "\n")
    return path, folder


def test_annotations_are_read(annotated):
    path, folder = annotated
    found = load_pose_annotations(path, folder)
    assert len(found) == 6 and found.names[2] == "2_c001.jpg"
    assert found.keypoints[0, 5].tolist() == [5, 2, 1]
    assert found.keypoints[0, 4].tolist() == [4, 2, 0]
    assert found.sizes[0].tolist() == [40, 30]
    assert found.read(0).shape == (30, 40, 3)


def test_the_real_annotations_are_read(shared_data):
    found = read_annotations(shared_data / "veri_labels" / "pose_annot_test.csv")
    assert len(found.names) == 1060
    assert found.names[0] == "0010_c014_00034990_0.jpg"
    assert found.sizes[0].tolist() == [264, 259]
    assert found.keypoints[0, 4].tolist() == [44, 76, 1]
    assert set(np.unique(found.keypoints[..., 2])) == {0, 1}
    train = read_annotations(shared_data / "veri_labels" / "pose_annot_train.csv")
    assert len(train.names) == 9068
    outside = (train.keypoints[..., :2] > train.sizes[:, None]).any(axis=-1)
    assert outside.mean() < 1e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("a.jpg,1,2,3", "row 1: 4 columns, expected 111"),
        (row("a.jpg") + "\n" + row("a.jpg"), "row 2: name 'a.jpg' stands in row 1 already"),
        (row("../a.jpg"), "not a plain file name"),
        (row("a.jpg", _7="abc"), "row 1: a value is not a number"),
        (row("a.jpg", _7="nan"), "nan or infinite"),
        (row("a.jpg", _5="2"), "visible must be 0 or 1"),
        (row("a.jpg", width=0), "width and height must be 1 or more"),
    ],
)
def test_bad_annotations_are_refused(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_annotations(path)


def test_files_that_do_not_match_the_images(annotated, tmp_path):
    path, folder = annotated
    with pytest.raises(DataError, match="does not exist"):
        load_pose_annotations(tmp_path / "none.csv", folder)
    with pytest.raises(DataError, match="does not exist"):
        load_pose_annotations(path, tmp_path / "nowhere")
    (folder / "3_c001.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 6 images of .*do not exist: .*3_c001.jpg"):
        load_pose_annotations(path, folder)
    path.write_text(row("1_c001.jpg", width=64))
    wrong = load_pose_annotations(path, folder)
    with pytest.raises(DataError, match=r"40x30 pixels, its annotation .* says 64x30"):
        wrong.read(0)


def test_a_split_without_keypoints_is_refused(shared_data):
    with pytest.raises(DataError, match=r"has no keypoints .*mtn trans"):
        load_pose_split(shared_data / "real_vehicles", "train")


def test_a_split_with_keypoints(smoke_root):
    found = load_pose_split(smoke_root, "train")
    assert len(found) > 50
    assert found.read(0).ndim == 3


def make_set(label, count, folder):
    keypoints = np.random.default_rng(1).uniform(1, 29, (count, 36, 3)).astype(np.float32)
    paths = sorted(folder.iterdir())
    return PoseSet(label, tuple(paths[i % len(paths)] for i in range(count)), keypoints)


def make_config(**changes):
    overrides = {"data.batch_size": 4, "data.num_workers": 1, **changes}
    return load_config("pose_smoke", overrides, PoseConfig)


def test_an_epoch_sees_every_image_once_and_is_redrawn(annotated):
    sets = [make_set("a", 8, annotated[1]), make_set("b", 4, annotated[1])]
    loader = PoseTrainLoader(sets, make_config())
    assert len(loader) == 3
    first, second = loader.rows(0), loader.rows(1)
    assert sorted(first.ravel()) == list(range(12))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, PoseTrainLoader(sets, make_config()).rows(0))


def test_weights_mix_the_sets(annotated):
    sets = [make_set("a", 30, annotated[1]), make_set("b", 10, annotated[1])]
    loader = PoseTrainLoader(sets, make_config(**{"data.weights": [1.0, 1.0]}))
    rows = loader.rows(0).ravel()
    assert len(rows) == 40
    assert (rows < 30).sum() == 20 and (rows >= 30).sum() == 20
    assert len(np.unique(rows[rows < 30])) == 20
    assert set(rows[rows >= 30]) == set(range(30, 40))  # each twice
    with pytest.raises(ConfigError, match=r"data.weights has 3 values for 2 data sets"):
        PoseTrainLoader(sets, make_config(**{"data.weights": [1, 1, 1]}))


def test_ranks_share_no_image_in_an_epoch(annotated):
    sets = [make_set("a", 16, annotated[1])]
    rows = [PoseTrainLoader(sets, make_config(), rank, 2).rows(0) for rank in (0, 1)]
    assert rows[0].shape == rows[1].shape == (2, 4)
    assert not set(rows[0].ravel()) & set(rows[1].ravel())


def test_batches_do_not_depend_on_workers_and_resume_bit_equal(annotated):
    sets = [make_set("a", 12, annotated[1])]
    batches = list(PoseTrainLoader(sets, make_config()))
    loader = PoseTrainLoader(sets, make_config(**{"data.num_workers": 2}))
    loader.set_epoch(0, 1)
    for expected, found in zip(batches[1:], loader, strict=True):
        for name, values in expected.items():
            assert np.array_equal(values, found[name]), name
    assert batches[0]["image"].shape == (4, 64, 64, 3)
    assert batches[0]["target"].shape == (4, 36, 4)


def test_too_few_images_for_a_batch(annotated):
    with pytest.raises(DataError, match="3 images are fewer than a batch"):
        PoseTrainLoader([make_set("a", 3, annotated[1])], make_config())


def test_crops_come_in_order_in_batches_of_one_shape(annotated):
    pose_set = load_pose_annotations(*annotated)
    batches = list(CropLoader(pose_set, 64, 4))
    assert [b["index"].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, -1, -1]]
    assert batches[1]["image"].shape == (4, 64, 64, 3)
    assert batches[0]["size"][0].tolist() == [40, 30]
    assert batches[1]["image"][2:].max() == 0
