"""VERI-Wild: three test sets of 3,000, 5,000 and 10,000 vehicles, with colours and types.

Source: Lou et al., "VERI-Wild: A Large Dataset and a New Method for Vehicle Re-Identification in
    the Wild", CVPR 2019; layout from public loaders of the download's copies.
"""

import csv
from pathlib import Path

from mtn_core.data.prepare.datasets.common import (
    Dataset,
    color_id_of,
    find_file,
    read_rows,
    refuse_absent,
    refuse_shared_ids,
    type_id_of,
    whole_number,
)
from mtn_core.data.prepare.labels import read_text
from mtn_core.data.prepare.writing import table_of
from mtn_core.errors import DataError, first_offenders
from mtn_core.metrics.protocol import EvaluationProtocol
from mtn_core.vehicle import UNKNOWN

PARTS = {"small": "3000", "medium": "5000", "large": "10000"}
PVEN = "-pven"
_TRAIN = 277_797, 30_671
_TEST_IMAGES = {"small": 41_861, "medium": 69_389, "large": 138_517}  # queries among them
_INFO_COLUMNS = 6


def read_veriwild(download: Path, part: str, seed: int) -> Dataset:
    """Read VERI-Wild with one of its test sets.

    Releases differ: ``vehicle_info.txt`` with a header line or without, list rows of one, three or
    five columns, and training ids that were numbered anew. So the vehicle is the image's folder,
    and the camera is that of ``vehicle_info.txt``.

    Args:
        download: The folder with ``images/`` and ``train_test_split/``.
        part: ``small``, ``medium`` or ``large``; with ``-pven`` behind it the rule of PVEN's
            figures, which ignores no camera.
        seed: Not used; the split is official.

    Raises:
        DataError: Lists or images are missing, or a list has other rows.
    """
    size = part.removesuffix(PVEN)
    lists = download / "train_test_split"
    info = _read_info(find_file(lists, ["vehicle_info.txt"]))
    count = PARTS[size]
    paths = {
        "train": find_file(lists, ["train_list.txt", "train_list_start0.txt"]),
        "query": find_file(lists, [f"test_{count}_query.txt", f"test_{count}_id_query.txt"]),
        "test": find_file(lists, [f"test_{count}.txt", f"test_{count}_id.txt"]),
    }
    rows: list[dict] = []
    unknown: list[str] = []
    for split, path in paths.items():
        for cells in read_rows(path, [1, 3, 5]):
            name = cells[0].removesuffix(".jpg")
            folder, slash, image = name.partition("/")
            if not slash or not image:
                raise DataError(f"{path}: {cells[0][:60]!r} is not VEHICLE/IMAGE")
            if name not in info:
                unknown.append(name)
                continue
            camera, kind, color = info[name]
            rows.append(
                {
                    "source": f"{name}.jpg",
                    "pid": whole_number(folder, path, "vehicle"),
                    "camid": camera,
                    "color_id": color_id_of(color),
                    "type_id": type_id_of(kind),
                    "split": split,
                }
            )
    if unknown:
        raise DataError(
            f"{lists}: vehicle_info.txt lacks {first_offenders(unknown)}, which the lists name"
        )
    table = table_of(rows)
    refuse_shared_ids(table, lists)
    refuse_absent(table, download / "images")
    by_split = {s: table[table["split"] == s] for s in paths}
    # Some copies have the queries in the gallery's list, too; the official total counts them once.
    tested = len(set(by_split["query"]["source"]) | set(by_split["test"]["source"]))
    counts = [
        (len(by_split["train"]), _TRAIN[0], "training images"),
        (by_split["train"]["pid"].nunique(), _TRAIN[1], "training vehicles"),
        (len(by_split["query"]), int(count), "queries"),
        (tested, _TEST_IMAGES[size], "test images with the queries"),
    ]
    ignored = "same_image" if part.endswith(PVEN) else "same_camera"
    name = f"VERI-Wild, {size}" + (", as PVEN measured" if part.endswith(PVEN) else "")
    protocol = EvaluationProtocol.model_validate({"name": name, "ignored": ignored})
    return Dataset(table, download / "images", protocol, counts, _notes(info, table))


def _read_info(path: Path) -> dict[str, tuple[int, str, str]]:
    """Camera, type and colour by ``VEHICLE/IMAGE``."""
    info, bad = {}, []
    for number, cells in enumerate(csv.reader(read_text(path).splitlines(), delimiter=";"), 1):
        if not cells or (number == 1 and cells[0].lower().startswith("id/")):
            continue
        if len(cells) != _INFO_COLUMNS or not cells[1].strip().isdigit():
            bad.append(f"line {number}")
            continue
        info[cells[0].strip().removesuffix(".jpg")] = (int(cells[1]), cells[4], cells[5])
    if bad or not info:
        raise DataError(
            f"{path}: expected rows id/image;camera;time;model;type;colour; "
            f"{first_offenders(bad) or 'it has no rows'}"
        )
    return info


def _notes(info: dict[str, tuple[int, str, str]], table) -> list[str]:
    notes = []
    for column, place, what in (("type_id", 1, "types"), ("color_id", 2, "colours")):
        unknown = table.loc[table[column] == UNKNOWN, "source"]
        if len(unknown):
            names = sorted({info[s.removesuffix(".jpg")][place] for s in unknown})
            notes.append(
                f"{what} that VeRi has not are unknown, {len(unknown)} rows: "
                f"{first_offenders(names)}"
            )
    return notes
