"""Reads packs with MindSpore's own MindRecord reader, in whatever order an epoch asks for."""

import logging
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import zstandard

from mtn_core.data.images import decode_image
from mtn_core.data.packs.manifest import (
    ENLARGED_SUFFIX,
    MANIFEST_NAME,
    PACK_VERSION,
    Manifest,
    image_fingerprint,
    labels_fingerprint,
    map_fingerprint,
    pack_folder,
)
from mtn_core.data.transforms import ENLARGED_MAP_SIZE
from mtn_core.data.workers import num_workers_for
from mtn_core.errors import DataError, first_offenders
from mtn_core.files import sha256_of
from mtn_core.vehicle import MAP_SIZE, NUM_KEYPOINTS, NUM_SEGMENTS

if TYPE_CHECKING:
    from mtn_core.data.split import Split

logger = logging.getLogger(__name__)
_threads = threading.local()


class PackedSample:
    """A sample whose bytes are in memory; decoded when it is asked for."""

    def __init__(self, name: str, columns: dict[str, np.ndarray]):
        self._name, self._columns = name, columns

    @property
    def num_bytes(self) -> int:
        """Bytes of the sample as it was stored."""
        return sum(column.nbytes for column in self._columns.values())

    def image(self) -> np.ndarray:
        """``(H, W, 3) uint8`` RGB crop."""
        return decode_image(self._columns["image"].tobytes(), self._name)

    def heatmaps(self, out: np.ndarray | None = None, *, enlarged: bool = False) -> np.ndarray:
        """``(36, 64, 64) uint8``, or ``(36, 72, 72)`` enlarged; into ``out`` if given."""
        return self._maps("heatmaps", NUM_KEYPOINTS, out, enlarged)

    def segments(self, out: np.ndarray | None = None, *, enlarged: bool = False) -> np.ndarray:
        """``(13, 64, 64) uint8``, or ``(13, 72, 72)`` enlarged; into ``out`` if given."""
        return self._maps("segments", NUM_SEGMENTS, out, enlarged)

    def _maps(self, column: str, count: int, out: np.ndarray | None, enlarged: bool) -> np.ndarray:
        size = ENLARGED_MAP_SIZE if enlarged else MAP_SIZE
        out = np.empty((count, size, size), np.uint8) if out is None else out
        data = self._columns[column + ENLARGED_SUFFIX * enlarged].tobytes()
        try:
            # One read more than is wanted: the block must hold these maps and nothing else.
            with _decompressor().stream_reader(data) as reader:
                complete = reader.readinto(out.data) == out.nbytes and not reader.read(1)
        except zstandard.ZstdError as error:
            raise DataError(self._damaged(column, str(error))) from error
        if not complete:
            raise DataError(self._damaged(column, f"expected {out.nbytes} bytes"))
        return out

    def _damaged(self, column: str, why: str) -> str:
        return f"{self._name}: its packed {column} are damaged ({why}); run mtn pack --overwrite"


class PackedSource:
    """Reads one split's pack.

    Args:
        split: The split.
        manifest: Its pack's manifest.
        columns: Those that will be read: ``image``, ``heatmaps``, ``segments``.
    """

    def __init__(self, split: "Split", manifest: Manifest, columns: Sequence[str]):
        self.folder = pack_folder(split.root, split.name)
        self._files = [str(self.folder / shard.name) for shard in manifest.shards]
        self._names = split.frame["name"].tolist()
        self._columns = list(columns)

    def samples(self, rows: Sequence[int]) -> Generator[PackedSample, None, None]:
        """The samples of these rows, in this order; rows may come several times."""
        # MindRecord's sampler takes at most as many rows as there are; an epoch may repeat some.
        for start in range(0, len(rows), len(self._names)):
            yield from self._read(rows[start : start + len(self._names)])

    def _read(self, rows: Sequence[int]) -> Generator[PackedSample, None, None]:
        import mindspore.dataset as ds

        iterator = None
        try:
            records = ds.MindDataset(
                self._files,
                columns_list=["row", *self._columns],
                num_parallel_workers=1,
                sampler=ds.SubsetSampler([int(row) for row in rows]),
            )
            iterator = records.create_tuple_iterator(num_epochs=1, output_numpy=True)
            for expected in rows:
                row, *values = next(iterator)
                name = f"{self.folder}: {self._names[expected]}"
                if int(row) != expected:
                    raise DataError(
                        f"{name} is row {expected} but the pack gives row {int(row)}; "
                        "run mtn pack --overwrite"
                    )
                yield PackedSample(name, dict(zip(self._columns, values, strict=True)))
        except (RuntimeError, StopIteration) as error:
            raise DataError(
                f"pack {self.folder} cannot be read ({mindspore_cause(error)}); "
                "run mtn pack --overwrite"
            ) from error
        finally:
            if iterator is not None:
                iterator.stop()


