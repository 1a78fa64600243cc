"""Label files of the VeRi layout: reading, checking row by row, writing.

A row is ``name, vehicle id, colour id, type id, (x, y, confidence) x 36`` without a header, in
pixels of the original crop. The camera is the ``cNNN`` in the name; ``c000`` is an unknown camera.
"""

import contextlib
import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.errors import DataError, first_offenders
from mtn_core.files import write_text
from mtn_core.vehicle import NUM_KEYPOINTS, UNKNOWN

NUM_COLUMNS = 4 + 3 * NUM_KEYPOINTS
LABEL_COLUMNS = ("name", "pid", "camid", "color_id", "type_id")
ID_LIMIT = 2**31  # of vehicle ids, cameras, colours and types
_LONGEST_NAME = 255
_UNPRINTABLE = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters and line ends
_CAMERA = re.compile(r"(?:^|[_-])c(\d{3,})(?=[_.-]|$)")


@dataclass(frozen=True, eq=False)
class Labels:
    """The usable rows of a label file, and what is wrong with the others.

    Attributes:
        frame: One row an image: ``name, pid, camid, color_id, type_id``.
        keypoints: ``(N, 36, 3) float32``, read-only.
        problems: ``row 7: 111 columns, expected 112`` and the like; rows count from 1.
    """

    frame: pd.DataFrame
    keypoints: np.ndarray
    problems: list[str] = field(default_factory=list)


def camera_of(name: str) -> int | None:
    """Camera number in an image name, 0 for ``c000`` (unknown), None where the name has none."""
    match = _CAMERA.search(name)
    return int(match.group(1)) if match else None


def name_problem(name: str) -> str | None:
    """Why ``name`` cannot be an image name of the layout, or None.

    A name with a path in it could read, or write, outside the data set.
    """
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        return f"name {name!r} has a line break or another control character in it"
    if not name or name != name.strip():
        return f"name {name!r} is empty or padded with blanks"
    if "/" in name or "\\" in name or ".." in name:
        return f"name {name!r} has a path in it; expected a plain file name"
    if len(name.encode()) > _LONGEST_NAME:
        return f"name {name[:40]!r}... is longer than {_LONGEST_NAME} bytes, which no file can be"
    camera = camera_of(name)
    if camera is None:
        return f"name {name!r} has no camera; expected _cNNN as in 0002_c002_00030600_0.jpg"
    if camera >= ID_LIMIT:
        return f"name {name!r} has camera {camera}, expected a number below {ID_LIMIT}"
    return None


def read_labels(path: str | Path) -> Labels:
    """Read a label file and say what is wrong with it, row by row.

    Raises:
        DataError: The file is absent or is not UTF-8 text.
    """
    path = Path(path)
    if not path.is_file():
        there = path.exists() or path.is_symlink()
        raise DataError(
            f"label file {path} is {'no regular file' if there else 'missing'}; expected rows of "
            f"{NUM_COLUMNS} columns: name, vehicle id, colour id, type id, (x, y, confidence) x 36"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"label file {path} is not UTF-8 text ({error}); save it as UTF-8"
        ) from error

    problems: list[tuple[int, str]] = []
    rows: list[tuple[int, list[str]]] = []
    seen: dict[str, int] = {}
    for number, cells in enumerate(_read_csv(text, path), start=1):
        if not cells:
            continue
        if len(cells) != NUM_COLUMNS:
            problems.append((number, f"{len(cells)} columns, expected {NUM_COLUMNS}"))
            continue
        problem = name_problem(cells[0])
        if problem is None and cells[0] in seen:
            problem = f"name {cells[0]!r} stands in row {seen[cells[0]]} already"
        if problem:
            problems.append((number, problem))
            continue
        seen[cells[0]] = number
        rows.append((number, cells))

    values = _parse_numbers(rows, problems)
    good = np.ones(len(rows), bool)
    # Not isfinite(): what float32 cannot hold would become infinite.
    for i in np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max).all(axis=1)):
        good[i] = False
        if not np.isnan(values[i]).all():  # otherwise reported as not numeric
            problems.append((rows[i][0], "a value is nan or infinite, or too large for float32"))
    for i in np.flatnonzero(good):
        problem = ids_problem(values[i])
        if problem:
            good[i] = False
            problems.append((rows[i][0], problem))

    kept = np.flatnonzero(good)
    names = [rows[i][1][0] for i in kept]
    ids = values[kept, :3].astype(np.int64)
    frame = pd.DataFrame(
        {
            "name": pd.Series(names, dtype="object"),
            "pid": ids[:, 0],
            "camid": np.array([camera_of(n) for n in names], dtype=np.int64),
            "color_id": ids[:, 1],
            "type_id": ids[:, 2],
        }
    )
    keypoints = values[kept, 3:].astype(np.float32).reshape(-1, NUM_KEYPOINTS, 3)
    keypoints.setflags(write=False)
    return Labels(frame, keypoints, [f"row {n}: {what}" for n, what in sorted(problems)])


