"""The distance of two images by what both show: a global embedding, and five parts of the vehicle.

An embedding with parts is one row of numbers, so that files, programs and stores of plain
embeddings hold it too: the global vector, then five part vectors of ``PART_SIZE``, then the share
of the crop that each part covers. With cosine distances d, areas a and ``w = sqrt(a_i * a_j)``::

    distance = (1 - PART_SHARE) * d_global
             + PART_SHARE * (sum(w * d_part) + PRIOR_AREA * d_global) / (sum(w) + PRIOR_AREA)

So the less of the vehicle both images show, the more the global vector says, and it says everything
where one of them has no maps. With unit part vectors times ``sqrt(a)``, the sums over parts are
inner products of whole rows: all is three matrix products, a block of queries at a time.

Source: the idea of Meng et al., "Parsing-based View-aware Embedding Network for Vehicle
    Re-Identification" (PVEN), CVPR 2020, section 3.3.
"""

import numpy as np

from mtn_core.errors import DataError, first_offenders
from mtn_core.metrics.distance import (
    EXACT_WORK,
    METRICS,
    BlockDistances,
    KeyBlocks,
    find_copies,
)
from mtn_core.vehicle import NUM_PARTS

COVISIBLE = "covisible"
ALL_METRICS: tuple[str, ...] = (*METRICS, COVISIBLE)
PART_SIZE = 256
PART_SHARE = 0.5
PRIOR_AREA = 0.05
_PARTS_WIDTH = NUM_PARTS * PART_SIZE
_TAIL = _PARTS_WIDTH + NUM_PARTS
_CHUNK_ROWS = 16  # what is worked on between two products stays in the cache


def create_distances(
    query: np.ndarray, gallery: np.ndarray, metric: str = "euclidean"
) -> KeyBlocks:
    """Distances between all queries and the gallery, by any metric there is.

    Args:
        query: ``(num_query, D)`` float32 or float64, see
            :func:`mtn_core.metrics.distance.check_pair`.
        gallery: ``(num_gallery, D)`` of the same type.
        metric: ``euclidean``, ``cosine``, or ``covisible`` for embeddings with parts.

    Raises:
        DataError: Unknown metric, or embeddings without parts.
    """
    if metric not in ALL_METRICS:
        raise DataError(f"`metric` must be one of {', '.join(ALL_METRICS)}; got {metric!r}")
    if metric == COVISIBLE:
        return CovisibleDistances(query, gallery)
    return BlockDistances(query, gallery, metric)


def global_part(embeddings: np.ndarray) -> np.ndarray:
    """``(N, G)`` global vectors of ``(N, D)`` embeddings with parts; a view.

    Raises:
        DataError: They are too narrow to have parts.
    """
    return embeddings[:, : _global_width(embeddings)]


def fit_width(embeddings: np.ndarray, width: int) -> np.ndarray:
    """Embeddings with parts, cut to their global vectors where ``width`` is that of these alone.

    For a gallery that was evaluated by the global vectors of the same network.

    Args:
        embeddings: ``(N, D)``.
        width: Of the gallery's.
    """
    return global_part(embeddings) if embeddings.shape[1] == width + _TAIL else embeddings


