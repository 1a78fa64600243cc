"""Where the undecoded samples of a split come from: plain folders, or a pack beside them."""

import logging
from collections.abc import Generator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

from mtn_core.data.images import decode_map, read_bytes, read_image
from mtn_core.data.layout import map_file_names
from mtn_core.data.packs.read import open_pack
from mtn_core.data.presence import check_needed_files
from mtn_core.data.split import Split
from mtn_core.data.transforms import enlarge_maps
from mtn_core.errors import DataError
from mtn_core.vehicle import MAP_SIZE, NUM_KEYPOINTS, NUM_SEGMENTS

logger = logging.getLogger(__name__)


class Sample(Protocol):
    """One sample that is decoded when it is asked for, in any thread."""

    def image(self) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB crop."""

    def heatmaps(self, out: np.ndarray | None = None, *, enlarged: bool = False) -> np.ndarray:
        """``(36, 64, 64) uint8``, or ``(36, 72, 72)`` enlarged; into ``out`` if given."""

    def segments(self, out: np.ndarray | None = None, *, enlarged: bool = False) -> np.ndarray:
        """``(13, 64, 64) uint8``, or ``(13, 72, 72)`` enlarged; into ``out`` if given."""


class Reader(Protocol):
    """Yields the samples of one split, as loaded, in any order that is known beforehand."""

    def samples(self, rows: Sequence[int]) -> Generator[Sample, None, None]:
        """The samples of these rows, in this order; rows may come several times."""


class FolderSample:
    """A sample in the layout's plain files."""

    def __init__(self, split: Split, row: int):
        self._split, self._row = split, row

    def image(self) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB crop."""
        return read_image(self._split.image_path(self._row))

    def heatmaps(self, out: np.ndarray | None = None, *, enlarged: bool = False) -> np.ndarray:
        """``(36, 64, 64) uint8``, or ``(36, 72, 72)`` enlarged; into ``out`` if given."""
        return _read(self._split.heatmap_dir(self._row), NUM_KEYPOINTS, out, enlarged)

    def segments(self, out: np.ndarray | None = None, *, enlarged: bool = False) -> np.ndarray:
        """``(13, 64, 64) uint8``, or ``(13, 72, 72)`` enlarged; into ``out`` if given."""
        return _read(self._split.segment_dir(self._row), NUM_SEGMENTS, out, enlarged)


class FolderReader:
    """Reads the layout's plain files."""

    def __init__(self, split: Split):
        self._split = split

    def samples(self, rows: Sequence[int]) -> Generator[FolderSample, None, None]:
        """The samples of these rows, in this order."""
        return (FolderSample(self._split, row) for row in rows)


class Source:
    """An opened split: what a run needs of it is there, and its packs, where it has any, are whole.

    Attributes:
        split: The split.
        heatmaps: Whether heatmaps can be read.
        segments: Whether segments can be read.
    """

    def __init__(self, split: Split, readers: Sequence[Reader], *, heatmaps: bool, segments: bool):
        self.split, self.heatmaps, self.segments = split, heatmaps, segments
        self._readers = list(readers)

    def __len__(self) -> int:
        return len(self.split)

    def samples(self, rows: Sequence[int]) -> Generator[Sample, None, None]:
        """The samples of these rows of the split, in this order; rows may come several times."""
        places = self.split.part_index[np.asarray(rows, np.int64)]
        streams = [
            reader.samples(places[places[:, 0] == part, 1].tolist())
            for part, reader in enumerate(self._readers)
        ]
        try:
            for part in places[:, 0].tolist():
                yield next(streams[part])
        finally:
            for stream in streams:
                stream.close()


def open_source(split: Split, *, heatmaps: bool, segments: bool, packed: bool = True) -> Source:
    """Open the pack of a split where it is present and current, else its folders.

    Args:
        split: Any split; of several joined each is opened.
        heatmaps: Whether heatmaps will be read.
        segments: Whether segments will be read.
        packed: Whether packs may be used. They are read by MindSpore; where it is not installed,
            the folders serve.

    Raises:
        DataError: The files that a run needs are missing, or a pack is damaged.
    """
    packed = packed and find_spec("mindspore") is not None
    readers: list[Reader] = []
    for number, part in enumerate(split.parts):
        needed = split.take(split.part_index[:, 0] == number)
        readers.append(_open_part(part, needed, heatmaps, segments, packed))
    return Source(split, readers, heatmaps=heatmaps, segments=segments)


def _open_part(part: Split, needed: Split, heatmaps: bool, segments: bool, packed: bool) -> Reader:
    damage = None
    if packed:
        try:
            pack = open_pack(part, heatmaps=heatmaps, segments=segments)
        except DataError as error:
            damage = error
        else:
            if pack is not None:
                return pack
    try:
        check_needed_files(needed, heatmaps=heatmaps, segments=segments)
    except DataError:
        if damage is not None:  # the folders are not there: the pack is what must be mended
            raise damage from None
        raise
    if damage is not None:
        logger.warning("%s; reading plain folders meanwhile", damage)
    return FolderReader(part)


def _read(folder: Path, count: int, out: np.ndarray | None, enlarged: bool) -> np.ndarray:
    return (
        enlarge_maps(read_maps(folder, count), out) if enlarged else read_maps(folder, count, out)
    )


def read_maps(folder: Path, count: int, out: np.ndarray | None = None) -> np.ndarray:
    """Read ``00.jpg`` .. of a map folder to ``(count, 64, 64) uint8``, into ``out`` if given.

    Raises:
        DataError: A file is missing, cannot be decoded or is not 64x64.
    """
    maps = np.empty((count, MAP_SIZE, MAP_SIZE), np.uint8) if out is None else out
    for k, name in enumerate(map_file_names(count)):
        path = folder / name
        image = decode_map(read_bytes(path), path)
        if image.shape != (MAP_SIZE, MAP_SIZE):
            height, width = image.shape
            raise DataError(f"{path} is {width}x{height} pixels, expected {MAP_SIZE}x{MAP_SIZE}")
        maps[k] = image
    return maps
