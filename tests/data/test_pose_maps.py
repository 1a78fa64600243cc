"""Heatmaps and segments against plain loops; map folders appear whole or not at all."""

import csv

import cv2
import numpy as np
import pytest
from PIL import Image

from mtn_core.data import pose_maps
from mtn_core.data.labels import load_labels, write_labels
from mtn_core.data.pose_maps import (
    convex_quadrilaterals,
    draw_heatmaps,
    draw_pose,
    draw_segments,
    encode_maps,
    map_folder_name,
    write_map_files,
)
from mtn_core.errors import DataError, RunFolderError
from mtn_core.vehicle import SEGMENT_KEYPOINTS


@pytest.fixture
def keypoints():
    rng = np.random.default_rng(3)
    points = rng.uniform(-20, 220, (5, 36, 3))
    points[..., 2] = rng.uniform(-0.2, 1.2, (5, 36))
    return points


SIZES = np.array([[200, 150], [64, 64], [90, 200], [331, 127], [200, 200]])


def plain_heatmap(x, y, confidence, width, height):
    plane = np.zeros((64, 64))
    for i in range(64):
        for j in range(64):
            dx, dy = j + 0.5 - x * 64 / width, i + 0.5 - y * 64 / height
            plane[i, j] = np.exp(-(dx * dx + dy * dy) / (2 * 2.0**2))
    return np.rint(255 * min(max(confidence, 0), 1) * plane)


def in_polygon(x, y, corners):
    """Even-odd rule, a ray to the right."""
    inside = False
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            inside = not inside
    return inside


def diagonals_cross(quad):
    """Convex, for a quadrilateral: each diagonal has one of the other corners on either side."""

    def side(a, b, p):
        return np.sign((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]))

    a, b, c, d = quad
    return side(a, c, b) * side(a, c, d) < 0 and side(b, d, a) * side(b, d, c) < 0


def test_heatmaps_agree_with_a_plain_loop(keypoints):
    drawn = draw_heatmaps(keypoints, SIZES)
    assert drawn.shape == (5, 36, 64, 64)
    assert drawn.dtype == np.uint8
    for image, k in ((0, 0), (1, 35), (2, 7), (3, 20), (4, 11)):
        expected = plain_heatmap(*keypoints[image, k], *SIZES[image])
        assert np.abs(drawn[image, k] - expected).max() <= 1


def test_heatmap_height_is_the_confidence_and_its_place_the_keypoint():
    keypoints = np.zeros((1, 36, 3))
    keypoints[0, 4] = (0.5 * 128 / 64 + 2 * 40, 0.5 * 256 / 64 + 4 * 10, 0.6)  # pixel (10, 40)
    keypoints[0, 5] = (64, 128, 7.0)
    drawn = draw_heatmaps(keypoints, np.array([[128, 256]]))
    assert np.unravel_index(drawn[0, 4].argmax(), (64, 64)) == (10, 40)
    assert drawn[0, 4].max() == round(255 * 0.6)
    assert drawn[0, 5].max() >= 240  # clipped to 1, between four pixel centres
    assert not drawn[0, :4].any()


def test_heatmap_of_a_keypoint_that_is_not_a_number_is_black(keypoints):
    keypoints[..., 2] = 1.0
    keypoints[..., :2] = 60.0
    keypoints[0, 3, 0] = np.nan
    keypoints[0, 4, 2] = np.inf
    drawn = draw_heatmaps(keypoints, SIZES)
    assert drawn[0].any(axis=(1, 2)).tolist() == [k not in (3, 4) for k in range(36)]


def test_segments_agree_with_a_point_in_polygon_loop():
    rng = np.random.default_rng(11)
    keypoints = rng.uniform(-10, 110, (6, 36, 3))
    sizes = np.tile([100, 80], (6, 1))
    drawn = draw_segments(keypoints, sizes)
    assert drawn.shape == (6, 13, 64, 64)
    num_convex = 0
    for image in range(6):
        points = keypoints[image, :, :2] * 64 / sizes[image]
        for segment, corners in enumerate(SEGMENT_KEYPOINTS):
            quad = points[corners]
            convex = diagonals_cross(quad)
            num_convex += convex
            expected = [
                [255 * (convex and in_polygon(j + 0.5, i + 0.5, quad)) for j in range(64)]
                for i in range(64)
            ]
            np.testing.assert_array_equal(drawn[image, segment], expected)
    assert 5 < num_convex < 70  # both kinds were met


