"""Puts existing files into a data set: as links where the file system allows it."""

import contextlib
import os
import shutil
from pathlib import Path

from mtn_core.files import refuse_existing


def place_file(source: Path, target: Path, *, copy: bool = False) -> str:
    """Make ``target`` the same file as ``source``.

    A hard link survives the removal of the source and needs no space; across file systems a
    symbolic link is made; where neither works, and where ``copy`` is asked for, a copy.

    Returns:
        ``link``, ``symlink`` or ``copy``.
    """
    if not copy:
        real = source.resolve()
        with contextlib.suppress(OSError):
            os.link(real, target)
            return "link"
        with contextlib.suppress(OSError):
            target.symlink_to(real)
            return "symlink"
    shutil.copyfile(source, target)
    return "copy"


def refuse_full_root(root: str | Path, *, overwrite: bool) -> None:
    """Refuse to write into a ``veri`` folder that holds something.

    Raises:
        RunFolderError: It does, and ``overwrite`` is false.
    """
    refuse_existing(Path(root) / "veri", overwrite=overwrite, remedy="--root")
