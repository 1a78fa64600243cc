"""CityFlow-ReID (AI City Challenge, track 2) and VehicleX, its synthetic companion.

Source: Tang et al., "CityFlow: A City-Scale Benchmark for Multi-Target Multi-Camera Vehicle
    Tracking and Re-Identification", CVPR 2019; Yao et al., "Simulating Content Consistent Vehicle
    Datasets with Attribute Descent", ECCV 2020; layouts from the readmes of both.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.data.prepare.datasets.common import Dataset, find_file, read_rows, refuse_absent
from mtn_core.data.prepare.labels import read_items, read_text
from mtn_core.data.prepare.writing import table_of
from mtn_core.errors import DataError, first_offenders
from mtn_core.metrics.protocol import EvaluationProtocol

LOCAL, CHALLENGE = "local", "challenge"
RANKS = 100  # the challenge's rankings end there
ORIENTATION_NAME = "orientation.csv"
_TEST_SHARE = 0.2
# Images and vehicles of the training set: of 2019 and 2020, and of 2021 and 2022.
_CITYFLOW = {36_935: 333, 52_717: 440}
_VEHICLEX = 192_150, 1_362


def read_cityflow(download: Path, part: str, seed: int) -> Dataset:
    """Read CityFlow-ReID, whose test set has no public truth.

    Args:
        download: The folder with ``image_train/``, ``train_label.xml`` and the lists.
        part: ``local``: a fifth of the training vehicles is held out as query and gallery, one
            query a camera. ``challenge``: the official queries and test images, without truth, for
            ``mtn track2``.
        seed: Of the local split.

    Raises:
        DataError: Labels or images are missing.
    """
    train = _read_labels(download)
    tracks = _read_tracks(download / "train_track.txt")
    train["track"] = [tracks.get(Path(s).name, "") for s in train["source"]]
    # A track's rows stand together, in the order of its list.
    place = {name: i for i, name in enumerate(tracks)}
    order = [place.get(Path(s).name, len(place)) for s in train["source"]]
    train = train.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
    notes = [] if tracks else ["train_track.txt is absent, so tracks are unknown"]
    images, vehicles = len(train), train["pid"].nunique()
    official = images if images in _CITYFLOW else max(_CITYFLOW)
    counts = [
        (images, official, "training images"),
        (vehicles, _CITYFLOW[official], "training vehicles"),
    ]
    protocol = EvaluationProtocol(name=f"CityFlow, {part} test, rank-{RANKS} mAP", ap_ranks=RANKS)
    if part == LOCAL:
        table = _hold_out(train, seed)
        notes.append(f"local split by vehicles with seed {seed}: the official test has no truth")
    else:
        table = pd.concat([train, _official_test(download, train)], ignore_index=True)
        notes.append("query and test have no truth: figures are unknown; mtn track2 ranks them")
    refuse_absent(table, download)
    return Dataset(table, download, protocol, counts, notes)


def read_vehiclex(download: Path, part: str, seed: int) -> Dataset:
    """Read VehicleX, which is for training only; orientations go to ``veri/orientation.csv``.

    Raises:
        DataError: Labels or images are missing.
    """
    folder = download / "image_train"
    prefix = "image_train/" if folder.is_dir() else ""
    rows, angles = [], []
    path = find_file(download, ["train_label.xml"])
    for number, item in enumerate(read_items(path), start=1):
        row = _row_of(item, number, path)
        rows.append({**row, "source": f"{prefix}{row['source']}", "split": "train"})
        angles.append(item.get("orientation", ""))
    table = table_of(rows)
    refuse_absent(table, download)
    text = pd.DataFrame({"source": table["source"], "degrees": angles}).to_csv(index=False)
    counts = [
        (len(table), _VEHICLEX[0], "images"),
        (table["pid"].nunique(), _VEHICLEX[1], "vehicles"),
    ]
    notes = [
        "training only: train with train.eval_every=0, or give another root to evaluate on",
        "VehicleX numbers colours and types by a list of its own, so both are unknown here",
        f"{ORIENTATION_NAME} has its orientations, in degrees as VehicleX counts them",
    ]
    protocol = EvaluationProtocol(name="VehicleX, training only")
    return Dataset(table, download, protocol, counts, notes, [(ORIENTATION_NAME, text)])


def _row_of(item, number: int, path: Path) -> dict:
    name, vehicle = item.get("imageName", ""), item.get("vehicleID", "")
    camera = item.get("cameraID", "").removeprefix("c")
    if not name or "/" in name or not vehicle.isdigit() or not camera.isdigit():
        raise DataError(
            f"{path}: item {number} ({name[:40] or 'no name'}) needs imageName, vehicleID and "
            "cameraID such as c001"
        )
    return {"source": name, "pid": int(vehicle), "camid": int(camera)}


def _read_labels(download: Path) -> pd.DataFrame:
    path = find_file(download, ["train_label.xml"])
    rows = [_row_of(item, n, path) for n, item in enumerate(read_items(path), start=1)]
    return table_of(
        [{**row, "source": f"image_train/{row['source']}", "split": "train"} for row in rows]
    )


def _read_tracks(path: Path) -> dict[str, str]:
    """Track by image name, in the order of the list; empty where the list is absent."""
    tracks: dict[str, str] = {}
    if not path.is_file():
        return tracks
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        for name in line.split():
            if name in tracks:
                raise DataError(f"{path}: {name} is in tracks {tracks[name]} and {number}")
            tracks[name] = str(number)
    return tracks


def _hold_out(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Vehicles of two cameras or more are tested with, a fifth of all at most."""
    cameras = train.groupby("pid")["camid"].nunique()
    seen_twice = np.array(sorted(cameras[cameras > 1].index))
    count = round(_TEST_SHARE * len(cameras))
    if not len(seen_twice) or count < 1:
        raise DataError("too few vehicles, or none seen by two cameras: no local test can be made")
    chosen = np.random.default_rng(seed).permutation(seen_twice)[:count]
    held = train["pid"].isin(chosen)
    gallery = train[held].assign(split="test")
    queries = gallery.drop_duplicates(["pid", "camid"]).assign(split="query")
    return pd.concat([train[~held], queries, gallery], ignore_index=True)


def _official_test(download: Path, train: pd.DataFrame) -> pd.DataFrame:
    """Rows of unknown vehicles: each has an id of its own, so none has a match."""
    rows = []
    pid = int(train["pid"].max())
    for split in ("query", "test"):
        names = [r[0] for r in read_rows(find_file(download, [f"name_{split}.txt"]), [1])]
        twice = len(names) - len(set(names))
        if twice:
            raise DataError(f"name_{split}.txt has {twice} names twice: {first_offenders(names)}")
        label = download / f"{split}_label.xml"
        cameras = {}
        if label.is_file():
            cameras = {
                i.get("imageName"): int(i.get("cameraID", "0").removeprefix("c") or 0)
                for i in read_items(label)
            }
        for name in names:
            pid += 1
            rows.append(
                {
                    "source": f"image_{split}/{name}",
                    "pid": pid,
                    "camid": cameras.get(name, 0),
                    "split": split,
                }
            )
    return table_of(rows)
