"""The work folder of a split while its maps are made, and what is left when they are."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtn_core.data.labels import write_labels
from mtn_core.data.layout import MAP_KINDS, label_path
from mtn_core.data.pose_maps import encode_maps, map_folder_name, write_map_files
from mtn_core.data.split import Split
from mtn_core.errors import DataError
from mtn_core.files import atomic_path, sha256_of, write_json, write_npz
from mtn_core.vehicle import NUM_KEYPOINTS

_STATE_FILE = "state.json"
_VERSION = 1
logger = logging.getLogger(__name__)


def work_folder(split: Split) -> Path:
    """Where the maps of a split are made: ``veri/.trans_train`` and the like."""
    return split.root / "veri" / f".trans_{split.name}"


def done_file(split: Split) -> Path:
    """``veri/trans_train.json`` and the like: what wrote the maps that are there."""
    return split.root / "veri" / f"trans_{split.name}.json"


def is_own_output(split: Split) -> bool:
    """Whether the split's labels are still those that this command wrote."""
    done = _read_json(done_file(split))
    path = label_path(split.root, split.name)
    return done is not None and done.get("labels_sha256") == sha256_of(path)


def read_done(split: Split, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of finished maps of this very model and options, where they are all there."""
    done = _read_json(done_file(split))
    if not done or done.get("key") != dict(key) or not is_own_output(split):
        return None
    if key.get("pack"):
        from mtn_core.data.packs.manifest import MANIFEST_NAME, pack_folder

        present = (pack_folder(split.root, split.name) / MANIFEST_NAME).is_file()
    else:
        present = all(split.folder(kind).is_dir() for kind in MAP_KINDS)
    return done if present and not work_folder(split).is_dir() else None


class MapStore:
    """Collects the maps and keypoints of a split and puts them in place when all are there.

    Args:
        split: The split.
        key: Model and options; a work folder of another key is not used.
        pack: Write a pack in place of JPEG files.
    """

    def __init__(self, split: Split, key: Mapping[str, Any], *, pack: bool):
        self.split = split
        self.pack = pack
        self.folder = work_folder(split)
        self._names = split.frame["name"].tolist()
        self._state: dict[str, Any] = {
            "version": _VERSION,
            "key": dict(key),
            "names": _names_digest(self._names),
            "stage": "predicting",
        }

    def open(self) -> list[str]:
        """Take up an interrupted call's work, or begin; lines that say which."""
        state = _read_json(self.folder / _STATE_FILE)
        lines = []
        if self.folder.exists():
            reason = self._why_unusable(state)
            if reason is None and state is not None:
                self._state = state
                return [f"going on after {len(self.done_rows())} of {len(self.split)} images"]
            lines.append(f"{reason}: starting afresh")
            shutil.rmtree(self.folder)
        for kind in MAP_KINDS:
            (self.folder / kind).mkdir(parents=True)
        write_json(self.folder / _STATE_FILE, self._state)
        return lines

    def done_rows(self) -> np.ndarray:
        """``(D,) int64``: rows whose maps and keypoints are complete."""
        parts = [self._load(path)[0] for path in self._batches()]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def write(self, row: int, heatmaps: np.ndarray, segments: np.ndarray) -> None:
        """Write one image's maps; safe to call from several threads.

        Args:
            row: Row of the split.
            heatmaps: ``(36, 64, 64) uint8``.
            segments: ``(13, 64, 64) uint8``.
        """
        for kind, maps in zip(MAP_KINDS, (heatmaps, segments), strict=True):
            if self.pack:
                from mtn_core.data.packs.write import compress_maps

                self._packed_file(kind, row).write_bytes(compress_maps(_as_read(maps)))
            else:
                folder = self.folder / kind / map_folder_name(self._names[row])
                folder.mkdir(exist_ok=True)
                write_map_files(folder, maps)

    def commit(self, rows: np.ndarray, keypoints: np.ndarray) -> None:
        """Record that the maps of these rows are complete, with their keypoints."""
        path = self.folder / f"batch-{int(rows[0]):07d}.npz"
        write_npz(path, {"rows": rows.astype(np.int64), "keypoints": keypoints})

    def finish(self, *, progress: bool = True) -> None:
        """Put labels and maps in place; a call that is interrupted here is finished by the next.

        Raises:
            DataError: Rows are missing.
        """
        path = label_path(self.split.root, self.split.name)
        if self._state["stage"] == "predicting":
            keypoints = self._collect()
            write_labels(self.folder / "labels.csv", self.split.frame, keypoints)
            # From here on the label file may be old or new; which one is told by its hash.
            self._state = {
                **self._state,
                "stage": "placing",
                "former_labels": sha256_of(path),
                "labels_sha256": sha256_of(self.folder / "labels.csv"),
            }
            write_json(self.folder / _STATE_FILE, self._state)
        if sha256_of(path) != self._state["labels_sha256"]:
            if not is_own_output(self.split):
                _keep_former_labels(path)
            with atomic_path(path) as temporary:
                shutil.copyfile(self.folder / "labels.csv", temporary)
        if self.pack:
            self._place_pack(progress)
        else:
            self._place_folders()
        done = {
            "key": self._state["key"],
            "labels_sha256": self._state["labels_sha256"],
            "images": len(self.split),
        }
        write_json(done_file(self.split), done)
        shutil.rmtree(self.folder)

    def _why_unusable(self, state: dict[str, Any] | None) -> str | None:
        if not state or state.get("version") != _VERSION:
            return "an interrupted call left work that cannot be read"
        if state["key"] != self._state["key"]:
            return "an interrupted call used another model or other options"
        if state["names"] != self._state["names"]:
            return "the label file lists other images than when a call was interrupted"
        return None

    def _batches(self) -> list[Path]:
        return sorted(self.folder.glob("batch-*.npz"))

    def _load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        with np.load(path) as arrays:
            return arrays["rows"], arrays["keypoints"]

    def _collect(self) -> np.ndarray:
        keypoints = np.full((len(self.split), NUM_KEYPOINTS, 3), np.nan, np.float32)
        for path in self._batches():
            rows, values = self._load(path)
            keypoints[rows] = values
        missing = np.flatnonzero(np.isnan(keypoints).any(axis=(1, 2)))
        if len(missing):
            raise DataError(f"{self.folder} lacks the keypoints of {len(missing)} images")
        return keypoints

    def _packed_file(self, kind: str, row: int) -> Path:
        return self.folder / kind / f"{row:07d}.zst"

    def _place_folders(self) -> None:
        for kind in MAP_KINDS:
            new, final = self.folder / kind, self.split.folder(kind)
            if not new.is_dir():
                continue  # placed before an interruption
            if final.exists():
                final.rename(self.folder / f"former_{kind}")
            new.rename(final)

    def _place_pack(self, progress: bool) -> None:
        from mtn_core.data.packs.write import pack_split
        from mtn_core.data.split import load_split

        for kind in MAP_KINDS:
            final = self.split.folder(kind)
            if final.exists():
                # Maps of another origin beside the new labels would be taken for these.
                final.rename(self.folder / f"former_{kind}")
        split = load_split(self.split.root, self.split.name)
        pack_split(
            split,
            packed_maps=lambda kind, row: self._packed_file(kind, row).read_bytes(),
            progress=progress,
        )


def _as_read(maps: np.ndarray) -> np.ndarray:
    """Maps as they come back from JPEG files, so that a pack and folders hold the same values."""
    from mtn_core.data.images import decode_map

    return np.stack([decode_map(data, "a map") for data in encode_maps(maps)])


def _keep_former_labels(path: Path) -> None:
    """Copy a label file that this command did not write to ``label_S.before_trans.csv``."""
    digest = sha256_of(path)
    number = 1
    while True:
        suffix = "" if number == 1 else f".{number}"
        kept = path.with_name(f"{path.stem}.before_trans{suffix}.csv")
        if not kept.exists():
            with atomic_path(kept) as temporary:
                shutil.copyfile(path, temporary)
            return
        if sha256_of(kept) == digest:
            return
        number += 1


def _names_digest(names: list[str]) -> str:
    import hashlib

    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
