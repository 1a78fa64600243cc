"""Reads the label files that VeRi and PAMTRI publish: XML, training list, 112-column CSV."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.data.labels import LABEL_COLUMNS, camera_of, ids_problem, name_problem, read_labels
from mtn_core.errors import DataError, first_offenders
from mtn_core.files import why_no_file
from mtn_core.vehicle import NUM_KEYPOINTS, UNKNOWN

_DECLARATION = re.compile(rb"^(?:\xef\xbb\xbf)?\s*<\?xml[^>]*\?>")
_ENCODING = re.compile(rb"encoding\s*=\s*[\"']([^\"']+)[\"']")
_KNOWN = {"imageName", "vehicleID", "cameraID", "colorID", "typeID"}


def read_veri_xml(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read ``train_label.xml`` or ``test_label.xml``.

    The declared encoding is honoured, gb2312 included, which Python's own parser refuses.

    Returns:
        ``name, pid, camid, color_id, type_id`` and notes on what was passed over.

    Raises:
        DataError: Not decodable, not XML, or an item without a name or a vehicle id.
    """
    items = read_items(path)
    rows, bad, unknown = [], [], set()
    for number, item in enumerate(items, start=1):
        unknown |= set(item.attrib) - _KNOWN
        name = item.get("imageName", "")
        try:
            pid = int(item.attrib["vehicleID"])
            color_id = int(item.get("colorID", UNKNOWN))
            type_id = int(item.get("typeID", UNKNOWN))
        except (KeyError, ValueError) as error:
            bad.append(f"item {number} ({name or 'no name'}): {error!r}")
            continue
        problem = name_problem(name)
        camera = item.get("cameraID", "").removeprefix("c")
        if problem is None and camera.isdigit() and int(camera) != camera_of(name):
            problem = f"cameraID is c{camera}, the name {name!r} says otherwise"
        if problem:
            bad.append(f"item {number}: {problem}")
            continue
        rows.append((name, pid, camera_of(name), color_id, type_id))
    if bad:
        raise DataError(f"{path}: {first_offenders(bad)}")
    notes = [f"{path.name}: unknown attributes ignored: {sorted(unknown)}"] if unknown else []
    return _frame(rows, path), notes


def read_items(path: Path) -> list[ET.Element]:
    """The ``<Item>`` elements of a label file, in whatever encoding it declares.

    Raises:
        DataError: Absent, not decodable, not XML, or without items.
    """
    if not path.is_file():
        raise DataError(f"{path} {why_no_file(path)}; is its folder the download's own?")
    items = list(_parse(path).iter("Item"))
    if not items:
        raise DataError(f"{path} has no <Item> elements; expected a label file like VeRi's")
    return items


def read_training_list(path: Path) -> pd.DataFrame:
    """Read PAMTRI's ``train-id-col-mod.txt``: name, id, colour, type, all counted from 0.

    Vehicle ids are taken from the names, colour and type are raised by one, as VeRi counts them.

    Raises:
        DataError: A line of another form, or ids that do not match the names.
    """
    rows, bad = [], []
    pairs: dict[int, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != 4 or not all(c.lstrip("-").isdigit() for c in cells[1:]):
            bad.append(f"line {number}: {line[:60]!r}, expected name, id, colour, type")
            continue
        name, index, color, kind = cells[0], *map(int, cells[1:])
        problem = name_problem(name)
        if problem or not name.split("_")[0].isdigit():
            bad.append(f"line {number}: {problem or f'name {name!r} does not begin with an id'}")
            continue
        pid = int(name.split("_")[0])
        if pairs.setdefault(index, pid) != pid:
            bad.append(f"line {number}: id {index} is vehicle {pairs[index]} and vehicle {pid}")
            continue
        rows.append((name, pid, camera_of(name), color + 1, kind + 1))
    if bad:
        raise DataError(f"{path}: {first_offenders(bad)}")
    return _frame(rows, path)


def read_text(path: Path) -> str:
    """Content of a UTF-8 file; a DataError where it is something else."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error})") from error


def read_label_csv(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read a published 112-column CSV; same errors as :func:`mtn_core.data.labels.load_labels`."""
    labels = read_labels(path)
    if labels.problems:
        raise DataError(f"{path}: {first_offenders(labels.problems)}")
    return labels.frame, labels.keypoints


def no_keypoints(count: int) -> np.ndarray:
    """``(count, 36, 3) float32`` of zeros: keypoints that nobody has found yet."""
    return np.zeros((count, NUM_KEYPOINTS, 3), np.float32)


def _parse(path: Path) -> ET.Element:
    data = path.read_bytes()
    declaration = _DECLARATION.match(data)
    declared = _ENCODING.search(declaration.group()) if declaration else None
    encoding = declared.group(1).decode("ascii", "replace").lower() if declared else "utf-8"
    # Files of that age that say gb2312 hold characters which only its superset gb18030 has.
    encoding = {"gb2312": "gb18030", "gbk": "gb18030", "utf-8": "utf-8-sig"}.get(encoding, encoding)
    try:
        text = data[declaration.end() if declaration else 0 :].decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise DataError(f"{path} cannot be decoded as {encoding} ({error})") from error
    try:
        return ET.fromstring(text)
    except ET.ParseError as error:
        raise DataError(f"{path} is not well-formed XML ({error})") from error


def _frame(rows: list[tuple], path: Path) -> pd.DataFrame:
    bad = [
        f"{name}: {problem}"
        for name, pid, _, color_id, type_id in rows
        if (problem := ids_problem((pid, color_id, type_id)))
    ]
    if bad:
        raise DataError(f"{path}: {first_offenders(bad)}")
    frame = pd.DataFrame(rows, columns=list(LABEL_COLUMNS))
    twice = frame.loc[frame["name"].duplicated(), "name"].tolist()
    if twice:
        raise DataError(f"{path}: names stand there twice: {first_offenders(twice)}")
    return frame
