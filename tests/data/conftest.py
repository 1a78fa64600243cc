"""A tiny hand-made data set in the VeRi layout, which a test may break as it likes."""

import csv
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mtn_core.data.labels import write_labels
from mtn_core.data.pose_maps import (
    draw_heatmaps,
    draw_segments,
    map_folder_name,
    write_map_files,
)

sys.path.insert(0, str(Path(__file__).parent))  # downloads

NUM_TRAIN_IDS, NUM_TEST_IDS = 6, 3


def make_keypoints(rng, count, width, height):
    keypoints = rng.random((count, 36, 3)).astype(np.float32)
    keypoints[..., 0] *= width
    keypoints[..., 1] *= height
    return keypoints


def make_image(rng, width, height):
    """A smooth picture, so that JPEG changes it little."""
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def write_maps(folder, name, maps):
    """An image's maps as ``folder/NAME/00.jpg`` and so on."""
    target = folder / map_folder_name(name)
    target.mkdir(parents=True, exist_ok=True)
    write_map_files(target, maps)


@pytest.fixture
def csv_limit():
    """Python's own limit of a field; MindSpore raises it when it is imported."""
    before = csv.field_size_limit(2**17)
    yield
    csv.field_size_limit(before)


@pytest.fixture
def tiny_root(tiny_template, tmp_path):
    """18 training crops of 6 ids, 3 queries, 9 gallery crops; sizes differ; all maps."""
    return shutil.copytree(tiny_template, tmp_path / "data")


@pytest.fixture
def packed_root(packed_template, tmp_path):
    """The same with packs, of which training has three shards; times of change are kept."""
    return shutil.copytree(packed_template, tmp_path / "data")


@pytest.fixture(scope="session")
def packed_template(tiny_template, tmp_path_factory):
    from mtn_core.data.packs.write import pack_dataset

    root = shutil.copytree(tiny_template, tmp_path_factory.mktemp("packed") / "data")
    pack_dataset(root, rows_per_shard=7, progress=False)
    return root


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory):
    rng = np.random.default_rng(5)
    root = tmp_path_factory.mktemp("tiny") / "data"
    veri = root / "veri"
    shots = {"train": [], "query": [], "test": []}
    for pid in range(1, NUM_TRAIN_IDS + NUM_TEST_IDS + 1):
        for camera in (1, 2, 3):
            name = f"{pid:04d}_c{camera:03d}_{100 * pid + camera:08d}_0.jpg"
            split = "train" if pid <= NUM_TRAIN_IDS else "test"
            shots[split].append((name, pid))
            if split == "test" and camera == 1:
                shots["query"].append((name, pid))
    made = {}
    for split, rows in shots.items():
        (veri / f"image_{split}").mkdir(parents=True)
        frame = pd.DataFrame(rows, columns=["name", "pid"])
        frame["color_id"] = frame["pid"] % 10 + 1
        frame["type_id"] = frame["pid"] % 9 + 1
        sizes = [(90 + 11 * (i % 5), 70 + 7 * (i % 7)) for i in range(len(rows))]
        keypoints = np.stack([make_keypoints(rng, 1, w, h)[0] for w, h in sizes])
        heatmaps, segments = draw_heatmaps(keypoints, sizes), draw_segments(keypoints, sizes)
        for i, (name, _) in enumerate(rows):
            image = made.setdefault(name, make_image(rng, *sizes[i]))
            cv2.imwrite(str(veri / f"image_{split}" / name), image)
            write_maps(veri / f"heatmap_{split}", name, heatmaps[i])
            write_maps(veri / f"segment_{split}", name, segments[i])
        write_labels(veri / f"label_{split}.csv", frame, keypoints)
    return root
