"""Rows of a gallery in LanceDB, in the gallery's folder.

A commit of LanceDB is a new manifest that appears by one rename, so a killed writer leaves a file
that nothing refers to, never half a batch. One process writes at a time, under a lock that the
system drops with the process; readers need none. What is searched is exact: the filter first, by
scalar indexes, then every row that it keeps.

Rows of a batch are sorted by camera and time: rows that are asked for together are read together.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from mtn_core.errors import DiskError, RunFolderError
from mtn_core.gallery.arrow import (
    SHOWN,
    as_bytes,
    condition,
    hashes_of,
    row_schema,
    to_batch,
    to_candidates,
    to_rows,
)
from mtn_core.gallery.backend import Candidates
from mtn_core.gallery.checksums import Checksums
from mtn_core.gallery.lance_errors import explained
from mtn_core.gallery.records import Batch, Filter
from mtn_core.vehicle import NUM_KEYPOINTS

TABLE = "crops"
FOLDER = f"{TABLE}.lance"
_LOCK = "write.lock"
_LONGEST_WAIT = 600.0  # seconds for another writer
_INDEXED = {"camera": "Bitmap", "color": "Bitmap", "type": "Bitmap", "time": "BTree", "id": "BTree"}
_INDEX_FROM = 20_000  # rows outside of the indexes that are filtered quickly without them
_WORTH_AN_INDEX = 1000
_MOST_FRAGMENTS = 200  # files, before they are joined
_KEPT = timedelta(minutes=10)  # what a slow reader may still be reading
_CACHE_BYTES = 64 << 20
_BATCH_ROWS = 4096
_PROBED, _REFINED = 64, 10  # cells of an index that are looked into, rows compared for each wanted
_HASHED_BYTES = 256 << 20  # looked at in a quarter of a second whenever a gallery is opened
_LOG = logging.getLogger(__name__)


class LanceRows:
    """See :class:`mtn_core.gallery.backend.Backend`.

    Args:
        folder: Of the gallery.
        dimension: Of the embeddings.
    """

    def __init__(self, folder: Path, dimension: int):
        self.folder, self.dimension = folder, dimension
        self._checksums = Checksums(folder, FOLDER)
        self._known: tuple[int, np.ndarray] | None = None
        with self._explained():
            self._checksums.check(up_to=_HASHED_BYTES)
            self._table = _connect(folder).open_table(TABLE)

    @classmethod
    def create(cls, folder: Path, dimension: int, shown: Path) -> None:
        """Make an empty table in a folder.

        Args:
            folder: Where; it will be renamed.
            dimension: Of the embeddings.
            shown: What an error calls it.

        Raises:
            DiskError: The disk is full.
        """
        with explained(shown, None):
            _connect(folder).create_table(TABLE, schema=row_schema(dimension))
        Checksums(folder, FOLDER).update()

    def insert(self, batch: Batch) -> int:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._writing():
            new = self._new_rows(batch)
            if not len(new):
                return 0
            rows = to_rows(batch, new, self.dimension)
            with self._explained():
                before = self._table.version
                self._table.add(rows)
                self._checksums.update()
                self._remember(rows, before)
            try:
                with self._explained():
                    self._tidy()
            except DiskError as error:  # the crops are safe; searching is but slower
                _LOG.warning("the indexes are not up to date: %s", error)
            return len(new)

    def delete(self, which: Filter | Sequence[str]) -> int:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._writing():
            with self._explained():
                before = self._table.count_rows()
                self._table.delete(condition(which) or "true")
                self._checksums.update()
                return before - self._table.count_rows()

    def count(self, which: Filter) -> int:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            return self._table.count_rows(condition(which))

    def known(self, image_sha256: Sequence[str]) -> set[str]:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            there = self._known_images()
        found = np.isin(as_bytes(image_sha256), there)
        return {text for text, is_there in zip(image_sha256, found, strict=True) if is_there}

    def nearest(
        self, vector: np.ndarray, which: Filter, top: int, *, approximate: bool = False
    ) -> Candidates:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            query = self._table.search(vector, vector_column_name="vector").distance_type("l2")
            if approximate and self.has_index():
                query = query.nprobes(_PROBED).refine_factor(_REFINED)
            else:
                query = query.bypass_vector_index()
            where = condition(which)
            if where:
                query = query.where(where, prefilter=True)
            found = query.select([*SHOWN, "vector", "_distance"]).limit(top).to_arrow()
            return to_candidates(found, self.dimension)

    def rows(self, which: Filter | Sequence[str], limit: int, offset: int = 0) -> Candidates:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            query = self._table.search().select([*SHOWN, "vector"])
            where = condition(which)
            if where:
                query = query.where(where)
            found = query.limit(limit).offset(offset).to_arrow()
            return to_candidates(found, self.dimension)

    def keypoints(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Predicted keypoints of sightings that have some, ``(36, 3) float32`` by id."""
        with self._explained():
            query = self._table.search().where(condition(ids)).select(["id", "keypoints"])
            table = query.limit(max(len(ids), 1)).to_arrow()
        found = zip(table["id"].to_pylist(), table["keypoints"], strict=True)
        return {
            id_: np.asarray(value.values, np.float32).reshape(NUM_KEYPOINTS, 3)
            for id_, value in found
            if value.is_valid
        }

    def build_index(self) -> None:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        import lancedb.index

        with self._writing(), self._explained():
            cells = max(1, min(4096, int(4 * self._table.count_rows() ** 0.5)))
            config = lancedb.index.IvfPq(
                distance_type="l2",
                num_partitions=cells,
                num_sub_vectors=_sub_vectors(self.dimension),
            )
            self._table.create_index("vector", config=config, replace=True)
            self._checksums.update()

    def has_index(self) -> bool:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            return any(index.columns == ["vector"] for index in self._table.list_indices())

    def overview(self) -> tuple[dict[str, int], tuple[datetime | None, datetime | None]]:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            table = self._table.search().select(["camera", "time"]).to_arrow()
        counts = pc.value_counts(table["camera"]).to_pylist()
        ends = pc.min_max(table["time"]).as_py()
        return {c["values"] or "": c["counts"] for c in counts}, (ends["min"], ends["max"])

    def batches(self, model_sha256: str, pose_sha256: str | None) -> Iterator[Batch]:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            for rows in self._table.search().to_batches(_BATCH_ROWS):
                yield to_batch(rows, model_sha256, pose_sha256)

    def verify(self) -> int:
        """Compare all files with their checksums; returns the number of files.

        Raises:
            DataError: One is missing or changed.
        """
        return self._checksums.check()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the gallery against other writers; the table sees what they have written."""
        lock = FileLock(self.folder / _LOCK, timeout=_LONGEST_WAIT)
        try:
            lock.acquire()
        except Timeout:
            raise RunFolderError(
                f"{self.folder} has been written by another process for {_LONGEST_WAIT:.0f} "
                "seconds; wait for it, or end it"
            ) from None
        except OSError as error:
            raise DiskError(
                f"cannot write to {self.folder}: {error.strerror}. Free space, or choose a folder "
                "on another disk"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _explained(self) -> contextlib.AbstractContextManager[None]:
        return explained(self.folder, self._checksums)

    def _new_rows(self, batch: Batch) -> np.ndarray:
        """Positions of the images that are not there, each once."""
        keys = as_bytes(batch.image_sha256)
        _, first = np.unique(keys, return_index=True)
        first = np.sort(first)
        with self._explained():
            there = self._known_images()
        return first[~np.isin(keys[first], there)]

    def _known_images(self) -> np.ndarray:
        version = self._table.version
        if self._known is None or self._known[0] != version:
            column = self._table.search().select(["image_sha256"]).to_arrow()["image_sha256"]
            self._known = version, hashes_of(column)
        return self._known[1]

    def _remember(self, rows: pa.Table, before: int) -> None:
        """Spare the next batch reading the images of all."""
        if self._known is not None and self._known[0] == before:
            joined = np.concatenate([self._known[1], hashes_of(rows["image_sha256"])])
            self._known = self._table.version, joined

    def tidy(self) -> None:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._writing(), self._explained():
            self._tidy(least=_WORTH_AN_INDEX)

    def _tidy(self, least: int | None = None) -> None:
        """Bring indexes up to date and join small files, once there are many.

        Args:
            least: Rows outside of the indexes that are worth it; by default a share of all, for
                every making anew takes a second of a million rows, and leaves the old on disk.
        """
        count = self._table.count_rows()
        if count < _INDEX_FROM:
            return
        before = self._table.version
        indexed = {index.columns[0]: index.name for index in self._table.list_indices()}
        behind = count
        if set(_INDEXED) <= set(indexed):
            stats = self._table.index_stats(indexed["camera"])
            behind = stats.num_unindexed_rows
        fragments = self._table.stats()["fragment_stats"]["num_fragments"]
        if fragments > _MOST_FRAGMENTS:
            started = time.perf_counter()
            self._checksums.update(joining=True)
            self._table.optimize(cleanup_older_than=_KEPT)
            _LOG.debug("joined %d files in %.1f s", fragments, time.perf_counter() - started)
        if behind >= (least or max(_INDEX_FROM, count // 8)):
            _create_indexes(self._table)
        if self._table.version != before:
            self._checksums.update()
            if self._known is not None and self._known[0] == before:
                self._known = self._table.version, self._known[1]


def _sub_vectors(dimension: int) -> int:
    """Pieces that each become one byte: of 8 values, where they divide the embedding."""
    return next(dimension // width for width in (8, 6, 4, 3, 2, 1) if dimension % width == 0)


def _connect(folder: Path) -> Any:
    import lancedb

    session = lancedb.Session(
        index_cache_size_bytes=_CACHE_BYTES, metadata_cache_size_bytes=_CACHE_BYTES
    )
    return lancedb.connect(
        str(folder), session=session, read_consistency_interval=timedelta(seconds=0)
    )


def _create_indexes(table: Any) -> None:
    import lancedb.index

    for column, kind in _INDEXED.items():
        table.create_index(column, config=getattr(lancedb.index, kind)(), replace=True)