def covisible_keys(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distances of pairs of embeddings with parts.

    Args:
        first: ``(M, D)``.
        second: ``(M, D)``.

    Returns:
        ``(M,)`` float64.
    """
    one, other = (_split(array.astype(np.float64)) for array in (first, second))
    products = [np.einsum("ij,ij->i", a, b) for a, b in zip(one, other, strict=True)]
    return _combine(*products)


class CovisibleDistances(KeyBlocks):
    """Keys between embeddings with parts, block by block; see above. A key is the distance.

    Args:
        query: ``(num_query, D)`` float32 or float64.
        gallery: ``(num_gallery, D)`` of the same type.

    Raises:
        DataError: Embeddings without parts, or with areas that are none.
    """

    def __init__(self, query: np.ndarray, gallery: np.ndarray):
        self.metric = COVISIBLE
        if len(query) * len(gallery) * query.shape[1] <= EXACT_WORK:
            query, gallery = query.astype(np.float64), gallery.astype(np.float64)
        self.shape, self.dtype = (len(query), len(gallery)), query.dtype
        _check_areas("query", query)
        _check_areas("gallery", gallery)
        self._copies: np.ndarray | None
        self._originals: np.ndarray | None
        self._copies, self._originals = find_copies(gallery)
        self._query, self._gallery = _split(query), _split(gallery)

    def begin(self, start: int, stop: int, out: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        block = out[: stop - start]
        for first in range(start, stop, _block_step(self.shape[1], self.dtype)):
            last = min(first + _block_step(self.shape[1], self.dtype), stop)
            rows = slice(first, last)
            whole, parts, areas = (
                _product(q[rows], g) for q, g in zip(self._query, self._gallery, strict=True)
            )
            for i in range(0, last - first, _CHUNK_ROWS):
                chunk = slice(i, i + _CHUNK_ROWS)
                at = slice(first - start + i, min(first - start + i + _CHUNK_ROWS, last - start))
                block[at] = _combine(whole[chunk], parts[chunk], areas[chunk])
        if self._copies is not None:
            block[:, self._copies] = block[:, self._originals]
        return block

    def finish(self, rows: np.ndarray, start: int) -> None:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`; nothing is left to do."""

    def to_distance(self, keys: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        return np.asarray(keys, np.float64)


def _combine(whole: np.ndarray, parts: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """From the three products to distances, any shape; see the module."""
    kind = whole.dtype.type
    far = kind(1) - whole
    apart = (areas - parts + kind(PRIOR_AREA) * far) / (areas + kind(PRIOR_AREA))
    return np.maximum(kind(1 - PART_SHARE) * far + kind(PART_SHARE) * apart, 0)


def _split(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(N, G)`` unit global vectors, ``(N, 5 * PART_SIZE)`` weighted parts, ``(N, 5)`` weights."""
    width = _global_width(embeddings)
    weights = np.sqrt(np.maximum(embeddings[:, -NUM_PARTS:], 0))
    parts = embeddings[:, width:-NUM_PARTS].reshape(len(embeddings), NUM_PARTS, PART_SIZE)
    parts = _unit(parts) * weights[:, :, None]
    return _unit(embeddings[:, :width]), parts.reshape(len(embeddings), -1), weights


def _unit(array: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(array, axis=-1, keepdims=True)
    return np.divide(array, length, out=np.zeros_like(array), where=length > 0)


def _product(rows: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    if len(rows) == 1:  # BLAS has another routine for one row, which rounds otherwise
        return np.matmul(np.repeat(rows, 2, axis=0), gallery.T)[:1]
    return np.matmul(rows, gallery.T)


def _block_step(num_gallery: int, dtype: np.dtype) -> int:
    """Queries at a time, so that the three products together take the room of two blocks."""
    from mtn_core.metrics.distance import BLOCK_BYTES

    return max(2, BLOCK_BYTES // (2 * num_gallery * dtype.itemsize))


def _global_width(embeddings: np.ndarray) -> int:
    width = embeddings.shape[1] - _TAIL
    if width < 1:
        raise DataError(
            f"embeddings with parts have more than {_TAIL} values, {NUM_PARTS} part vectors of "
            f"{PART_SIZE} and {NUM_PARTS} areas among them; got {embeddings.shape[1]}. Compare "
            f"others by {' or '.join(METRICS)} distance"
        )
    return width


def _check_areas(name: str, embeddings: np.ndarray) -> None:
    _global_width(embeddings)
    areas = embeddings[:, -NUM_PARTS:]
    wrong = np.flatnonzero(((areas < -1e-3) | (areas > 1 + 1e-3)).any(axis=1))
    if wrong.size:
        raise DataError(
            f"the last {NUM_PARTS} values of embeddings with parts are areas from 0 to 1; those of "
            f"{name} row {first_offenders(wrong.tolist())} are not: were they made with "
            "model.pose=parts or both?"
        )
