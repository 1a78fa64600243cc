"""Files that appear whole or not at all: a temporary name in the same folder, then a rename."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mtn_core.errors import DiskError, RunFolderError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_HIDDEN = ".mtn-partial-"
_REPLACED = "replaced"
_COMPLETE = "complete"
_SETTLED_SECONDS = 5.0


def refuse_existing(
    path: str | Path, *, overwrite: bool, what: str = "files", remedy: str = "--out"
) -> None:
    """Refuse to write where something is already, unless it may be replaced.

    Args:
        path: File, or folder; an empty folder counts as nothing.
        overwrite: Whether what is there may be replaced.
        what: What it holds, for the message.
        remedy: The flag that names another place.

    Raises:
        RunFolderError: Something is there.
    """
    path = Path(path)
    there = path.exists() or path.is_symlink()  # also a link to nothing
    if overwrite or not there or (path.is_dir() and not any(path.iterdir())):
        return
    holds = f"already holds {what}" if path.is_dir() else "exists already"
    raise RunFolderError(f"{path} {holds}; choose another {remedy} or {say_overwrite()}")


def say_overwrite() -> str:
    """How a person allows a replacement: by a flag, or in a notebook by a parameter."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return "add --overwrite"
    return "set `overwrite = True` among the notebook's parameters (`mtn workbook`: --overwrite)"


def why_no_file(path: Path) -> str:
    """Why there is no file to read, for a message that begins with the path."""
    if path.is_dir():
        return "is a folder"
    if path.exists():
        return "is not a regular file"
    return "is a link that leads nowhere" if path.is_symlink() else "does not exist"


def why_no_folder(path: Path) -> str:
    """Why there is no folder to read, for a message that begins with the path."""
    if path.exists():
        return "is no folder"
    return "is a link that leads nowhere" if path.is_symlink() else "does not exist"


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` when the block has written it and succeeds.

    It lies in a hidden folder beside ``path``, which a killed process leaves and the next write of
    anything in the same place removes. The suffix is kept, because some writers choose the format
    by it. When the block raises, ``path`` is what it was before.

    Raises:
        RunFolderError: ``path`` is a folder, or what it is to lie in is none.
        DiskError: The disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise RunFolderError(f"{path} is a folder, but a file is to be written; name one in it")
    begun = False
    with _parents(path):
        recover_folder(path.parent)
        try:
            with hidden_folder(path) as folder:
                temporary = folder / f"new{path.suffix}"
                begun = True
                yield temporary
                temporary.chmod(0o666 & ~_umask())  # some writers make private or read-only files
                os.replace(temporary, path)
        except OSError as error:
            if error.errno in _FULL or (not begun and error.errno in _FORBIDDEN):
                raise _disk_error(
                    f"cannot write {path}: {error.strerror}; what was there is unchanged", path
                ) from error
            if not begun and error.strerror:
                raise type(error)(error.errno, error.strerror, str(path)) from error
            raise


@contextlib.contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` when the block succeeds.

    A folder that is there is renamed aside first and deleted last, so that at every moment one of
    the two is whole. What a killed process has left of its own writing here is removed, or put
    back where it was killed between the two renames.

    Raises:
        RunFolderError: ``path`` is not empty, and ``overwrite`` is false; or what it is to lie in
            is no folder.
    """
    path = Path(path)
    recover_folder(path.parent)
    refuse_existing(path, overwrite=overwrite, remedy="folder")
    with _parents(path), explain_full_disk(path), hidden_folder(path) as temporary:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _replace_folder(temporary, path)


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; when the block succeeds, rename it to ``path``.

    Nothing is ever replaced: of several processes that make the same folder at once, one succeeds.

    Raises:
        RunFolderError: Something is there, or has come meanwhile.
    """
    path = Path(path)
    recover_folder(path.parent)
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        holds = "already holds files" if path.is_dir() else "exists already"
        raise RunFolderError(f"{path} {holds}; choose another folder")
    with _parents(path), explain_full_disk(path), hidden_folder(path) as hidden:
        temporary = hidden / "new"
        temporary.mkdir()
        yield temporary
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise RunFolderError(f"{path} has been made by another process meanwhile") from error


