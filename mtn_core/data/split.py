"""A split of a data set in the VeRi layout: where its files are and what its labels say."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.data.labels import load_labels
from mtn_core.data.layout import SPLITS, Kind, find_map_folder, label_path, split_folder
from mtn_core.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Split:
    """One of the three splits; ``test`` is the gallery. Or some of its rows, or several joined.

    Attributes:
        root: The folder that holds ``veri/``; of joined splits the first one's.
        name: ``train``, ``query`` or ``test``.
        frame: ``name, pid, camid, color_id, type_id``, a row an image; ids as in the file, -1 for
            an unknown colour or type, camera 0 for an unknown camera.
        keypoints: ``(N, 36, 3) float32``, read-only, in pixels of the crop, as in the file.
        whole: The splits, as loaded, that the rows come from; empty where that is this one.
        origin: ``(N, 2) int64``: number in ``whole``, and row there.
    """

    root: Path
    name: str
    frame: pd.DataFrame
    keypoints: np.ndarray
    whole: tuple["Split", ...] = ()
    origin: np.ndarray | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def _names(self) -> list[str]:
        return self.frame["name"].tolist()

    @cached_property
    def has_keypoints(self) -> bool:
        """Whether any keypoint has a confidence above 0."""
        return bool((self.keypoints[..., 2] > 0).any())

    @cached_property
    def parts(self) -> tuple["Split", ...]:
        """The splits, as loaded, that the rows come from."""
        return self.whole or (self,)

    @cached_property
    def part_index(self) -> np.ndarray:
        """``(N, 2) int64``: part, and row in that part, of every row."""
        if self.origin is not None:
            return self.origin
        rows = np.arange(len(self))
        return np.stack([np.zeros_like(rows), rows], axis=1)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Hex SHA-256 of the labels, by what they say, to tell whether they changed."""
        frame = self.frame
        values = {
            "image names": "\n".join(self._names).encode(),
            "vehicle ids": frame["pid"].to_numpy("<i8").tobytes(),
            "colours and types": frame[["color_id", "type_id"]].to_numpy("<i8").tobytes(),
            "keypoints": np.ascontiguousarray(self.keypoints, "<f4").tobytes(),
        }
        return {what: hashlib.sha256(data).hexdigest() for what, data in values.items()}

    def take(self, rows: Sequence[int] | np.ndarray) -> "Split":
        """Some of the rows, in the order given.

        Args:
            rows: ``(M,)`` integers below ``len(self)``, or ``(N,)`` booleans.
        """
        rows = np.asarray(rows)
        rows = rows if rows.size else rows.astype(np.int64)  # an empty list is one of floats
        frame = self.frame.iloc[rows].reset_index(drop=True)
        keypoints = np.ascontiguousarray(self.keypoints[rows])
        keypoints.setflags(write=False)
        return Split(self.root, self.name, frame, keypoints, self.parts, self.part_index[rows])

    @staticmethod
    def join(splits: Sequence["Split"]) -> "Split":
        """Several splits as one, as PAMTRI mixes real and synthetic vehicles; ids never collide.

        The first keeps its ids; those of every further one are raised above all before it. Camera
        numbers are kept: an id stands in one of them only, so they need not differ between them.

        Args:
            splits: Of the same name, from different roots; one is returned as it is.

        Raises:
            ConfigError: None, names that differ, or a root twice.
        """
        if not splits:
            raise ConfigError("joining needs at least one split")
        names = {split.name for split in splits}
        if len(names) > 1:
            raise ConfigError(f"splits to join must have one name; got {', '.join(sorted(names))}")
        roots = [part.root.resolve() for split in splits for part in split.parts]
        if len(set(roots)) < len(roots):
            raise ConfigError(f"--root is given twice: {', '.join(str(s.root) for s in splits)}")
        if len(splits) == 1:
            return splits[0]
        frames, origins = [], []
        above = num_parts = 0
        for split in splits:
            frames.append(split.frame.assign(pid=split.frame["pid"] + above))
            above = int(frames[-1]["pid"].max()) + 1
            origins.append(split.part_index + [num_parts, 0])
            num_parts += len(split.parts)
        keypoints = np.concatenate([split.keypoints for split in splits])
        keypoints.setflags(write=False)
        return Split(
            splits[0].root,
            splits[0].name,
            pd.concat(frames, ignore_index=True),
            keypoints,
            tuple(part for split in splits for part in split.parts),
            np.concatenate(origins),
        )

    def folder(self, kind: Kind) -> Path:
        """The folder of images or of maps.

        Raises:
            DataError: Of joined splits: each of the ``parts`` has its own.
        """
        if len(self.parts) > 1:
            raise DataError(f"a joined split has one {kind} folder a part; use its `parts`")
        return split_folder(self.root, kind, self.name)

    def image_path(self, row: int) -> Path:
        """Image file of a row."""
        return self._folder_of(row, "image") / self._names[row]

    def heatmap_dir(self, row: int) -> Path:
        """Folder that holds the 36 heatmaps of a row."""
        return find_map_folder(self._folder_of(row, "heatmap"), self._names[row])

    def segment_dir(self, row: int) -> Path:
        """Folder that holds the 13 segments of a row."""
        return find_map_folder(self._folder_of(row, "segment"), self._names[row])

    def _folder_of(self, row: int, kind: Kind) -> Path:
        part = self.parts[self.part_index[row, 0]]
        return split_folder(part.root, kind, part.name)