def load_labels(path: str | Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read a label file in which every row must be right.

    Returns:
        The frame ``name, pid, camid, color_id, type_id`` and keypoints ``(N, 36, 3) float32``
        (read-only) in pixels of the original crop, as the file has them.

    Raises:
        DataError: The file is absent or some rows are wrong; the first five are named.
    """
    labels = read_labels(path)
    if labels.problems:
        raise DataError(f"{path}: {first_offenders(labels.problems)}")
    return labels.frame, labels.keypoints


def write_labels(path: str | Path, frame: pd.DataFrame, keypoints: np.ndarray) -> None:
    """Write a label file, whole or not at all.

    Args:
        path: File to write.
        frame: Needs ``name, pid, color_id, type_id``.
        keypoints: ``(N, 36, 3)`` in pixels of the crop, written with three decimals.

    Raises:
        DataError: A name or an id is not usable, or the lengths differ.
    """
    if keypoints.shape != (len(frame), NUM_KEYPOINTS, 3):
        raise DataError(
            f"keypoints must be (N, 36, 3) = ({len(frame)}, 36, 3); got {keypoints.shape}"
        )
    bad = [p for p in map(name_problem, frame["name"]) if p]
    ids = frame[["pid", "color_id", "type_id"]].to_numpy(np.float64)
    bad += [
        f"{name}: {problem}"
        for name, values in zip(frame["name"], ids, strict=True)
        if (problem := ids_problem(values))
    ]
    if bad:
        raise DataError(f"cannot write {path}: {first_offenders(bad)}")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    flat = np.asarray(keypoints, np.float64).reshape(-1, 3 * NUM_KEYPOINTS)
    for row, values in zip(frame.itertuples(index=False), flat, strict=True):
        numbers = [f"{v:.3f}".rstrip("0").rstrip(".") if v else "0" for v in values]
        writer.writerow([row.name, int(row.pid), int(row.color_id), int(row.type_id), *numbers])
    write_text(path, out.getvalue())


def _read_csv(text: str, path: Path) -> list[list[str]]:
    # Strict, or a quotation mark without its partner swallows the rows behind it.
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise DataError(
            f"label file {path} cannot be read beyond line {reader.line_num} ({error}); "
            "is there a quotation mark without its partner?"
        ) from error


def _parse_numbers(
    rows: list[tuple[int, list[str]]], problems: list[tuple[int, str]]
) -> np.ndarray:
    if all(_has_plain_numbers(cells) for _, cells in rows):
        with contextlib.suppress(ValueError):  # some cell is no number: look for it row by row
            return np.array([cells[1:] for _, cells in rows], dtype=np.float64).reshape(
                len(rows), NUM_COLUMNS - 1
            )
    values = np.full((len(rows), NUM_COLUMNS - 1), np.nan)
    for i, (number, cells) in enumerate(rows):
        column = next((c for c, cell in enumerate(cells[1:], start=2) if not _is_number(cell)), 0)
        if column:
            problems.append(
                (number, f"column {column} is {cells[column - 1][:40]!r}, expected a number")
            )
        else:
            values[i] = np.array(cells[1:], dtype=np.float64)
    return values


def _has_plain_numbers(cells: list[str]) -> bool:
    text = ",".join(cells[1:])
    return text.isascii() and "_" not in text  # Python takes 1_000 for a number, people do not


def _is_number(cell: str) -> bool:
    if not _has_plain_numbers(["", cell]):
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def ids_problem(values: Sequence[float] | np.ndarray) -> str | None:
    """Why a vehicle id, a colour id and a type id cannot stand in a label file, or None."""
    names = ("vehicle id", "colour id", "type id")
    for value, what in zip(values[:3], names, strict=True):
        if value != int(value):
            return f"{what} is {value}, expected a whole number"
    if not 0 <= values[0] < ID_LIMIT:
        return f"vehicle id is {int(values[0])}, expected 0 or more, below {ID_LIMIT}"
    for value, what in zip(values[1:3], names[1:], strict=True):
        if value != UNKNOWN and value < 1:
            return f"{what} is {int(value)}, expected 1 or more, or -1 for unknown"
        if value >= ID_LIMIT:
            return f"{what} is {int(value)}, expected a number below {ID_LIMIT}"
    return None
