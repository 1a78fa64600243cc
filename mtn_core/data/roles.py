"""Gallery images that are nobody's match: ``veri/roles.csv``, with a row ``name, role`` for each.

``junk`` (Market-1501's id -1: bad crops, of vehicles that may well be the query's) stands in no
ranking. A ``distractor`` (Market-1501's id 0000: vehicles that are no query's) stands in every
ranking and is always wrong; its label has a vehicle id that no other image has.
"""

import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mtn_core.data.split import Split
from mtn_core.errors import DataError, first_line, first_offenders
from mtn_core.files import write_text

ROLES_NAME = "roles.csv"
JUNK, DISTRACTOR = "junk", "distractor"
ROLES = (JUNK, DISTRACTOR)


def read_roles(root: str | Path) -> dict[str, str]:
    """Role by image name, of the images that have one; empty where the root has no such file.

    Raises:
        DataError: The file cannot be read, or names a role that there is not.
    """
    path = Path(root) / "veri" / ROLES_NAME
    if not path.exists():
        return {}
    try:
        table = pd.read_csv(io.StringIO(path.read_text("utf-8-sig")), dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error)})") from error
    if list(table.columns) != ["name", "role"]:
        raise DataError(f"{path} must have the columns name, role; got {', '.join(table.columns)}")
    wrong = table[~table["role"].isin(ROLES) | table["name"].isna()]
    if len(wrong):
        lines = [f"line {row + 2}" for row in wrong.index]
        raise DataError(f"{path}: role must be {' or '.join(ROLES)}: {first_offenders(lines)}")
    return dict(zip(table["name"], table["role"], strict=True))


def write_roles(folder: Path, roles: Mapping[str, str]) -> None:
    """Write ``roles.csv`` into a ``veri`` folder, where some image has a role."""
    if roles:
        table = pd.DataFrame({"name": list(roles), "role": list(roles.values())})
        write_text(folder / ROLES_NAME, table.to_csv(index=False))


def without_junk(split: Split) -> Split:
    """A gallery without its junk, which no ranking knows.

    Raises:
        DataError: Nothing else is left, or the roles cannot be read.
    """
    roles = read_roles(split.root)
    kept = [roles.get(name) != JUNK for name in split.frame["name"]]
    if all(kept):
        return split
    if not any(kept):
        raise DataError(f"all {len(split)} images of the gallery in {split.root} are junk")
    return split.take([row for row, keep in enumerate(kept) if keep])


def count_roles(root: str | Path) -> dict[str, int]:
    """Images of each role that a root has, such as ``{"junk": 12}``."""
    return dict(Counter(read_roles(root).values()))