def load_split(root: str | Path, name: str) -> Split:
    """Load the labels of a split and check that its folder is there.

    Args:
        root: The folder that holds ``veri/``.
        name: ``train``, ``query`` or ``test``.

    Raises:
        DataError: Folder or label file missing, rows wrong, or no rows at all.
    """
    if name not in SPLITS:
        raise DataError(f"`name` must be one of {', '.join(SPLITS)}; got {name!r}")
    root = Path(root)
    for folder in (root / "veri", split_folder(root, "image", name)):
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "is missing"
            raise DataError(
                f"folder {folder} {what}; --root must be the folder that holds veri/ "
                "(mtn synth writes one, mtn prepare makes one of any folder of crops)"
            )
    path = label_path(root, name)
    frame, keypoints = load_labels(path)
    if frame.empty:
        raise DataError(f"split {name!r} is empty: {path} has no rows")
    return Split(root, name, frame, keypoints)


def find_labelled(image: Path) -> Split | None:
    """The split of one image, when it lies in a data set in the VeRi layout and has a label."""
    image = image.resolve()
    if len(image.parents) < 3:
        return None
    root = image.parents[2]
    for name in SPLITS:
        if image.parent != split_folder(root, "image", name):
            continue
        try:
            split = load_split(root, name)
        except DataError:
            return None
        rows = np.flatnonzero((split.frame["name"] == image.name).to_numpy())
        return split.take(rows[:1]) if len(rows) else None
    return None


def row_repeats(split: Split, weights: Sequence[float] | None) -> np.ndarray | None:
    """How often each row is to come in an epoch, from a weight for each root.

    Args:
        split: The training split.
        weights: One a root: 1 shows its images once an epoch, 0.5 a random half of them, 2 each
            twice. None is 1 for all.

    Returns:
        ``(N,) float64``, or None for once each.

    Raises:
        ConfigError: Not one weight a root, or a weight that is not above 0.
    """
    if weights is None:
        return None
    if len(weights) != len(split.parts):
        raise ConfigError(
            f"data.weights must have one value a --root: {len(split.parts)} roots, "
            f"got {len(weights)} weights"
        )
    if not all(np.isfinite(w) and w > 0 for w in weights):
        raise ConfigError(f"data.weights must be above 0; got {list(weights)}")
    return np.asarray(weights, np.float64)[split.part_index[:, 0]]
