"""Hashes of a table's files: LanceDB has none, and answers from a changed file as if it were whole.

Of 40 data files with one flipped bit each LanceDB read 34 without an error, and answered wrongly
from two. Files of the table are written once and never changed, so one hash each is enough. It is
taken when a batch has been committed.
"""

import contextlib
import json
from pathlib import Path

from mtn_core.errors import DataError, first_line, first_offenders
from mtn_core.files import sha256_of, write_json

_NAME = "checksums.json"
_HINT = "latest_version_hint.json"  # written anew by each commit, and only a hint
_JOINING = "joining"  # while files are joined and old ones removed, also by a killed process
_REMEDY = "put back a copy of the folder, or make the gallery anew with `mtn embed` from the images"


class Checksums:
    """Sizes and hashes of the files below a table's folder.

    Args:
        folder: Of the gallery; ``checksums.json`` lies in it.
        table: Name of the table's folder in it.
    """

    def __init__(self, folder: Path, table: str):
        self._folder, self._table = folder, folder / table
        self.path = folder / _NAME

    def update(self, *, joining: bool = False) -> None:
        """Add files that are new, forget those that are gone.

        Args:
            joining: Old files are about to be removed; until the next update none is missed.
        """
        old, was_joining = self._read() if self.path.is_file() else ({}, False)
        present = sorted(path for path in self._table.rglob("*") if self._counts(path))
        new = {}
        for path in present:
            name = path.relative_to(self._folder).as_posix()
            with contextlib.suppress(FileNotFoundError):
                new[name] = old.get(name) or [path.stat().st_size, sha256_of(path)]
        if new != old or joining != was_joining:
            write_json(self.path, {"files": new, _JOINING: joining})

    def check(self, *, up_to: int | None = None) -> int:
        """See that every file is there, as long as it was, and has its hash.

        Args:
            up_to: Of how many bytes in all the hashes are looked at; beyond, sizes must do.

        Returns:
            Number of files.

        Raises:
            DataError: A file is missing or changed.
        """
        files, joining = self._read()
        for name, (size, _) in files.items():
            path = self._folder / name
            found = path.stat().st_size if path.is_file() else None
            if found == size or (found is None and (joining or self._is_forgotten(name))):
                continue
            what = "is missing" if found is None else f"has {found} bytes, expected {size}"
            raise DataError(f"{path} {what}: the gallery is damaged; {_REMEDY}")
        if up_to is not None and sum(size for size, _ in files.values()) > up_to:
            return len(files)
        changed = [name for name, (_, sha) in files.items() if self._hash(name) not in (sha, None)]
        if changed:
            raise DataError(
                f"{first_offenders([str(self._folder / name) for name in changed])} changed since "
                f"written (SHA-256 differs): the gallery is damaged; {_REMEDY}"
            )
        return len(files)

    def _counts(self, path: Path) -> bool:
        """Whether answers depend on it; transactions are for writers that have raced."""
        return path.is_file() and path.name != _HINT and path.parent.name != "_transactions"

    def _is_forgotten(self, name: str) -> bool:
        """Whether a writer has removed the file since the list was read."""
        files, joining = self._read()
        return joining or name not in files

    def _hash(self, name: str) -> str | None:
        try:
            return sha256_of(self._folder / name)
        except FileNotFoundError:  # removed meanwhile
            return None

    def _read(self) -> tuple[dict[str, list], bool]:
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            return dict(values["files"]), bool(values[_JOINING])
        except FileNotFoundError:
            raise DataError(f"{self.path} does not exist; {_REMEDY}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.path} is damaged ({first_line(error)}); {_REMEDY}") from error
