"""What the readers of official downloads share: tables, lists, counts, names of colours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mtn_core.data.prepare.labels import read_text
from mtn_core.errors import DataError, first_offenders
from mtn_core.files import why_no_file
from mtn_core.metrics.protocol import VERI, EvaluationProtocol
from mtn_core.vehicle import COLOR_NAMES, TYPE_NAMES, UNKNOWN

# What others call VeRi's classes; silver and the like have no class there and stay unknown.
_SAME_COLOR = {"gray": "grey", "gold": "golden"}
_SAME_TYPE = {"saloon": "sedan", "station wagon": "estate", "pickup truck": "pickup"}


@dataclass(eq=False)
class Dataset:
    """An official download as a table of images.

    Attributes:
        table: See :func:`mtn_core.data.prepare.writing.table_of`.
        images: What the sources are below of.
        protocol: How its authors evaluate.
        counts: ``(found, official, what)`` of everything that is counted.
        notes: What a person should know.
        extra: Further text files for the root, as name and content.
    """

    table: pd.DataFrame
    images: Path
    protocol: EvaluationProtocol = VERI
    counts: list[tuple[int, int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    extra: list[tuple[str, str]] = field(default_factory=list)

    def deviations(self) -> list[str]:
        """Counts that are not the official ones."""
        return [f"{n} {what}, official {o}" for n, o, what in self.counts if n != o]


def find_file(folder: Path, names: Sequence[str]) -> Path:
    """The first of some files that is there.

    Raises:
        DataError: None is.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {' or '.join(names)}; is it the download's own folder?")


def read_rows(path: Path, widths: Iterable[int]) -> list[list[str]]:
    """Rows of a list whose columns are divided by blanks; empty lines are passed over.

    Args:
        path: The list.
        widths: Numbers of columns that a row may have.

    Raises:
        DataError: Absent, not UTF-8, without rows, or a row of another width.
    """
    if not path.is_file():
        raise DataError(f"{path} {why_no_file(path)}; is its folder the download's own?")
    widths = tuple(widths)
    rows, bad = [], []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) in widths:
            rows.append(cells)
        else:
            bad.append(f"line {number} has {len(cells)} columns")
    if bad or not rows:
        wanted = " or ".join(map(str, widths))
        raise DataError(
            f"{path}: expected rows of {wanted} columns; {first_offenders(bad) or 'it has no rows'}"
        )
    return rows


def whole_number(text: str, path: Path, what: str) -> int:
    """A number of a list.

    Raises:
        DataError: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise DataError(f"{path}: {what} {text[:40]!r} is not a whole number")
    return int(text)


def color_id_of(name: str) -> int:
    """VeRi's colour of a name in English, -1 where it has none."""
    name = name.strip().lower()
    return _class_of(_SAME_COLOR.get(name, name), COLOR_NAMES)


def type_id_of(name: str) -> int:
    """VeRi's type of a name in English, -1 where it has none."""
    name = name.strip().lower()
    return _class_of(_SAME_TYPE.get(name, name), TYPE_NAMES)


def _class_of(name: str, names: Sequence[str]) -> int:
    lowered = [n.lower() for n in names]
    return lowered.index(name) + 1 if name in lowered else UNKNOWN


def refuse_absent(table: pd.DataFrame, images: Path) -> None:
    """Refuse a download that lacks images which its lists name.

    Raises:
        DataError: Names the first five.
    """
    absent = [s for s in table["source"].unique() if not (images / s).is_file()]
    if absent:
        raise DataError(
            f"{images} lacks {first_offenders(absent)}, which the lists of this download name; "
            "unpack all of its archives"
        )


def refuse_shared_ids(table: pd.DataFrame, path: Path) -> None:
    """Refuse vehicles that stand in the training list and in the test lists.

    Raises:
        DataError: Names the first five.
    """
    train = set(table.loc[table["split"] == "train", "pid"])
    shared = sorted(train & set(table.loc[table["split"] != "train", "pid"]))
    if shared:
        raise DataError(f"{path}: vehicles are in training and test: {first_offenders(shared)}")