def open_pack(split: "Split", *, heatmaps: bool, segments: bool) -> PackedSource | None:
    """Open the pack of a split where it can be used.

    Returns:
        None where there is no pack, or where it is of another version, lacks the maps that are
        needed, or is older than its sources; of all but the first a warning tells.

    Raises:
        DataError: The pack is damaged.
    """
    folder = pack_folder(split.root, split.name)
    manifest = _find_manifest(folder)
    if manifest is None:
        return None
    problem = _unusable(split, manifest, heatmaps=heatmaps, segments=segments)
    if problem:
        logger.warning(
            "pack %s is not used: %s; reading plain folders. Run mtn pack --overwrite",
            folder,
            problem,
        )
        return None
    _check_shards(folder, manifest)
    columns = ["image"]
    for needed, column in ((heatmaps, "heatmaps"), (segments, "segments")):
        columns += [column, column + ENLARGED_SUFFIX] if needed else []
    return PackedSource(split, manifest, columns)


def find_pack_problem(split: "Split") -> str | None:
    """Why the pack of a split is not used with all that it holds; None where it is, or is absent.

    Raises:
        DataError: The pack is damaged.
    """
    folder = pack_folder(split.root, split.name)
    manifest = _find_manifest(folder)
    if manifest is None:
        return f"it has no {MANIFEST_NAME}" if folder.exists() else None
    problem = _unusable(
        split,
        manifest,
        heatmaps=manifest.heatmaps is not None,
        segments=manifest.segments is not None,
    )
    if problem is None:
        _check_shards(folder, manifest)
    return problem


def _find_manifest(folder: Path) -> Manifest | None:
    path = folder / MANIFEST_NAME
    if not folder.is_dir() or not (path.exists() or path.is_symlink()):
        return None
    return Manifest.load(folder)


def _unusable(split: "Split", manifest: Manifest, *, heatmaps: bool, segments: bool) -> str | None:
    if manifest.version != PACK_VERSION:
        return f"it has version {manifest.version}, this program reads version {PACK_VERSION}"
    if manifest.opencv != cv2.__version__:
        # Another release may round otherwise, and the pack holds what OpenCV made of the maps.
        return f"it was made with OpenCV {manifest.opencv}, this is {cv2.__version__}"
    for needed, has, what in (
        (heatmaps, manifest.heatmaps, "heatmaps"),
        (segments, manifest.segments, "segments"),
    ):
        if needed and has is None:
            return f"it was made without {what}"
    if manifest.split != split.name:
        return f"it is that of the split {manifest.split}"
    if manifest.rows != len(split) or manifest.labels != labels_fingerprint(split):
        return "the label file changed since it was made"
    if manifest.images != image_fingerprint(split):
        return "images changed since it was made"
    if heatmaps and manifest.heatmaps != map_fingerprint(split, "heatmap"):
        return "heatmaps changed since it was made"
    if segments and manifest.segments != map_fingerprint(split, "segment"):
        return "segments changed since it was made"
    return None


def _check_shards(folder: Path, manifest: Manifest) -> None:
    files = [
        (folder / name, num_bytes, sha256)
        for shard in manifest.shards
        for name, num_bytes, sha256 in (
            (shard.name, shard.num_bytes, shard.sha256),
            (f"{shard.name}.db", shard.index_bytes, shard.index_sha256),
        )
    ]
    for path, expected, _ in files:
        size = path.stat().st_size if path.is_file() else None
        if size != expected:
            found = "is missing" if size is None else f"has {size} bytes"
            raise DataError(
                f"pack {folder} is damaged: {path.name} {found}, expected {expected} bytes; "
                "delete the folder or run mtn pack --overwrite"
            )
    with ThreadPoolExecutor(num_workers_for(None)) as pool:
        hashes = pool.map(lambda file: sha256_of(file[0]), files)
        changed = [
            path.name
            for (path, _, wanted), found in zip(files, hashes, strict=True)
            if found != wanted
        ]
    if changed:
        raise DataError(
            f"pack {folder} is damaged: the content of {first_offenders(changed)} is not what was "
            "written (SHA-256 differs); delete the folder or run mtn pack --overwrite"
        )


def _decompressor() -> zstandard.ZstdDecompressor:
    # One a thread: the objects must not be shared, and making one costs as much as using it.
    if not hasattr(_threads, "decompressor"):
        _threads.decompressor = zstandard.ZstdDecompressor()
    return _threads.decompressor


def mindspore_cause(error: Exception) -> str:
    """The one line of a MindSpore error that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip("- ")]
    if not lines:
        return "it ends too early"
    return next((line for line in lines if line.startswith("[ERROR]")), lines[0])
