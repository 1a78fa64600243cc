"""Puts existing files into a data set: as links where the file system allows it."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from mtn_core.errors import ConfigError, first_offenders
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


def refuse_overlap(
    root: str | Path,
    folders: Mapping[str, str | Path | None],
    label_sources: Mapping[str, str | Path | None],
) -> None:
    """Refuse sources that replacing ``root/veri`` would delete, whatever the flags.

    Paths are compared as they are written and with their symbolic links resolved.

    Args:
        root: Where ``veri/`` is made.
        folders: Image folders by flag, None where not given; neither may lie in the other.
        label_sources: Label folders and files by flag; they must not lie in ``veri``.

    Raises:
        ConfigError: Some source and ``root/veri`` overlap.
    """
    target = Path(root) / "veri"
    for flag, source in {**folders, **label_sources}.items():
        if source is None:
            continue
        for there, here in zip(_spellings(target), _spellings(source), strict=True):
            if here.is_relative_to(there):
                raise ConfigError(
                    f"{flag} {source} {'is' if here == there else 'lies in'} the veri folder that "
                    f"this command makes anew in --root {root}: it would delete what it reads; "
                    f"choose another --root, or move {source} elsewhere first"
                )
            if flag in folders and there.is_relative_to(here):
                raise ConfigError(
                    f"{target}, which this command makes, lies in {flag} {source}, which it reads; "
                    f"choose a --root outside of {source}"
                )


def refuse_linked_sources(root: str | Path, flag: str, sources: Iterable[Path]) -> None:
    """Refuse files and folders that are symbolic links into the ``veri`` folder to be replaced.

    Args:
        root: Where ``veri/`` is made.
        flag: The flag that led to the sources, for the message.
        sources: What will be read.

    Raises:
        ConfigError: Some of them really lie in ``root/veri``.
    """
    target = (Path(root) / "veri").resolve()
    if not target.is_dir():
        return
    inside = str(target) + os.sep
    linked = [str(s) for s in sources if os.path.realpath(s).startswith(inside)]
    if linked:
        raise ConfigError(
            f"{flag} has links into {target}, which this command replaces: "
            f"{first_offenders(linked)}; choose another --root, or copy those files first"
        )


def _spellings(path: str | Path) -> tuple[Path, Path]:
    """Absolute path without and with symbolic links resolved."""
    path = Path(path)
    return Path(os.path.abspath(path)), path.resolve()  # noqa: PTH100, resolve() follows links
