import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mtn_core.data import duplicates
from mtn_core.data.duplicates import _close_pairs, _count_bits, _rows, find_near_duplicates
from mtn_core.data.inspection import (
    coverage,
    describe_images,
    label_errors,
    load_splits,
    read_sizes,
    summarise,
)
from mtn_core.data.split import Split, load_split


@pytest.fixture
def splits(tiny_root):
    return load_splits(tiny_root)


def test_summary(splits):
    table = summarise(splits)
    assert table.loc["train", "images"] == 18
    assert table.loc["train", "images per vehicle"] == "3"
    assert table.loc["query", "cameras per vehicle"] == "1"
    assert table["without keypoints"].tolist() == [0, 0, 0]


def test_what_is_unknown_is_counted_apart(splits):
    whole = splits["train"]
    frame = pd.DataFrame(
        {
            "name": whole.frame["name"][:5],
            "pid": [1, 1, 1, 2, 2],
            "camid": [1, 2, 0, 2, 2],
            "color_id": [-1, 1, 3, -1, -1],
            "type_id": [1, -1, 9, 2, -1],
        }
    )
    keypoints = np.zeros((5, 36, 3), np.float32)
    keypoints[3, 7, 2] = 0.01
    row = summarise({"train": Split(whole.root, "train", frame, keypoints)}).loc["train"]
    assert row.to_dict() == {
        "images": 5,
        "vehicles": 2,
        "cameras": 2,
        "images per vehicle": "2 to 3",
        "cameras per vehicle": "1 to 3",
        "camera unknown": 1,
        "colour unknown": 3,
        "type unknown": 2,
        "without keypoints": 4,
    }


def test_images_are_described(splits):
    table = describe_images(splits)
    assert len(table) == 30
    split = splits["test"]
    row = table[(table["split"] == "test") & (table["row"] == 4)].iloc[0]
    assert row["name"] == split.frame["name"][4]
    height, width = cv2.imread(str(split.image_path(4))).shape[:2]
    assert (row["width"], row["height"]) == (width, height)
    confidence = split.keypoints[4, :, 2]
    assert row["confidence"] == pytest.approx(confidence.mean(), abs=1e-6)
    assert row["visible"] == (confidence >= 0.5).sum()


def test_a_keypoint_is_visible_from_half_confidence_on(splits):
    whole = splits["train"].take([0])
    keypoints = np.zeros((1, 36, 3), np.float32)
    keypoints[0, :4, 2] = 0.5, 0.499, 1.5, -1
    table = describe_images({"train": Split(whole.root, "train", whole.frame, keypoints)})
    assert table["visible"].tolist() == [2]
    assert table["confidence"][0] == pytest.approx((0.5 + 0.499 + 1) / 36, abs=1e-6)


@pytest.mark.parametrize(("orientation", "lies"), [(1, False), (4, False), (5, True), (8, True)])
def test_sizes_are_those_of_the_upright_image(tiny_root, splits, orientation, lies):
    path = splits["train"].image_path(0)
    with Image.open(path) as image:
        width, height = image.size
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(path, exif=exif)
    expected = [height, width] if lies else [width, height]
    assert read_sizes(load_split(tiny_root, "train"))[0].tolist() == expected


def test_coverage_counts_images(splits):
    table = coverage(splits["train"].frame)
    assert table.shape == (6, 3)
    assert (table.to_numpy() == 1).all()


def test_contradicting_labels_are_found(splits):
    images = describe_images(splits)
    assert label_errors(images).empty
    images.loc[2, "color"] = "black"
    images.loc[5, "type"] = "unknown"
    errors = label_errors(images)
    assert len(errors) == 1
    assert errors.loc[0, ["split", "pid", "what"]].tolist() == ["train", 1, "color"]
    assert "black 1" in errors.loc[0, "values"]
    assert errors.loc[0, "images"] == 3