@pytest.mark.parametrize(
    ("quad", "convex"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], True),
        ([(0, 0), (0, 4), (4, 4), (4, 0)], True),  # the other way round
        ([(0, 0), (4, 4), (4, 0), (0, 4)], False),  # crosses itself
        ([(0, 0), (4, 0), (1, 1), (0, 4)], False),  # dented
        ([(0, 0), (2, 0), (4, 0), (0, 4)], False),  # a corner on an edge
        ([(1, 1)] * 4, False),
    ],
)
def test_convexity(quad, convex):
    assert convex_quadrilaterals(np.array(quad, float)) == convex


def test_segments_do_not_depend_on_confidence_and_skip_what_is_not_a_number(keypoints):
    keypoints[:, :, 2] = 0.0
    square = np.array([(20, 20), (20, 40), (50, 40), (50, 20)])
    keypoints[0, SEGMENT_KEYPOINTS[9], :2] = square
    keypoints[1, SEGMENT_KEYPOINTS[9], :2] = square
    keypoints[1, SEGMENT_KEYPOINTS[9][2], 1] = np.nan
    drawn = draw_segments(keypoints, SIZES)
    assert drawn[0, 9].any()
    assert not drawn[1, 9].any()


@pytest.mark.parametrize("draw", [draw_heatmaps, draw_segments])
def test_wrong_shapes_are_named(draw, keypoints):
    with pytest.raises(ValueError, match=r"\(N, 36, 3\).*\(5, 35, 3\)"):
        draw(keypoints[:, :35], SIZES)
    with pytest.raises(ValueError, match=r"\(5, 2\).*\(4, 2\)"):
        draw(keypoints, SIZES[:4])
    with pytest.raises(ValueError, match="rows 2 are not"):
        draw(keypoints, np.where(np.arange(5)[:, None] == 2, 0, SIZES))


def test_the_smallest_crop_and_other_sizes_of_maps(keypoints):
    keypoints = np.zeros((1, 36, 3))
    keypoints[0, 2] = 0.5, 0.5, 1
    drawn = draw_heatmaps(keypoints, np.ones((1, 2)), map_size=3, sigma=1.0)
    edge, corner = round(255 * np.exp(-0.5)), round(255 * np.exp(-1))
    assert drawn[0, 2].tolist() == [
        [corner, edge, corner],
        [edge, 255, edge],
        [corner, edge, corner],
    ]
    with pytest.raises(ValueError, match="rows 0 are not"):
        draw_heatmaps(keypoints, np.array([[5, -1]]))
    with pytest.raises(ValueError, match=r"got \(36, 3\)"):
        draw_heatmaps(keypoints[0], np.ones((1, 2)))


def test_no_images_give_no_maps():
    assert draw_heatmaps(np.zeros((0, 36, 3)), np.zeros((0, 2))).shape == (0, 36, 64, 64)
    assert draw_segments(np.zeros((0, 36, 3)), np.zeros((0, 2))).shape == (0, 13, 64, 64)


def test_maps_are_written_under_the_stem_and_read_back(tmp_path, keypoints):
    maps = draw_heatmaps(keypoints[:1], SIZES[:1])[0]
    folder = tmp_path / "0002_c002_00030600_0"
    folder.mkdir()
    write_map_files(folder, maps)
    assert map_folder_name("0002_c002_00030600_0.jpg") == folder.name
    assert sorted(p.name for p in folder.iterdir()) == [f"{k:02d}.jpg" for k in range(36)]
    for k in range(36):
        plane = cv2.imread(str(folder / f"{k:02d}.jpg"), cv2.IMREAD_UNCHANGED)
        assert plane.shape == (64, 64)
        assert np.abs(plane.astype(int) - maps[k]).max() <= 12


def test_black_maps_share_their_bytes():
    maps = np.zeros((3, 64, 64), np.uint8)
    maps[1, 5, 5] = 200
    encoded = encode_maps(maps)
    assert encoded[0] is encoded[2]
    assert encoded[1] != encoded[0]
    assert not cv2.imdecode(np.frombuffer(encoded[0], np.uint8), cv2.IMREAD_UNCHANGED).any()


