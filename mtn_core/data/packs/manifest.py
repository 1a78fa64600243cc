"""What a pack says about itself, and whether the files it was made of are still the same."""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtn_core.data.layout import MapKind, find_map_folder, label_path
from mtn_core.data.workers import num_workers_for
from mtn_core.errors import DataError
from mtn_core.files import sha256_of, write_json

if TYPE_CHECKING:
    from mtn_core.data.split import Split

PACK_VERSION = 2
MANIFEST_NAME = "manifest.json"
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
        path = folder / MANIFEST_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["version"] != PACK_VERSION:
                return cls(int(values["version"]), "", "", 0, "", "", None, None, ())
            shards = tuple(Shard(**shard) for shard in values.pop("shards"))
            return cls(**values, shards=shards)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"pack {folder} is damaged: {MANIFEST_NAME} cannot be read ({error}); "
                "delete the folder or run mtn pack --overwrite"
            ) from error


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
