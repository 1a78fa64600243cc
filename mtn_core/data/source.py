"""Where a sample's raw bytes come from: plain folders here, a pack in :mod:`packing`."""

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mtn_core.data.images import decode_map, read_bytes, read_image
from mtn_core.data.layout import map_file_names
from mtn_core.data.vehicle import MAP_SIZE, NUM_KEYPOINTS, NUM_SEGMENTS
from mtn_core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from mtn_core.data.veri import Split


class Source(Protocol):
    """Reads single samples of a split; safe to call from several threads."""

    def image(self, row: int) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB crop of a row."""

    def heatmaps(self, row: int) -> np.ndarray:
        """``(36, 64, 64) uint8`` heatmaps of a row."""

    def segments(self, row: int) -> np.ndarray:
        """``(13, 64, 64) uint8`` segments of a row."""

    def close(self) -> None:
        """Release files."""


class FolderSource:
    """Reads the layout's plain files."""

    def __init__(self, split: "Split"):
        self._split = split

    def image(self, row: int) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB crop of a row."""
        return read_image(self._split.image_path(row))

    def heatmaps(self, row: int) -> np.ndarray:
        """``(36, 64, 64) uint8`` heatmaps of a row."""
        return read_maps(self._split.heatmap_dir(row), NUM_KEYPOINTS)

    def segments(self, row: int) -> np.ndarray:
        """``(13, 64, 64) uint8`` segments of a row."""
        return read_maps(self._split.segment_dir(row), NUM_SEGMENTS)

    def close(self) -> None:
        """Nothing is held open."""


def read_maps(folder: "Path", count: int) -> np.ndarray:
    """Read ``00.jpg`` .. of a map folder to ``(count, 64, 64) uint8``.

    Raises:
        DataError: A file is missing, cannot be decoded or is not 64x64.
    """
    maps = np.empty((count, MAP_SIZE, MAP_SIZE), np.uint8)
    for k, name in enumerate(map_file_names(count)):
        path = folder / name
        image = decode_map(read_bytes(path), path)
        if image.shape != (MAP_SIZE, MAP_SIZE):
            raise DataError(
                f"{path} is {image.shape[1]}x{image.shape[0]} pixels, "
                f"expected {MAP_SIZE}x{MAP_SIZE}"
            )
        maps[k] = image
    return maps
