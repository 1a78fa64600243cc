import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mtn_core.data.duplicates import _count_bits, find_near_duplicates
from mtn_core.data.inspection import (
    coverage,
    describe_images,
    label_errors,
    load_splits,
    read_sizes,
    summarise,
)
from mtn_core.data.split import load_split


@pytest.fixture
def splits(tiny_root):
    return load_splits(tiny_root)


def test_summary(splits):
    table = summarise(splits)
    assert table.loc["train", "images"] == 18
    assert table.loc["train", "images an id"] == "3-3"
    assert table.loc["query", "cameras an id"] == "1-1"
    assert table["without keypoints"].tolist() == [0, 0, 0]


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


def test_sizes_are_those_of_the_upright_image(tiny_root, splits):
    path = splits["train"].image_path(0)
    with Image.open(path) as image:
        width, height = image.size
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    assert read_sizes(load_split(tiny_root, "train"))[0].tolist() == [height, width]


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
    assert pair["correlation"] > 0.97


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
