"""Published orientations of VeRi's images, kept beside the labels as ``veri/orientation.csv``.

Source: Wang et al., "Orientation Invariant Feature Embedding and Spatial Temporal Regularization
    for Vehicle Re-identification", ICCV 2017; label files of Zhongdao/VehicleReIDKeyPointData.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mtn_core.data.prepare.labels import read_text
from mtn_core.errors import DataError, first_offenders
from mtn_core.files import why_no_file

ORIENTATION_NAME = "orientation.csv"
# By their number in the file, in this project's words.
ORIENTATIONS = (
    "front",
    "rear",
    "left",
    "front left",
    "rear left",
    "right",
    "front right",
    "rear right",
)
_COLUMNS = 1 + 2 * 20 + 1


def read_orientations(paths: Iterable[str | Path]) -> dict[str, str]:
    """Orientation by image name, from rows ``path x1 y1 ... x20 y20 orientation``.

    The 20 keypoints of these files are others than the 36 of this project and are not kept.

    Raises:
        DataError: Absent, not UTF-8, rows of another form, or an image with two orientations.
    """
    found: dict[str, str] = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise DataError(f"{path} {why_no_file(path)}")
        bad = []
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            cells = line.split()
            if not cells:
                continue
            if len(cells) != _COLUMNS or cells[-1] not in map(str, range(len(ORIENTATIONS))):
                bad.append(f"line {number}")
                continue
            name = cells[0].rpartition("/")[2]
            orientation = ORIENTATIONS[int(cells[-1])]
            if found.setdefault(name, orientation) != orientation:
                bad.append(f"line {number} ({name} is {found[name]} elsewhere)")
        if bad:
            raise DataError(
                f"{path}: expected rows of a path, 20 keypoints and an orientation 0..7: "
                f"{first_offenders(bad)}"
            )
    return found


def orientation_table(orientations: dict[str, str], names: Iterable[str]) -> tuple[str, int]:
    """``orientation.csv`` of the images of a root, as text, and how many of them it has."""
    rows = [(name, orientations[name]) for name in names if name in orientations]
    table = pd.DataFrame(rows, columns=["name", "orientation"])
    return table.to_csv(index=False), len(rows)
