"""Errors of a full or read-only disk, with the folder's name and what to do."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from mtn_core.errors import DataError

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def explain_full_disk(folder: str | Path) -> Iterator[None]:
    """Name the folder when writing into it fails for want of space or permission.

    Raises:
        DataError: In place of the bare OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise DataError(
            f"cannot write to {folder}: {error.strerror}; nothing was left half-written. Free "
            "space, or choose a folder on another disk"
        ) from error