def test_the_first_contradictions_are_shown():
    count = 21
    images = pd.DataFrame(
        {
            "split": "train",
            "pid": np.repeat(np.arange(count), 2),
            "color": ["red", "blue"] * count,
            "type": "sedan",
        }
    )
    assert label_errors(images)["pid"].tolist() == list(range(20))
    assert label_errors(images, limit=2)["pid"].tolist() == [0, 1]


def test_a_test_image_that_training_has_seen_is_found(tiny_root):
    """Also when it was compressed anew and is a little brighter."""
    splits = load_splits(tiny_root)
    assert find_near_duplicates(splits).empty
    seen = cv2.imread(str(splits["train"].image_path(7)))
    target = splits["test"].image_path(2)
    cv2.imwrite(str(target), np.clip(seen * 1.08, 0, 255), [cv2.IMWRITE_JPEG_QUALITY, 60])
    pairs = find_near_duplicates(load_splits(tiny_root))
    assert len(pairs) == 1
    pair = pairs.iloc[0]
    assert (pair["split_a"], pair["name_a"]) == ("train", splits["train"].frame["name"][7])
    assert (pair["split_b"], pair["name_b"]) == ("test", target.name)
    assert 0.97 < pair["correlation"] <= 1
    assert pair["pid_a"] == splits["train"].frame["pid"][7]
    assert pair["pid_b"] == splits["test"].frame["pid"][2]
    assert 0 <= pair["distance"] <= 4
    assert find_near_duplicates(splits, max_distance=-1).empty


def test_every_pair_of_splits_is_compared_and_the_most_alike_come_first(tiny_root):
    splits = load_splits(tiny_root)
    copied, changed = splits["train"].image_path(7), splits["train"].image_path(12)
    target, other = splits["query"].image_path(1), splits["test"].image_path(2)
    shutil.copy(copied, target)
    grey = cv2.imread(str(changed))
    cv2.imwrite(str(other), np.clip(grey * 1.08, 0, 255), [cv2.IMWRITE_JPEG_QUALITY, 60])
    table = find_near_duplicates(splits)
    assert table["name_a"].tolist() == [copied.name, changed.name]
    assert table["name_b"].tolist() == [target.name, other.name]
    assert table["split_b"].tolist() == ["query", "test"]
    assert table["correlation"][0] == 1
    assert table["distance"][0] == 0


def test_close_pairs_are_found_in_every_chunk(monkeypatch):
    monkeypatch.setattr(duplicates, "_CHUNK", 2)
    a, b = np.array([0, 3, 7, 1 << 63], np.uint64), np.array([0, 1], np.uint64)
    assert _close_pairs(a, b, 1) == [(0, 0, 0), (0, 1, 1), (1, 1, 1), (3, 0, 1)]


def test_a_limit_takes_rows_from_all_of_a_split(splits):
    split = splits["test"]
    assert _rows(split, None).tolist() == _rows(split, 9).tolist() == list(range(9))
    assert _rows(split, 3).tolist() == [0, 4, 8]
    assert _rows(split, 8).tolist() == [0, 1, 2, 3, 4, 5, 6, 8]


def test_queries_in_the_gallery_are_by_design_unless_the_id_differs(tiny_root):
    splits = load_splits(tiny_root)
    query = splits["query"].image_path(0)
    other = next(
        splits["test"].image_path(row)
        for row, pid in enumerate(splits["test"].frame["pid"])
        if pid != splits["query"].frame["pid"][0]
    )
    shutil.copy(query, other)
    pairs = find_near_duplicates(load_splits(tiny_root))
    assert pairs["name_b"].tolist() == [other.name]


def test_a_limit_bounds_the_work(tiny_root):
    assert isinstance(find_near_duplicates(load_splits(tiny_root), limit=3), pd.DataFrame)


def test_bits_are_counted():
    values = np.random.default_rng(0).integers(0, 2**63, 500, dtype=np.uint64) * np.uint64(2)
    values[:2] = 0, 2**64 - 1
    assert _count_bits(values).tolist() == [bin(int(v)).count("1") for v in values]
