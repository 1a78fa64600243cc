"""A split of a data set in the VeRi layout: where its files are and what its labels say."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mtn_core.data.check import CheckReport, Problem, check_dataset, check_needed_files
from mtn_core.data.labels import load_labels, write_labels
from mtn_core.data.layout import SPLITS, find_map_folder, label_path, split_folder
from mtn_core.errors import DataError

__all__ = [
    "SPLITS",
    "CheckReport",
    "Problem",
    "Split",
    "check_dataset",
    "check_needed_files",
    "load_labels",
    "load_split",
    "write_labels",
]


@dataclass(frozen=True, eq=False)
class Split:
    """One of the three splits; ``test`` is the gallery.

    Attributes:
        root: The folder that holds ``veri/``.
        name: ``train``, ``query`` or ``test``.
        frame: ``name, pid, camid, color_id, type_id``, a row an image; ids as in the file, -1 for
            an unknown colour or type, camera 0 for an unknown camera.
        keypoints: ``(N, 36, 3) float32``, read-only, in pixels of the crop, as in the file.
    """

    root: Path
    name: str
    frame: pd.DataFrame
    keypoints: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def _names(self) -> list[str]:
        return self.frame["name"].tolist()

    @cached_property
    def has_keypoints(self) -> bool:
        """Whether any keypoint has a confidence above 0."""
        return bool((self.keypoints[..., 2] > 0).any())

    def folder(self, kind: Literal["image", "heatmap", "segment"]) -> Path:
        """The split's folder of images or of maps."""
        return split_folder(self.root, kind, self.name)

    def image_path(self, row: int) -> Path:
        """Image file of a row."""
        return self.folder("image") / self._names[row]

    def heatmap_dir(self, row: int) -> Path:
        """Folder that holds the 36 heatmaps of a row."""
        return find_map_folder(self.folder("heatmap"), self._names[row])

    def segment_dir(self, row: int) -> Path:
        """Folder that holds the 13 segments of a row."""
        return find_map_folder(self.folder("segment"), self._names[row])

    @cached_property
    def parts(self) -> tuple["Split", ...]:
        """The splits this one is made of: itself."""
        return (self,)

    @cached_property
    def part_index(self) -> np.ndarray:
        """``(N, 2) int64``: part and row in that part of every row."""
        rows = np.arange(len(self))
        return np.stack([np.zeros_like(rows), rows], axis=1)


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
            raise DataError(
                f"folder {folder} is missing; --root must be the folder that holds veri/ "
                "(mtn synth writes one, mtn prepare makes one of any folder of crops)"
            )
    path = label_path(root, name)
    frame, keypoints = load_labels(path)
    if frame.empty:
        raise DataError(f"split {name!r} is empty: {path} has no rows")
    return Split(root, name, frame, keypoints)
