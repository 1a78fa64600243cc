import os

import numpy as np
import pytest
from PIL import Image

from mtn_core.viz.crops import CropSource, as_pixels, draw_placeholder


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "veri" / "image_test"
    folder.mkdir(parents=True)
    Image.new("RGB", (200, 100), (200, 10, 10)).save(folder / "good.jpg")
    (folder / "cut.jpg").write_bytes((folder / "good.jpg").read_bytes()[:300])
    (folder / "text.jpg").write_text("no picture")
    os.mkfifo(folder / "pipe.jpg")
    Image.new("1", (9000, 9000)).save(folder / "bomb.png")
    return tmp_path


def test_crop_is_read_and_shrunk(root):
    crops = CropSource(root)
    assert crops.read("gallery", "good.jpg").size == (200, 100)
    small = crops.read("gallery", "good.jpg", max_side=50)
    assert small.size == (50, 25)
    assert as_pixels(small)[12, 25, 0] > 150
    assert not crops.missing


@pytest.mark.parametrize("name", ["absent.jpg", "cut.jpg", "text.jpg", "pipe.jpg", "bomb.png"])
def test_unreadable_crop_becomes_a_placeholder_and_is_remembered(root, name):
    crops = CropSource(root)
    for _ in range(2):
        crop = crops.read("gallery", name)
        np.testing.assert_array_equal(as_pixels(crop), as_pixels(draw_placeholder()))
    assert list(crops.missing) == [("gallery", name)]


@pytest.mark.parametrize("name", ["../image_test/good.jpg", "a/good.jpg", "..", ""])
def test_name_that_leaves_its_folder_is_not_followed(root, name):
    crops = CropSource(root)
    assert crops.path("gallery", name) is None
    crops.read("gallery", name)
    assert ("gallery", name) in crops.missing


def test_second_root_is_tried(root, tmp_path_factory):
    crops = CropSource([tmp_path_factory.mktemp("empty"), root])
    crops.read("gallery", "good.jpg")
    assert not crops.missing


def test_unknown_root_is_no_crash():
    crops = CropSource(None)
    assert crops.read("query", "a.jpg").size == draw_placeholder().size
    assert "no data root" in crops.missing["query", "a.jpg"]
