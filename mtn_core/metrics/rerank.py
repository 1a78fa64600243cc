"""k-reciprocal re-ranking in sparse form.

Two images are k-reciprocal neighbours when each is among the other's k nearest. Images of one
vehicle share such neighbours, which their plain distance does not show: the Jaccard distance of the
(weighted, expanded) neighbour sets is mixed with the plain one.

The published program holds several dense matrices over all images, (num_query + num_gallery)
squared. Here each image keeps its neighbour set only, sets are combined as sparse matrices, and
distances to the gallery are made block by block.

Source: Zhong, Zheng, Cao, Li: "Re-ranking Person Re-identification with k-reciprocal Encoding",
    CVPR 2017, and the program published with it.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse

from mtn_core.errors import DataError
from mtn_core.metrics.covisible import COVISIBLE, covisible_keys, create_distances
from mtn_core.metrics.distance import KeyBlocks, check_pair, num_workers
from mtn_core.metrics.ranking import smallest

_CHUNK_ROWS = 16
_PAIRS_AT_ONCE = 8192


def rerank(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    metric: str = "euclidean",
) -> "RerankedDistances":
    """Prepare re-ranked distances, for :func:`mtn_core.metrics.retrieval.evaluate_blocks`.

    Args:
        query_embeddings: ``(num_query, D)`` finite.
        gallery_embeddings: ``(num_gallery, D)`` finite.
        k1: Neighbours that a reciprocal set is taken from.
        k2: Neighbours whose sets are averaged; 1 for none.
        lambda_value: Share of the plain distance, from 0 to 1.
        metric: ``euclidean`` or ``cosine``.

    Raises:
        DataError: Parameters out of range, or bad embeddings.
    """
    query, gallery = check_pair(query_embeddings, gallery_embeddings)
    total = len(query) + len(gallery)
    if k1 < 1 or k2 < 1 or not 0 <= lambda_value <= 1:
        raise DataError(
            "`k1` and `k2` must be at least 1 and `lambda_value` from 0 to 1; "
            f"got {k1}, {k2}, {lambda_value}"
        )
    joined = np.concatenate([query, gallery])
    distances = create_distances(joined, joined, metric)
    neighbours, largest = _nearest_and_largest(distances, min(max(k1 + 1, k2), total))
    weights = _reciprocal_weights(joined, neighbours, largest, k1, metric)
    if k2 > 1:
        weights = _mean_rows(neighbours[:, :k2]) @ weights
    return RerankedDistances(
        create_distances(query, gallery, metric),
        largest[: len(query)],
        weights[: len(query)].tocsr(),
        weights[len(query) :].tocsc(),
        lambda_value,
    )


class RerankedDistances(KeyBlocks):
    """Distances mixed from the plain one and the Jaccard distance of neighbour sets; see above.

    Args:
        plain: Plain keys.
        largest: ``(num_query,)`` the largest plain key of each query to any image.
        query_sets: ``(num_query, N)`` sparse rows, the weighted neighbour sets; rows add up to 1.
        gallery_sets: ``(num_gallery, N)`` likewise, by columns.
        lambda_value: Share of the plain distance.
    """

    def __init__(
        self,
        plain: KeyBlocks,
        largest: np.ndarray,
        query_sets: sparse.csr_matrix,
        gallery_sets: sparse.csc_matrix,
        lambda_value: float,
    ):
        self.metric = f"k-reciprocal {plain.metric}"
        self.shape, self.dtype = plain.shape, plain.dtype
        self._plain, self._lambda = plain, lambda_value
        self._scale = np.divide(
            lambda_value, largest, out=np.zeros(len(largest)), where=largest > 0
        )
        self._query_sets, self._gallery_sets = query_sets, gallery_sets

    def begin(self, start: int, stop: int, out: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        return self._plain.begin(start, stop, out)

    def finish(self, rows: np.ndarray, start: int) -> None:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        self._plain.finish(rows, start)
        rows *= self._scale[start : start + len(rows), None].astype(rows.dtype)
        rows += rows.dtype.type(1 - self._lambda)
        for i, row in enumerate(rows):
            overlap = self._overlap(start + i)
            near = np.flatnonzero(overlap)
            shared = overlap[near]
            row[near] -= (1 - self._lambda) * shared / (2 - shared)
        np.maximum(rows, 0, out=rows)

    def to_distance(self, keys: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        return np.asarray(keys, np.float64)

    def _overlap(self, query: int) -> np.ndarray:
        """``(num_gallery,)`` sums over all images of the smaller of the two sets' weights."""
        sets, columns = self._query_sets, self._gallery_sets
        part = slice(sets.indptr[query], sets.indptr[query + 1])
        members, weights = sets.indices[part], sets.data[part]
        first, length = columns.indptr[members], np.diff(columns.indptr)[members]
        ends = np.cumsum(length)
        entries = np.arange(ends[-1] if len(ends) else 0)
        entries += np.repeat(first - (ends - length), length)
        smaller = np.minimum(columns.data[entries], np.repeat(weights, length))
        return np.bincount(columns.indices[entries], smaller, minlength=self.shape[1])


