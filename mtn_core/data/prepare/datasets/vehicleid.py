"""PKU VehicleID: one gallery image a vehicle, drawn ten times.

Source: Liu et al., "Deep Relative Distance Learning: Tell the Difference Between Similar Vehicles",
    CVPR 2016; layout from the data set's own README.
"""

from pathlib import Path

import numpy as np

from mtn_core.data.prepare.datasets.common import (
    Dataset,
    color_id_of,
    read_rows,
    refuse_absent,
    refuse_shared_ids,
    whole_number,
)
from mtn_core.data.prepare.writing import table_of
from mtn_core.errors import DataError, first_offenders
from mtn_core.metrics.draws import draw_galleries
from mtn_core.metrics.protocol import EvaluationProtocol
from mtn_core.vehicle import UNKNOWN

PARTS = ("800", "1600", "2400", "3200", "6000", "13164")
DRAWS = 10
_TRAIN_IDS = 13_164
# Published for these parts only; the training list exists in copies of 110,178 and 113,346 images.
_PART_IMAGES = {"800": 6_493, "1600": 13_377, "2400": 19_777}
# Order of the public loaders; only red = 3 stands in the data set's README.
_COLORS = ("black", "blue", "gray", "red", "silver", "white", "yellow")


def read_vehicleid(download: Path, part: str, seed: int) -> Dataset:
    """Read VehicleID_V1.0 with one of its test lists.

    The images of the test list are one pool: one image of each vehicle, of the first draw, becomes
    the gallery on disk, all others queries.

    Args:
        download: The folder with ``image/``, ``attribute/`` and ``train_test_split/``.
        part: Number of test vehicles, one of :data:`PARTS`.
        seed: Of the draws.

    Raises:
        DataError: Lists or images are missing, or a list has other rows.
    """
    lists = download / "train_test_split"
    train = _read_list(lists / "train_list.txt")
    test = _read_list(lists / f"test_list_{part}.txt")
    colors, notes = _read_colors(download)
    pids = np.array([pid for _, pid in test])
    gallery = set(draw_galleries(pids, 1, seed)[0].tolist())
    rows = [(name, pid, "train") for name, pid in train]
    rows += [
        (name, pid, "test" if row in gallery else "query") for row, (name, pid) in enumerate(test)
    ]
    table = table_of(
        [
            {
                "source": f"{name}.jpg",
                "pid": pid,
                "split": split,
                "color_id": colors.get(pid, UNKNOWN),
            }
            for name, pid, split in rows
        ]
    )
    refuse_shared_ids(table, lists)
    refuse_absent(table, download / "image")
    found = [(len(np.unique([p for _, p in train])), _TRAIN_IDS, "training vehicles")]
    found.append((len(np.unique(pids)), int(part), "test vehicles"))
    if part in _PART_IMAGES:
        found.append((len(test), _PART_IMAGES[part], "test images"))
    single = np.unique(pids)[np.unique(pids, return_counts=True)[1] == 1]
    if len(single) == len(np.unique(pids)):
        raise DataError(f"{lists}: no test vehicle has two images, so there is no query")
    if len(single):
        notes.append(
            f"{len(single)} test vehicles have one image, which is always in the gallery: "
            f"{first_offenders(single.tolist())}"
        )
    notes.append("cameras are unknown, and types (the 250 models are not VeRi's types)")
    protocol = EvaluationProtocol(
        name=f"VehicleID, {part} vehicles", ignored="same_image", draws=DRAWS, seed=seed
    )
    return Dataset(table, download / "image", protocol, found, notes)


def _read_list(path: Path) -> list[tuple[str, int]]:
    rows = [(cells[0], whole_number(cells[1], path, "id")) for cells in read_rows(path, [2])]
    seen: dict[str, int] = {}
    for name, pid in rows:
        if seen.setdefault(name, pid) != pid:
            raise DataError(f"{path}: image {name} is vehicle {seen[name]} and vehicle {pid}")
    if len(seen) < len(rows):
        raise DataError(f"{path}: {len(rows) - len(seen)} images stand there twice")
    return rows


def _read_colors(download: Path) -> tuple[dict[int, int], list[str]]:
    path = download / "attribute" / "color_attr.txt"
    if not path.is_file():
        return {}, [f"{path} is absent, so colours are unknown"]
    colors = {}
    for pid, color in read_rows(path, [2]):
        number = whole_number(color, path, "colour")
        if number >= len(_COLORS):
            raise DataError(f"{path}: colour {number}, expected 0..{len(_COLORS) - 1}")
        colors[whole_number(pid, path, "id")] = color_id_of(_COLORS[number])
    return colors, [
        "colours by the order of public loaders; silver, which VeRi has not, is unknown"
    ]