def test_draw_pose_draws_what_the_labels_say(tiny_root):
    veri = tiny_root / "veri"
    for folder in (*veri.glob("heatmap_*"), *veri.glob("segment_*")):
        for maps in folder.iterdir():
            for file in maps.iterdir():
                file.unlink()
            maps.rmdir()
    counts = draw_pose(tiny_root, progress=False)
    assert counts == {"train": 18, "query": 3, "test": 9}
    frame, keypoints = load_labels(veri / "label_query.csv")
    for row, name in enumerate(frame["name"]):
        height, width = cv2.imread(str(veri / "image_query" / name)).shape[:2]
        size = np.array([[width, height]])
        for kind, draw in (("heatmap", draw_heatmaps), ("segment", draw_segments)):
            maps = draw(keypoints[row : row + 1], size)[0]
            folder = veri / f"{kind}_query" / map_folder_name(name)
            for k, encoded in enumerate(encode_maps(maps)):
                assert (folder / f"{k:02d}.jpg").read_bytes() == encoded


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_draw_pose_draws_for_the_upright_picture(tiny_root, orientation):
    """An image that EXIF turns gets the maps of the same image stored upright, byte for byte."""
    veri = tiny_root / "veri"
    draw_pose(tiny_root, splits=["query"], overwrite=True, progress=False)
    maps = {p: p.read_bytes() for p in veri.glob("*_query/*/*.jpg")}
    turns = {1: None, 3: "ROTATE_180", 6: "ROTATE_90", 8: "ROTATE_270"}
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in (veri / "image_query").iterdir():
        with Image.open(path) as image:
            turn = turns[orientation]
            stored = image.transpose(Image.Transpose[turn]) if turn else image.copy()
        stored.save(path, exif=exif)
    draw_pose(tiny_root, splits=["query"], overwrite=True, progress=False)
    assert {p: p.read_bytes() for p in veri.glob("*_query/*/*.jpg")} == maps


def test_draw_pose_refuses_to_replace_maps_unasked(tiny_root):
    kept = {p: p.read_bytes() for p in (tiny_root / "veri").rglob("*.jpg")}
    with pytest.raises(RunFolderError, match="--overwrite"):
        draw_pose(tiny_root, progress=False)
    assert all(path.read_bytes() == data for path, data in kept.items())
    assert draw_pose(tiny_root, splits=["query"], overwrite=True, progress=False) == {"query": 3}


def test_draw_pose_refuses_images_that_would_share_a_folder(tiny_root):
    path = tiny_root / "veri" / "label_query.csv"
    frame, keypoints = load_labels(path)
    name = frame.loc[0, "name"]
    twin = name.replace(".jpg", ".png")
    frame.loc[2, "name"] = twin
    write_labels(path, frame, keypoints)
    with pytest.raises(DataError, match=rf"share a folder.*only: {name}, {twin}; rename"):
        draw_pose(tiny_root, splits=["query"], overwrite=True, progress=False)


def test_draw_pose_refuses_labels_without_keypoints(tiny_root):
    path = tiny_root / "veri" / "label_test.csv"
    frame, keypoints = load_labels(path)
    write_labels(path, frame, np.zeros_like(keypoints))
    with pytest.raises(DataError, match=r"label_test.csv has no keypoints"):
        draw_pose(tiny_root, overwrite=True, progress=False)


def test_draw_pose_names_an_image_it_cannot_read(tiny_root):
    broken = sorted((tiny_root / "veri" / "image_query").iterdir())[1]
    broken.write_bytes(b"not an image")
    with pytest.raises(DataError, match=broken.name):
        draw_pose(tiny_root, overwrite=True, progress=False)


def test_draw_pose_that_fails_half_way_keeps_the_old_maps(tiny_root, monkeypatch):
    veri = tiny_root / "veri"
    kept = {p: p.read_bytes() for p in veri.rglob("*.jpg")}
    calls = []

    def fail_later(maps):
        calls.append(1)
        if len(calls) > 20:
            raise OSError("disk full")
        return encode_maps(maps)

    monkeypatch.setattr(pose_maps, "encode_maps", fail_later)
    with pytest.raises(OSError, match="disk full"):
        draw_pose(tiny_root, splits=["train"], overwrite=True, progress=False)
    assert {p: p.read_bytes() for p in veri.rglob("*.jpg")} == kept
    assert not [p for p in veri.iterdir() if p.name.startswith(".")]


def test_real_query_rows_are_all_drawn(shared_data, tmp_path):
    with open(shared_data / "veri_labels" / "label_query.csv") as file:
        rows = list(csv.reader(file))
    keypoints = np.array([[float(v) for v in row[4:]] for row in rows]).reshape(-1, 36, 3)
    sizes = keypoints[..., :2].max(axis=1) + 5
    assert len(rows) == 1678
    for first in range(0, len(rows), 64):
        part = slice(first, first + 64)
        for kind, draw in (("heatmap", draw_heatmaps), ("segment", draw_segments)):
            for row, maps in zip(rows[part], draw(keypoints[part], sizes[part]), strict=True):
                folder = tmp_path / kind / map_folder_name(row[0])
                folder.mkdir(parents=True)
                write_map_files(folder, maps)
    assert len(list((tmp_path / "segment").iterdir())) == 1678