def _nearest_and_largest(distances: KeyBlocks, top: int) -> tuple[np.ndarray, np.ndarray]:
    """``(N, top)`` nearest images of each (itself among them), and ``(N,)`` largest keys."""
    neighbours = np.empty((distances.shape[0], top), np.int32)
    largest = np.empty(distances.shape[0])

    def work(begun: tuple[int, np.ndarray]) -> None:
        start, rows = begun
        distances.finish(rows, start)
        neighbours[start : start + len(rows)], _ = smallest(rows, top)
        largest[start : start + len(rows)] = rows.max(axis=1)

    with ThreadPoolExecutor(num_workers()) as pool:
        for start, block in distances.begun_blocks():
            chunks = range(0, len(block), _CHUNK_ROWS)
            list(pool.map(work, [(start + i, block[i : i + _CHUNK_ROWS]) for i in chunks]))
    return neighbours, largest


def _reciprocal_weights(
    embeddings: np.ndarray, neighbours: np.ndarray, largest: np.ndarray, k1: int, metric: str
) -> sparse.csr_matrix:
    """Weighted, expanded reciprocal neighbour sets, ``(N, N)`` sparse, rows adding up to 1."""
    sets = _reciprocal(neighbours[:, : k1 + 1])
    small_sets = _reciprocal(neighbours[:, : int(np.around(k1 / 2)) + 1])
    # A member whose own small set lies mostly within the set brings it along.
    shared = (sets @ small_sets.T).multiply(sets).tocoo()
    size = np.diff(small_sets.indptr)
    taken = shared.data > 2 / 3 * size[shared.col]
    joining = sparse.csr_matrix(
        (np.ones(taken.sum(), np.float32), (shared.row[taken], shared.col[taken])), sets.shape
    )
    expanded = (sets + joining @ small_sets).tocsr()
    expanded.sort_indices()
    rows = np.repeat(np.arange(len(embeddings)), np.diff(expanded.indptr))
    keys = _pair_keys(embeddings, rows, expanded.indices, metric)
    scaled = np.divide(keys, largest[rows], out=np.zeros_like(keys), where=largest[rows] > 0)
    weights = np.exp(-scaled)
    total = np.bincount(rows, weights, minlength=len(embeddings))
    return sparse.csr_matrix(
        (weights / total[rows], expanded.indices, expanded.indptr), expanded.shape
    )


def _reciprocal(neighbours: np.ndarray) -> sparse.csr_matrix:
    """``(N, N)`` sparse ones where two images are among each other's neighbours."""
    count, top = neighbours.shape
    forward = sparse.csr_matrix(
        (
            np.ones(count * top, np.float32),
            neighbours.reshape(-1),
            np.arange(0, count * top + 1, top),
        ),
        (count, count),
    )
    return forward.multiply(forward.T).tocsr()


def _mean_rows(neighbours: np.ndarray) -> sparse.csr_matrix:
    count, top = neighbours.shape
    share = np.full(count * top, 1 / top)
    indptr = np.arange(0, count * top + 1, top)
    return sparse.csr_matrix((share, neighbours.reshape(-1), indptr), (count, count))


def _pair_keys(
    embeddings: np.ndarray, first: np.ndarray, second: np.ndarray, metric: str
) -> np.ndarray:
    """``(M,)`` float64 keys of pairs of images, by their differences."""
    if metric == COVISIBLE:
        return np.concatenate(
            [
                covisible_keys(
                    embeddings[first[i : i + _PAIRS_AT_ONCE]],
                    embeddings[second[i : i + _PAIRS_AT_ONCE]],
                )
                for i in range(0, len(first), _PAIRS_AT_ONCE)
            ]
        )
    if metric == "cosine":
        length = np.sqrt(np.square(embeddings, dtype=np.float64).sum(axis=1, keepdims=True))
        embeddings = np.divide(
            embeddings, length, out=np.zeros(embeddings.shape), where=length > 0
        ).astype(embeddings.dtype)
    keys = np.empty(len(first))

    def work(start: int) -> None:
        part = slice(start, start + _PAIRS_AT_ONCE)
        difference = embeddings[first[part]]
        difference -= embeddings[second[part]]
        keys[part] = np.einsum("ij,ij->i", difference, difference)

    with ThreadPoolExecutor(num_workers()) as pool:
        list(pool.map(work, range(0, len(first), _PAIRS_AT_ONCE)))
    return keys / 2
