"""Several data sets trained as one, as PAMTRI mixes real and synthetic vehicles."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mtn_core.data.split import Split, load_split
from mtn_core.errors import ConfigError, DataError


class MixedSplit:
    """Splits of several roots, read as one; vehicle ids never collide.

    The first part keeps its ids; those of every further part are raised above all before it. Camera
    numbers are kept: an id stands in one part only, so they need not differ between parts.

    Args:
        parts: The splits, of the same name.

    Attributes:
        frame: As in :class:`Split`, with ids as raised and a further column ``part``.
        keypoints: As in :class:`Split`.
        pid_offsets: What was added to the ids of each part.
    """

    def __init__(self, parts: Sequence[Split]):
        if not parts:
            raise ConfigError("mixing needs at least one split")
        names = {part.name for part in parts}
        if len(names) > 1:
            raise ConfigError(f"splits to mix must have one name; got {sorted(names)}")
        roots = [part.root.resolve() for part in parts]
        if len(set(roots)) < len(roots):
            raise ConfigError(f"--root is given twice: {[str(part.root) for part in parts]}")
        self.parts = tuple(parts)
        self.name = parts[0].name
        self.root = parts[0].root
        offsets = [0]
        for part in parts[:-1]:
            offsets.append(offsets[-1] + int(part.frame["pid"].max()) + 1)
        self.pid_offsets = tuple(offsets)
        frames = [
            part.frame.assign(pid=part.frame["pid"] + offset, part=number)
            for number, (part, offset) in enumerate(zip(parts, offsets, strict=True))
        ]
        self.frame = pd.concat(frames, ignore_index=True)
        self.keypoints = np.concatenate([part.keypoints for part in parts])
        self.keypoints.setflags(write=False)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def has_keypoints(self) -> bool:
        """Whether any keypoint has a confidence above 0."""
        return any(part.has_keypoints for part in self.parts)

    @cached_property
    def part_index(self) -> np.ndarray:
        """``(N, 2) int64``: part and row in that part of every row."""
        return np.concatenate(
            [
                np.stack([np.full(len(part), number), np.arange(len(part))], axis=1)
                for number, part in enumerate(self.parts)
            ]
        )

    def image_path(self, row: int) -> Path:
        """Image file of a row."""
        part, inner = self.part_index[row]
        return self.parts[part].image_path(int(inner))

    def heatmap_dir(self, row: int) -> Path:
        """Folder that holds the 36 heatmaps of a row."""
        part, inner = self.part_index[row]
        return self.parts[part].heatmap_dir(int(inner))

    def segment_dir(self, row: int) -> Path:
        """Folder that holds the 13 segments of a row."""
        part, inner = self.part_index[row]
        return self.parts[part].segment_dir(int(inner))

    def folder(self, kind: Literal["image", "heatmap", "segment"]) -> Path:
        """A mixed split has no single folder."""
        raise DataError(f"a mixed split has one {kind} folder a part; use its `parts`")


def mix_splits(
    parts: Sequence[Split], weights: Sequence[float] | None = None
) -> Split | MixedSplit:
    """One split as it is, several as a :class:`MixedSplit`.

    Args:
        parts: The splits.
        weights: Those that the training loader will be given; they are checked here, too, so that
            a mistake shows before anything is loaded.
    """
    mixed = parts[0] if len(parts) == 1 else MixedSplit(parts)
    row_repeats(mixed, weights)
    return mixed


def load_mixed_split(roots: Sequence[str | Path], name: str) -> Split | MixedSplit:
    """Load a split of each root and mix them; see :func:`mtn_core.data.split.load_split`."""
    return mix_splits([load_split(root, name) for root in roots])


def row_repeats(split: Split | MixedSplit, weights: Sequence[float] | None) -> np.ndarray | None:
    """How often each row is to come in an epoch, from a weight for each root.

    Args:
        split: The training split.
        weights: One a root: 1 shows its images once an epoch, 0.5 a random half of them, 2 each
            twice. None is 1 for all.

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
