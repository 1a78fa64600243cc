"""Hashes of a table's files: LanceDB has none, and answers from a changed file as if it were whole.

Files of the table are written once and never changed, so one hash each is enough. It is taken when
a batch has been committed.
"""

import contextlib
import json
from pathlib import Path

from mtn_core.errors import DataError, first_line, first_offenders
from mtn_core.files import sha256_of, write_json

_NAME = "checksums.json"
_HINT = "latest_version_hint.json"  # written anew by each commit, and only a hint
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

    def update(self) -> None:
        """Add files that are new, forget those that are gone."""
        old = self._read() if self.path.is_file() else {}
        present = sorted(
            path for path in self._table.rglob("*") if path.is_file() and path.name != _HINT
        )
        new = {}
        for path in present:
            name = path.relative_to(self._folder).as_posix()
            with contextlib.suppress(FileNotFoundError):  # what another process is still writing
                new[name] = old.get(name) or [path.stat().st_size, sha256_of(path)]
        if new != old:
            write_json(self.path, new)

    def check_sizes(self) -> None:
        """See that every file is there and as long as it was.

        Raises:
            DataError: One is not.
        """
        for name, (size, _) in self._read().items():
            path = self._folder / name
            found = path.stat().st_size if path.is_file() else None
            if found != size and (found is not None or name in self._read()):
                what = "is missing" if found is None else f"has {found} bytes, expected {size}"
                raise DataError(f"{path} {what}: the gallery is damaged; {_REMEDY}")

    def verify(self) -> int:
        """Read every file and compare it with its hash.

        Returns:
            Number of files.

        Raises:
            DataError: One is missing or changed.
        """
        self.check_sizes()
        saved = self._read()
        changed = [name for name, (_, sha) in saved.items() if self._hash(name) not in (sha, None)]
        if changed:
            raise DataError(
                f"{first_offenders([str(self._folder / name) for name in changed])} changed since "
                f"written (SHA-256 differs): the gallery is damaged; {_REMEDY}"
            )
        return len(saved)

    def _hash(self, name: str) -> str | None:
        try:
            return sha256_of(self._folder / name)
        except FileNotFoundError:  # joined with others meanwhile
            return None

    def _read(self) -> dict[str, list]:
        try:
            return dict(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise DataError(f"{self.path} does not exist; {_REMEDY}") from None
        except ValueError as error:
            raise DataError(f"{self.path} is damaged ({first_line(error)}); {_REMEDY}") from error