@contextlib.contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above ``path``; where the block raises, those made for nothing go."""
    missing = [folder for folder in path.parents if not folder.exists()]
    _make_parent(path)
    try:
        yield
    except BaseException:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _replace_folder(new: Path, path: Path) -> None:
    """Put the folder ``new`` in the place of ``path``, which may hold something."""
    with contextlib.ExitStack() as stack:
        aside = None
        if path.exists() or path.is_symlink():
            aside = stack.enter_context(hidden_folder(path)) / _REPLACED
            os.replace(path, aside)
        try:
            os.replace(new, path)
        except OSError:
            if aside is not None:
                os.replace(aside, path)
            raise


@contextlib.contextmanager
def hidden_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path``, locked while this process lives, and removed after the block.

    :func:`recover_folder` removes what a killed process has left of it.
    """
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}{_HIDDEN}", dir=path.parent))
    try:
        with _lock_folder(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock_folder(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether the folder could be locked; the system drops the lock of a process that dies."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another has it, or the file system has no locks: then nothing is removed
        yield False
    else:
        yield True
    finally:
        os.close(handle)


def recover_folder(place: Path, *, settled_seconds: float | None = None) -> None:
    """Remove what killed writes left in ``place``, or put back what they put aside, or complete it.

    What a living process writes is left alone.

    Args:
        place: Where :func:`atomic_path` or :func:`atomic_folder` wrote; need not exist.
        settled_seconds: Age from which something is removed, by default a few seconds: what was
            made this moment may not have its lock yet.
    """
    youngest = _SETTLED_SECONDS if settled_seconds is None else settled_seconds
    for folder in sorted(place.glob(f".*{_HIDDEN}{'[a-z0-9_]' * 8}")):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            complete = (folder / _COMPLETE).exists()
            if not complete and time.time() - folder.lstat().st_mtime < youngest:
                continue
            with _lock_folder(folder) as locked:
                if not locked:
                    continue
                path = place / folder.name[1:].rpartition(_HIDDEN)[0]
                if (folder / _REPLACED).exists() and not path.exists():
                    os.replace(folder / _REPLACED, path)
                if complete:
                    _move_complete(folder, path)
                shutil.rmtree(folder, ignore_errors=True)


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        (wrong, *_) = [p for p in path.parents if p.is_symlink() or p.exists()]
        raise RunFolderError(
            f"{wrong} is not a folder, so {path} cannot be written; choose another place"
        ) from None


def move_together(hidden: Path, path: Path, check: Callable[[], None]) -> None:
    """Move the files of a hidden folder to where it lies, beside what else is there.

    Two that do so at once do it one after the other, and what a killed one has begun is completed
    by :func:`recover_folder`.

    Args:
        hidden: From ``hidden_folder(path)``.
        path: One of the files, which comes last: where it is, the others are, too.
        check: Called when nobody else can be moving; raises where the files are not to be replaced.
    """
    with _lock_folder(path.parent, wait=True):
        recover_folder(path.parent)
        check()
        (hidden / _COMPLETE).touch()
        _move_complete(hidden, path)


def _move_complete(hidden: Path, path: Path) -> None:
    files = [file for file in hidden.iterdir() if file.name != _COMPLETE]
    for file in sorted(files, key=lambda file: file.name == path.name):
        os.replace(file, path.parent / file.name)


def remove(path: Path) -> None:
    """Delete a file or a folder, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON; not-a-number is refused rather than written."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_npz(path: str | Path, arrays: dict[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write arrays as ``numpy.savez`` does, whole or not at all.

    NumPy leaves its archive open when the disk is full, and Python then prints a traceback.
    """
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", kind) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def explain_full_disk(folder: str | Path) -> Iterator[None]:
    """Name the folder when writing into it fails for want of space or permission.

    An error that names another place, outside of the folder, is left as it is.

    Raises:
        DiskError: In place of the bare OSError, or of one that names a file below a temporary name.
    """
    folder = Path(folder)
    try:
        yield
    except OSError as failed:
        error = failed.__cause__ if isinstance(failed, DiskError) else failed
        name = failed.place if isinstance(failed, DiskError) else failed.filename
        place = Path(os.fsdecode(name)) if isinstance(name, str | bytes | Path) else None
        elsewhere = place is not None and not _is_of(place, folder)
        if elsewhere or not isinstance(error, OSError) or error.errno not in _FULL + _FORBIDDEN:
            raise
        raise _disk_error(
            f"cannot write to {folder}: {error.strerror}; nothing was left half-written", folder
        ) from error


def _is_of(place: Path, folder: Path) -> bool:
    """Whether a place is in a folder, or in what :func:`atomic_folder` will put there."""
    hidden = f".{folder.name}{_HIDDEN}"
    above = [place, *place.absolute().parents]
    return folder.absolute() in above or any(
        path.name.startswith(hidden) and path.parent.absolute() == folder.parent.absolute()
        for path in above
    )


def _disk_error(what: str, place: Path) -> DiskError:
    error = DiskError(f"{what}. Free space, or choose a folder on another disk")
    error.place = place
    return error


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
