"""SynthVeRi on disk: layout, splits, determinism, refusals, and how hard it is."""

import filecmp
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mtn_core import synthveri as synthetic
from mtn_core.data.check import check_dataset
from mtn_core.data.pose_maps import draw_heatmaps, draw_segments, encode_maps, map_folder_name
from mtn_core.data.split import load_split
from mtn_core.errors import ConfigError, DataError, RunFolderError
from mtn_core.synthveri import contact_sheet, describe_version, plan, write, write_synthveri
from mtn_core.synthveri.fleet import create_fleet
from mtn_core.synthveri.plan import (
    MAX_CAMERAS,
    MIN_CAMERAS,
    SIZES,
    Size,
    choose_test_ids,
    create_shots,
)

TINY = Size(train_ids=3, test_ids=2, cameras=2.5, frames=(1, 2))


@pytest.fixture
def tiny_size(monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", TINY)


def files_of(root):
    return {p.relative_to(root): p.read_bytes() for p in Path(root).rglob("*") if p.is_file()}


def test_smoke_is_a_complete_data_set(smoke_root):
    report = check_dataset(smoke_root, heatmaps=True, segments=True)
    assert report.ok, report.to_text()


def test_smoke_has_the_ids_and_images_it_promises(smoke_root):
    splits = {name: load_split(smoke_root, name) for name in ("train", "query", "test")}
    ids = {name: set(split.frame["pid"]) for name, split in splits.items()}
    assert (len(ids["train"]), len(ids["test"])) == (24, 12)
    assert 250 <= len(splits["train"]) + len(splits["test"]) <= 450
    assert not ids["train"] & ids["test"]
    assert ids["query"] == ids["test"]
    both = np.concatenate([splits[s].frame[["color_id", "type_id"]] for s in ("train", "test")])
    assert set(both[:, 0]) == set(range(1, 11))
    assert set(both[:, 1]) == set(range(1, 10))


def test_one_query_for_each_id_and_camera_and_it_is_in_the_gallery(smoke_root):
    query, gallery = load_split(smoke_root, "query"), load_split(smoke_root, "test")
    pairs = Counter(zip(query.frame["pid"], query.frame["camid"], strict=True))
    assert set(pairs.values()) == {1}
    assert set(pairs) == set(zip(gallery.frame["pid"], gallery.frame["camid"], strict=True))
    names = gallery.frame["name"].tolist()
    for row, name in enumerate(query.frame["name"]):
        twin = names.index(name)
        assert filecmp.cmp(query.image_path(row), gallery.image_path(twin), shallow=False)
        np.testing.assert_array_equal(query.keypoints[row], gallery.keypoints[twin])


@pytest.mark.parametrize("size", ["smoke", "demo", "bench"])
def test_plan_sends_every_id_past_several_cameras(size):
    shots = create_shots(SIZES[size], seed=0)
    cameras = {}
    for shot in shots:
        cameras.setdefault(shot.pid, set()).add(shot.camid)
    counts = [len(c) for c in cameras.values()]
    assert (min(counts), max(counts)) >= (MIN_CAMERAS, MIN_CAMERAS + 1)
    assert max(counts) <= MAX_CAMERAS
    assert len(cameras) == SIZES[size].train_ids + SIZES[size].test_ids
    assert set.union(*cameras.values()) == set(range(1, 21))
    assert len({shot.name for shot in shots}) == len(shots)
    expected = {"smoke": (250, 450), "demo": (1300, 1800), "bench": (10_000, 20_000)}[size]
    assert expected[0] <= len(shots) <= expected[1]


def test_names_are_those_of_veri(smoke_root):
    for name in load_split(smoke_root, "train").frame["name"]:
        pid, camera, frame, last = name.split("_")
        assert (len(pid), len(camera), len(frame), last) == (4, 4, 8, "0.jpg")


def test_maps_on_disk_are_those_of_the_labels(smoke_root):
    split = load_split(smoke_root, "query")
    for row in (0, 7, 30):
        height, width = cv2.imread(str(split.image_path(row))).shape[:2]
        size = np.array([[width, height]])
        stem = map_folder_name(split.frame["name"][row])
        for kind, draw in (("heatmap", draw_heatmaps), ("segment", draw_segments)):
            maps = encode_maps(draw(split.keypoints[row : row + 1], size)[0])
            folder = split.folder(kind) / stem
            assert [p.read_bytes() for p in sorted(folder.iterdir())] == maps


def test_crops_are_as_wide_as_veris_and_keypoints_outside_have_no_confidence(smoke_root):
    split = load_split(smoke_root, "train")
    outside = 0
    for row in range(len(split)):
        height, width = cv2.imread(str(split.image_path(row))).shape[:2]
        assert 90 <= width <= 550
        x, y, confidence = split.keypoints[row].T
        out = (x < 0) | (y < 0) | (x > width) | (y > height)
        assert not confidence[out].any()
        assert (confidence[~out] > 0).all()
        assert confidence.max() <= 1
        outside += out.sum()
    assert outside > 50  # some crops cut into their vehicle


def test_same_seed_same_bytes_whatever_the_workers(tiny_size, tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        write_synthveri(tmp_path / name, size="tiny", seed=5, workers=workers, progress=False)
    write_synthveri(tmp_path / "other", size="tiny", seed=6, workers=1, progress=False)
    one = files_of(tmp_path / "one")
    assert one == files_of(tmp_path / "two")
    assert one != files_of(tmp_path / "other")


def test_counts_are_returned(tiny_size, tmp_path):
    counts = write_synthveri(tmp_path, size="tiny", workers=1, progress=False)
    for split in ("train", "query", "test"):
        assert counts[split] == len(load_split(tmp_path, split))
        assert counts[split] == len(list((tmp_path / "veri" / f"image_{split}").iterdir()))
    assert (counts["train_ids"], counts["test_ids"]) == (3, 2)


def test_existing_data_is_refused_and_replaced_only_when_asked(tiny_size, tmp_path):
    (tmp_path / "veri").mkdir()
    mine = tmp_path / "veri" / "label_train.csv"
    mine.write_text("mine")
    with pytest.raises(RunFolderError, match=r"already holds files.*--overwrite"):
        write_synthveri(tmp_path, size="tiny", workers=1, progress=False)
    assert mine.read_text() == "mine"
    write_synthveri(tmp_path, size="tiny", workers=1, progress=False, overwrite=True)
    assert check_dataset(tmp_path, heatmaps=True, segments=True).ok


def test_a_write_that_fails_half_way_leaves_nothing(tiny_size, tmp_path, monkeypatch):
    calls = []
    take_photo = write.take_photo

    def fail_later(*args):
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return take_photo(*args)

    monkeypatch.setattr(write, "take_photo", fail_later)
    with pytest.raises(KeyboardInterrupt):
        write_synthveri(tmp_path, size="tiny", workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_unknown_size_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"'huge'.*smoke, demo, bench"):
        write_synthveri(tmp_path, size="huge")


def test_threads_of_opencv_are_given_back(tiny_size, tmp_path):
    before = cv2.getNumThreads()
    write_synthveri(tmp_path, size="tiny", workers=1, progress=False)
    assert cv2.getNumThreads() == before


def test_contact_sheet_shows_different_vehicles(smoke_root):
    sheet = contact_sheet(smoke_root, n=20, columns=5, cell=(100, 80))
    assert sheet.size == (5 * 104, 4 * 84)
    pixels = np.asarray(sheet).reshape(4, 84, 5, 104, 3).swapaxes(1, 2).reshape(20, -1)
    assert (pixels.std(axis=1) > 5).all()  # no empty cell
    assert len(np.unique(pixels, axis=0)) == 20


def test_contact_sheet_of_nothing_is_an_error(tmp_path):
    with pytest.raises(DataError, match="mtn synth"):
        contact_sheet(tmp_path)


def histogram_map(query, gallery):
    """mAP of plain 8x8x8 colour histograms, Hellinger distance, VeRi's protocol."""

    def features(split):
        rows = []
        for row in range(len(split)):
            image = cv2.imread(str(split.image_path(row)))
            counts = cv2.calcHist([image], [0, 1, 2], None, [8] * 3, [0, 256] * 3).ravel()
            rows.append(np.sqrt(counts / counts.sum()))
        return np.array(rows), split.frame["pid"].to_numpy(), split.frame["camid"].to_numpy()

    (qf, qp, qc), (gf, gp, gc) = features(query), features(gallery)
    distance = 2 - 2 * qf @ gf.T
    found = []
    for row in range(len(qf)):
        kept = ~((gp == qp[row]) & (gc == qc[row]))
        hits = gp[kept][np.argsort(distance[row][kept], kind="stable")] == qp[row]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        found.append(precision[hits].mean())
    return np.mean(found)


def test_colour_alone_finds_little_but_not_nothing(smoke_root):
    query, gallery = load_split(smoke_root, "query"), load_split(smoke_root, "test")
    chance = np.mean([(gallery.frame["pid"] == pid).mean() for pid in query.frame["pid"]])
    assert chance < histogram_map(query, gallery) < 0.45


def test_public_names():
    assert synthetic.SIZES is plan.SIZES
    assert set(SIZES) >= {"smoke", "demo", "bench"}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_colours_and_types_are_crossed_on_both_sides(seed):
    size = SIZES["demo"]
    fleet = create_fleet(size.train_ids + size.test_ids, seed)
    kinds = np.array([(one.color_id, one.type_id) for one in fleet])
    chosen = choose_test_ids(size, seed, kinds)
    in_test = np.array([one.pid in chosen for one in fleet])
    assert in_test.sum() == size.test_ids
    for side, fewest in ((in_test, 2), (~in_test, 3)):
        table = pd.crosstab(kinds[side, 0], kinds[side, 1])
        assert table.shape == (10, 9)
        assert (table > 0).sum(axis=1).min() >= fewest, "types of a colour"
        assert (table > 0).sum(axis=0).min() >= fewest, "colours of a type"


def test_data_of_another_version_are_told(tiny_size, tmp_path):
    write_synthveri(tmp_path, size="tiny", workers=1, progress=False)
    assert describe_version(tmp_path) is None
    file = tmp_path / "veri" / "synthveri.json"
    file.write_text('{"version": 9}')
    assert "was drawn by SynthVeRi version 9, this is version 2" in describe_version(tmp_path)
    file.unlink()
    assert "version 1" in describe_version(tmp_path)
