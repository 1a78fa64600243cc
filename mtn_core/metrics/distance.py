"""Distances between query and gallery embeddings, a block of queries at a time.

Nothing here ever holds the whole (num_query, num_gallery) matrix. Rows are ordered by *keys* that
grow with the distance and cost less: half the squared Euclidean distance, or one minus the cosine.

What is promised: copies of one embedding get bit-equal keys wherever they stand in the gallery, so
that they rank by position; and the same call on the same machine gives the same bits. What is not:
BLAS rounds by the place of a row in its tiles, so another block size, number of threads or
processor may change keys in the last place, and with them the order of *different* embeddings at
one distance. Small sets (``EXACT_WORK``) are computed without BLAS and have no such exception.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

from mtn_core.errors import DataError, first_offenders

METRICS: tuple[str, ...] = ("euclidean", "cosine")
BLOCK_BYTES = 1 << 26
BLOCK_ROWS = 512  # even if they need more: BLAS packs the whole gallery anew for every block
_TOLD_APART_BY = 4  # columns, see find_copies
EXACT_WORK = 2e8  # below this many multiplications, differences are taken one by one in float64


def check_pair(query: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check two embedding arrays against each other.

    Args:
        query: ``(num_query, D)``, any real type.
        gallery: ``(num_gallery, D)``, any real type.

    Returns:
        Both as C-contiguous arrays of one type, float32 or float64.

    Raises:
        DataError: Not two-dimensional, empty, of different widths, or not finite.
    """
    arrays = []
    for name, given in (("query", query), ("gallery", gallery)):
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            raise DataError(
                f"`{name}_embeddings` must be real numbers, got an array of {array.dtype}"
            )
        if array.ndim != 2 or 0 in array.shape:
            raise DataError(
                f"`{name}_embeddings` must be (number, width) with at least one row and column; "
                f"got shape {array.shape}"
            )
        arrays.append(array)
    query, gallery = arrays
    if query.shape[1] != gallery.shape[1]:
        raise DataError(
            f"query and gallery embeddings must have one width; got {query.shape[1]} and "
            f"{gallery.shape[1]}: were they made by the same network?"
        )
    small = all(a.dtype in (np.float32, np.float16) for a in arrays)
    dtype = np.float32 if small else np.float64
    query, gallery = (np.ascontiguousarray(a, dtype=dtype) for a in arrays)
    check_finite("query_embeddings", query)
    check_finite("gallery_embeddings", gallery)
    return query, gallery


def check_finite(name: str, array: np.ndarray) -> None:
    """Raise a :class:`DataError` that names the rows of ``(N, D)`` with nan or infinity."""
    # A sum is finite unless something in it is not, or it overflows: then look closer.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.vdot(array, array)):
            return
    rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if rows.size:
        raise DataError(
            f"`{name}` must be finite; nan or infinity in row {first_offenders(rows.tolist())}: "
            "did the training diverge?"
        )


class KeyBlocks(ABC):
    """Keys between queries and gallery that come in blocks, whatever they are made from.

    Keys are not negative, and order each row as the distances would.

    Attributes:
        metric: Name of the distance.
        shape: ``(num_query, num_gallery)``.
        dtype: Of the keys, float32 or float64.
    """

    metric: str
    shape: tuple[int, int]
    dtype: np.dtype

    @abstractmethod
    def begin(self, start: int, stop: int, out: np.ndarray) -> np.ndarray:
        """The part of a block that BLAS does on all cores; :meth:`finish` completes its rows.

        Args:
            start: First query.
            stop: One behind the last.
            out: At least ``(stop - start, num_gallery)``; its first rows are overwritten.
        """

    @abstractmethod
    def finish(self, rows: np.ndarray, start: int) -> None:
        """Turn consecutive begun rows into keys, in place.

        Args:
            rows: ``(n, num_gallery)`` rows that :meth:`begin` gave.
            start: Query of the first of them.
        """

    @abstractmethod
    def to_distance(self, keys: np.ndarray) -> np.ndarray:
        """The distances that keys of any shape ``(...)`` stand for, float64."""

    def block_rows(self) -> int:
        """How many queries a block holds at most."""
        num_query, num_gallery = self.shape
        fitting = BLOCK_BYTES // (num_gallery * self.dtype.itemsize)
        most = max(1, min(num_query, max(fitting, BLOCK_ROWS)))
        return -(-num_query // -(-num_query // most))  # blocks of about one size

    def begun_blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first query, rows to finish)``; a block's memory is that of the one before."""
        rows = self.block_rows()
        buffer = np.empty((rows, self.shape[1]), self.dtype)
        for start in range(0, self.shape[0], rows):
            yield start, self.begin(start, min(start + rows, self.shape[0]), buffer)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(first query, keys)``; a block's memory is that of the one before."""
        for start, block in self.begun_blocks():
            self.finish(block, start)
            yield start, block

    def keys(self, start: int, stop: int) -> np.ndarray:
        """``(stop - start, num_gallery)`` keys of the queries ``start`` to ``stop``."""
        block = self.begin(start, stop, np.empty((stop - start, self.shape[1]), self.dtype))
        self.finish(block, start)
        return block


