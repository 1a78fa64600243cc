"""Reading other programs' arrays and label tables, without running anything that they hold."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.errors import DataError, MissingFileError, first_line, first_offenders
from mtn_core.files import why_no_file

# What this package calls an array, and the names that files have for it.
FIELDS = {
    "features": ("features", "embeddings", "feats"),
    "pids": ("pids", "pid"),
    "camids": ("camids", "camid"),
    "names": ("names", "paths", "name", "path"),
    "color_ids": ("color_ids", "color_id"),
    "type_ids": ("type_ids", "type_id"),
}
_SEPARATORS = (",", ";", "\t")
_REFUSED = (
    *(OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by name, or the array of an ``.npy`` file as ``features``.

    Raises:
        MissingFileError: No such file.
        DataError: Not such a file, or it holds pickled objects.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected an .npz or .npy file of embeddings")
    if not path.is_file():
        raise MissingFileError(f"{path} {why_no_file(path)}")
    name = None
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"features": loaded}
        arrays = {}
        with loaded as file:
            for name in file.files:
                arrays[name] = _as_text(file[name])
        return arrays
    except MemoryError:
        raise DataError(f"{path} does not fit into memory") from None
    except _REFUSED as error:
        if "pickle" in str(error).lower():
            of = f" (its array `{name}`)" if name else ""
            raise DataError(
                f"{path}{of} holds pickled Python objects, which are not read because they could "
                "run code; save plain arrays: numpy.savez(FILE, features=..., pids=..., "
                "names=numpy.array(names, dtype=str))"
            ) from None
        raise DataError(
            f"{path} is not an .npz or .npy file of NumPy ({first_line(error)[:200]})"
        ) from None


def read_labels(path: Path) -> dict[str, np.ndarray | None]:
    """Columns of a CSV by the name that this package has for them; None where one is missing.

    Commas, semicolons and tabs separate; a byte order mark is skipped; the first line names the
    columns.

    Raises:
        MissingFileError: No such file.
        DataError: Not such a table.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} {why_no_file(path)}")
    try:
        with open(path, encoding="utf-8-sig") as file:
            head = file.readline()
        separator = max(_SEPARATORS, key=head.count)
        frame = pd.read_csv(
            path, sep=separator, encoding="utf-8-sig", dtype=str, keep_default_na=False,
            index_col=False,
        )  # fmt: skip
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(
            f"{path} is not a table of labels in UTF-8 ({first_line(error)[:200]})"
        ) from None
    frame.columns = [str(column).strip().lower() for column in frame.columns]
    columns: dict[str, np.ndarray | None] = {}
    for name, known in FIELDS.items():
        present = [column for column in frame.columns if column in known]
        if len(present) > 1:
            raise DataError(f"{path} has two columns of {name}: {', '.join(present)}; keep one")
        if name != "features":
            values = frame[present[0]] if present else None
            columns[name] = None if values is None else values.to_numpy(str)
    if columns["pids"] is None:
        raise DataError(
            f"{path} has no column `pid`; expected a first line like name,pid,camid; got "
            f"{first_offenders(list(frame.columns))}"
        )
    return columns


def _as_text(array: np.ndarray) -> np.ndarray:
    if not isinstance(array, np.ndarray):  # a member of an archive that is no array
        raise ValueError("it is an archive of something else, such as torch.save writes")
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
