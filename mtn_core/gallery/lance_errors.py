"""What LanceDB raises, as errors that name the file and the remedy."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from mtn_core.errors import DataError, DiskError, MtnError, first_line
from mtn_core.gallery.checksums import Checksums

_FULL = {28: "No space left on device", 122: "Disk quota exceeded", 27: "File too large"}
_FORBIDDEN = {30: "Read-only file system", 13: "Permission denied", 1: "Operation not permitted"}


@contextlib.contextmanager
def explained(folder: Path, checksums: Checksums | None) -> Iterator[None]:
    """Turn an error of LanceDB into one for a person.

    Args:
        folder: Of the gallery.
        checksums: Asked for the damaged file; None where there can be none yet.

    Raises:
        DiskError: The disk is full, or may not be written.
        DataError: A file of the gallery is damaged.
    """
    try:
        yield
    except (MtnError, MemoryError, ImportError):
        raise
    except Exception as error:  # a panic of its Rust code is of no other class
        disk = _disk_problem(error)
        if disk:
            raise DiskError(
                f"cannot write to {folder}: {disk}; what was there is unchanged. Free space, or "
                "choose a folder on another disk"
            ) from error
        if checksums is not None:
            checksums.check()  # names the damaged file
        raise DataError(
            f"{folder} cannot be read or written as a gallery ({_reason(error)}), though its files "
            "are as they were written; is it of a newer LanceDB?"
        ) from error


def _disk_problem(error: Exception) -> str | None:
    known = _FULL | _FORBIDDEN
    if isinstance(error, OSError) and error.errno in known:
        return error.strerror
    found = re.search(r"\(?os error (\d+)\)?", str(error))
    return known.get(int(found.group(1))) if found else None


def _reason(error: Exception) -> str:
    """What LanceDB says, without the place in its own sources."""
    text = first_line(error)
    return re.sub(r",? ?(/\S*/)?[\w./-]+\.rs:\d+(:\d+)?", "", text).strip(" ,")[:200]
