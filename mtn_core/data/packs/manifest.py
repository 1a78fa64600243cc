"""What a pack says about itself, and whether the files it was made of are still the same."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtn_core.data.layout import MapKind, find_map_folder, label_path
from mtn_core.data.workers import num_workers_for
from mtn_core.errors import DataError, first_line
from mtn_core.files import sha256_of, write_json

if TYPE_CHECKING:
    from mtn_core.data.split import Split

PACK_VERSION = 2
MANIFEST_NAME = "manifest.json"
_SHARD_NAME = re.compile(r"shard-[0-9]+\.mindrecord")
# Columns whose name ends so hold the maps enlarged for the random translation.
ENLARGED_SUFFIX = "_enlarged"


@dataclass(frozen=True)
class Shard:
    """One MindRecord file: its name, how many rows it holds, its size and its index file's.

    The hashes are SHA-256 of both files: MindRecord's own reader ends the process on damaged ones.
    """

    name: str
    rows: int
    num_bytes: int
    index_bytes: int
    sha256: str
    index_sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a pack holds and of what it was made.

    Attributes:
        version: Of the pack's format.
        opencv: Release of OpenCV that decoded and enlarged the maps.
        split: ``train``, ``query`` or ``test``.
        rows: Samples.
        labels: SHA-256 of the label file.
        images: :func:`fingerprint` of the image files.
        heatmaps: Fingerprint of the heatmap files, None where the pack has no heatmaps.
        segments: Likewise for segments.
        shards: The files, in the order of the rows.
    """

    version: int
    opencv: str
    split: str
    rows: int
    labels: str
    images: str
    heatmaps: str | None
    segments: str | None
    shards: tuple[Shard, ...]

    def save(self, folder: Path) -> None:
        """Write ``manifest.json``."""
        write_json(folder / MANIFEST_NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read ``manifest.json``; of another version only ``version`` can be relied on.

        Raises:
            DataError: The file is damaged.
        """
        values = cls._read(folder / MANIFEST_NAME)
        try:
            if values["version"] != PACK_VERSION:
                return cls(int(values["version"]), "", "", 0, "", "", None, None, ())
            shards = tuple(Shard(**shard) for shard in values.pop("shards"))
            manifest = cls(**values, shards=shards)
            sound = manifest._is_sound()
        except (KeyError, TypeError, AttributeError, ValueError):
            sound = False
        if not sound:
            raise DataError(_damaged(folder, "cannot be read (it does not describe a pack)"))
        return manifest

    @staticmethod
    def _read(path: Path) -> Any:
        if not path.is_file():  # a named pipe would be waited for
            raise DataError(_damaged(path.parent, "cannot be read (no regular file)"))
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(
                _damaged(path.parent, f"cannot be read ({first_line(error)})")
            ) from error

    def _is_sound(self) -> bool:
        """Whether the shards can be what was written: names of files here, all rows, each once."""
        names = [shard.name for shard in self.shards]
        return (
            all(_SHARD_NAME.fullmatch(name) for name in names)
            and len(set(names)) == len(names) > 0
            and sum(shard.rows for shard in self.shards) == self.rows
        )


def _damaged(folder: Path, how: str) -> str:
    return (
        f"pack {folder} is damaged: {MANIFEST_NAME} {how}; delete the folder or run "
        "mtn pack --overwrite"
    )


def pack_folder(root: str | Path, split: str) -> Path:
    """``ROOT/veri/pack_train`` and the like."""
    return Path(root) / "veri" / f"pack_{split}"


def labels_fingerprint(split: "Split") -> str:
    """SHA-256 of the split's label file."""
    return sha256_of(label_path(split.root, split.name))


def image_fingerprint(split: "Split") -> str:
    """Fingerprint of the split's image files: names, sizes and times of change."""
    folder = split.folder("image")
    return _digest(_state(folder / name) for name in split.frame["name"])


def map_fingerprint(split: "Split", kind: MapKind) -> str:
    """Fingerprint of the split's ``heatmap`` or ``segment`` files."""
    folder = split.folder(kind)

    def states(name: str) -> str:
        maps = find_map_folder(folder, name)
        try:
            with os.scandir(maps) as entries:
                return "\n".join(sorted(_entry_state(entry) for entry in entries))
        except FileNotFoundError:
            return f"{name} missing"

    with ThreadPoolExecutor(num_workers_for(None)) as pool:
        return _digest(pool.map(states, split.frame["name"]))


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"{path.name} missing"
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"


def _entry_state(entry: os.DirEntry) -> str:
    status = entry.stat()
    return f"{entry.name} {status.st_size} {status.st_mtime_ns}"


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()