class BlockDistances(KeyBlocks):
    """Keys between all queries and the gallery, computed block by block.

    Small sets are compared by differences in float64, which is exact for ties and has no
    cancellation; large ones through the matrix product of the embeddings' own type. For the
    Euclidean metric the product is taken around the gallery mean where the embeddings lie far from
    the origin compared with their spread (as those of an untrained network do), because squares
    would otherwise cancel.

    Args:
        query: ``(num_query, D)`` float32 or float64, see :func:`check_pair`.
        gallery: ``(num_gallery, D)`` of the same type.
        metric: ``euclidean`` or ``cosine``. A zero vector has cosine 0 with everything.

    Raises:
        DataError: Unknown metric.
    """

    def __init__(self, query: np.ndarray, gallery: np.ndarray, metric: str = "euclidean"):
        if metric not in METRICS:
            raise DataError(f"`metric` must be one of {', '.join(METRICS)}; got {metric!r}")
        self.metric = metric
        self.exact = len(query) * len(gallery) * query.shape[1] <= EXACT_WORK
        if self.exact:
            query, gallery = query.astype(np.float64), gallery.astype(np.float64)
        elif metric == "euclidean":
            query, gallery = _centred(query, gallery)
        query_norm2, gallery_norm2 = _squared_norms(query), _squared_norms(gallery)
        if not _fit(query_norm2, gallery_norm2):
            query, gallery = query.astype(np.float64), gallery.astype(np.float64)
            query_norm2, gallery_norm2 = _squared_norms(query), _squared_norms(gallery)
        if metric == "cosine":
            self._query_scale = _reciprocal_length(query_norm2).astype(query.dtype)
            self._gallery_scale = _reciprocal_length(gallery_norm2).astype(query.dtype)
            if self.exact:
                query = query * self._query_scale[:, None]
                gallery = gallery * self._gallery_scale[:, None]
        self._query, self._gallery = query, gallery
        self.shape, self.dtype = (len(query), len(gallery)), query.dtype
        self._copies: np.ndarray | None
        self._originals: np.ndarray | None
        self._copies, self._originals = (None, None) if self.exact else find_copies(gallery)
        self._query_half = (query_norm2 / 2).astype(query.dtype)
        self._gallery_half = (gallery_norm2 / 2).astype(query.dtype)

    def begin(self, start: int, stop: int, out: np.ndarray) -> np.ndarray:
        """See :class:`KeyBlocks`."""
        block = out[: stop - start]
        query = self._query[start:stop]
        if self.exact:
            block[:] = cdist(query, self._gallery, "sqeuclidean")
            return block
        if len(query) == 1:  # BLAS has another routine for one row, which rounds otherwise
            block[:] = np.matmul(np.repeat(query, 2, axis=0), self._gallery.T)[:1]
        else:
            np.matmul(query, self._gallery.T, out=block)
        return block

    def finish(self, rows: np.ndarray, start: int) -> None:
        """See :class:`KeyBlocks`."""
        stop = start + len(rows)
        if self.exact:
            rows *= 0.5
            if self.metric == "cosine":
                rows[self._query_scale[start:stop] == 0] = 1
                rows[:, self._gallery_scale == 0] = 1
            return
        if self.metric == "euclidean":  # half the square: |g|^2 / 2 - q.g + |q|^2 / 2
            np.subtract(self._gallery_half, rows, out=rows)
            rows += self._query_half[start:stop, None]
        else:
            rows *= self._gallery_scale
            rows *= -self._query_scale[start:stop, None]
            rows += rows.dtype.type(1)
        np.maximum(rows, 0, out=rows)  # rounding makes the squares of equal vectors negative
        if self._copies is not None:
            rows[:, self._copies] = rows[:, self._originals]

    def to_distance(self, keys: np.ndarray) -> np.ndarray:
        """See :class:`KeyBlocks`."""
        keys = np.asarray(keys, dtype=np.float64)
        return np.sqrt(2 * keys) if self.metric == "euclidean" else keys


def find_copies(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Rows that are bit for bit copies of an earlier row.

    Args:
        array: ``(N, D)`` float32 or float64.

    Returns:
        ``(M,) int64`` rows that are copies and, for each, the first row that is equal; None twice
        where there are none, which is the common case and costs a sort of N numbers.
    """
    # A few columns tell nearly all rows apart; only rows alike in them are compared whole. Adding
    # zero makes -0.0 and 0.0 one number, which they are in a product.
    columns = np.unique(np.linspace(0, array.shape[1] - 1, _TOLD_APART_BY).astype(int))
    sample = array[:, columns].astype(np.float64) + 0.0
    keys = (sample.view(np.uint64) * (2 * columns.astype(np.uint64) + 0x9E3779B97F4A7C15)).sum(1)
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(sizes[group] > 1)
    if not len(alike):
        return None, None
    whole = np.ascontiguousarray(array[alike] + array.dtype.type(0))
    whole = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    originals = alike[first[group]]
    copies = originals != alike
    return (alike[copies], originals[copies]) if copies.any() else (None, None)


def num_workers() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _squared_norms(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.einsum("ij,ij->i", array, array)


def _fit(*norms: np.ndarray) -> bool:
    """Whether squared lengths, and sums of them, neither overflow nor vanish in their type."""
    limits = np.finfo(norms[0].dtype)
    largest = max(float(norm.max()) for norm in norms)
    return bool(limits.tiny / limits.eps < largest < limits.max / 8)


def _reciprocal_length(norm2: np.ndarray) -> np.ndarray:
    length = np.sqrt(norm2)
    return np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)


def _centred(query: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # A sample shows well enough how far from the origin the embeddings lie.
    sample = gallery[:: max(1, len(gallery) // 256)].astype(np.float64)
    mean = sample.mean(axis=0)
    if mean @ mean < 0.5 * np.square(sample).sum(axis=1).mean():
        return query, gallery
    centre = mean.astype(gallery.dtype)
    return query - centre, gallery - centre
