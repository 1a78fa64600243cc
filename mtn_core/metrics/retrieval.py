"""CMC, mAP and mINP of a retrieval experiment, exact at any scale.

Protocol (VeRi, Market-1501): a gallery row with the query's identity *and* camera is ignored; the
others are ordered by distance, equal distances by gallery position; a row with the query's identity
is a true match. Average precision is the mean, over the true matches, of the precision at their
ranks. A query without a true match counts in no average, and is reported.

The rank of a true match is one more than the number of valid gallery rows before it, so ranks come
from counting smaller distances, not from ordering the gallery.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mtn_core.errors import DataError
from mtn_core.metrics.distance import BlockDistances, check_pair, num_workers

_CHUNK_ROWS = 16  # rows that one worker takes from a block; they fit its cache
_COUNT_DIRECTLY = 12  # up to this many matches a comparison each beats ordering the nearer part


@dataclass(frozen=True, eq=False)
class RetrievalMetrics:
    """What :func:`evaluate` found; every array has one entry per query unless said otherwise.

    Attributes:
        cmc: ``(max_rank,)`` float64, share of the queries with a match whose first true match is at
            rank 1, 2, ... or better. Always ``max_rank`` long: beyond the end of a small gallery
            it stays at its last value. nan where no query has a match.
        mAP: Mean average precision, nan where no query has a match.
        mINP: Mean inverse negative penalty (number of matches / rank of the last one).
        ap: float64, nan where the query has no match.
        inp: float64, nan where the query has no match.
        num_matches: int64, true matches in the gallery.
        num_ignored: int64, gallery rows ignored (same identity, same camera).
        first_match_rank: int64, from 1; 0 where the query has no match.
        first_match: int64, gallery row of the nearest true match, -1 where there is none.
        first_match_distance: float64, nan where there is none.
        nearest: int64, gallery row at rank 1, -1 where all rows are ignored.
        nearest_distance: float64, nan where all rows are ignored.
        num_gallery: Size of the gallery.
        metric: ``euclidean`` or ``cosine``.
    """

    cmc: np.ndarray
    mAP: float
    mINP: float
    ap: np.ndarray
    inp: np.ndarray
    num_matches: np.ndarray
    num_ignored: np.ndarray
    first_match_rank: np.ndarray
    first_match: np.ndarray
    first_match_distance: np.ndarray
    nearest: np.ndarray
    nearest_distance: np.ndarray
    num_gallery: int
    metric: str

    @property
    def num_query(self) -> int:
        """Queries in all, with a match or without."""
        return len(self.ap)

    @property
    def num_query_without_match(self) -> int:
        """Queries that have no true match and so count in no average."""
        return int((self.num_matches == 0).sum())

    @property
    def queries_without_match(self) -> np.ndarray:
        """int64 indices of the queries that have no true match."""
        return np.flatnonzero(self.num_matches == 0)


def evaluate(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    q_pids: np.ndarray,
    g_pids: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
    *,
    metric: str = "euclidean",
    max_rank: int = 50,
) -> RetrievalMetrics:
    """Evaluate retrieval by the protocol of the module's first lines.

    Camera ids are compared as they are. Where some are unknown, make them differ first
    (:func:`separate_unknown_cameras`).

    Args:
        query_embeddings: ``(num_query, D)`` finite real numbers.
        gallery_embeddings: ``(num_gallery, D)``.
        q_pids: ``(num_query,)`` integer identities.
        g_pids: ``(num_gallery,)``.
        q_camids: ``(num_query,)`` integer cameras.
        g_camids: ``(num_gallery,)``.
        metric: ``euclidean`` or ``cosine``.
        max_rank: Length of the CMC curve, at least 1.

    Raises:
        DataError: Shapes that do not fit, empty sets, nan or infinity, an unknown metric.

    Source: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015 (protocol,
        mAP, CMC); Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook",
        TPAMI 2021 (mINP).
    """
    query, gallery = check_pair(query_embeddings, gallery_embeddings)
    labels = LabelPairs(
        _check_ids("q_pids", q_pids, len(query)),
        _check_ids("g_pids", g_pids, len(gallery)),
        _check_ids("q_camids", q_camids, len(query)),
        _check_ids("g_camids", g_camids, len(gallery)),
    )
    if isinstance(max_rank, bool) or not isinstance(max_rank, int | np.integer) or max_rank < 1:
        raise DataError(f"`max_rank` must be a whole number, at least 1; got {max_rank!r}")
    distances = BlockDistances(query, gallery, metric)
    rows = _Rows(len(query))
    threads = num_workers()
    buffer = np.empty((distances.block_rows(), len(gallery)), distances.dtype)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(query), len(buffer)):
            stop = min(start + len(buffer), len(query))
            block = distances.begin(start, stop, buffer)
            chunks = [
                pool.submit(_evaluate_rows, distances, labels, rows, start + i, block[i:end])
                for i, end in _chunks(stop - start)
            ]
            for chunk in chunks:
                chunk.result()
    return _summarise(distances, rows, int(max_rank))


class LabelPairs:
    """Which gallery rows share a query's identity, and which of those its camera.

    Args:
        q_pids: ``(num_query,)`` integers; likewise the others.
        g_pids: ``(num_gallery,)``.
        q_camids: ``(num_query,)``.
        g_camids: ``(num_gallery,)``.
    """

    def __init__(
        self, q_pids: np.ndarray, g_pids: np.ndarray, q_camids: np.ndarray, g_camids: np.ndarray
    ):
        self._order = np.argsort(g_pids, kind="stable")
        ordered = g_pids[self._order]
        self._begin = np.searchsorted(ordered, q_pids, "left")
        self._length = np.searchsorted(ordered, q_pids, "right") - self._begin
        self._q_camids, self._g_camids = q_camids, g_camids

    def of(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of equal identity of the queries ``start`` to ``stop``.

        Returns:
            ``(row, column, ignored)``: query counted from ``start`` (ascending), gallery row
            (ascending within a query), and whether the pair also shares the camera.
        """
        length = self._length[start:stop]
        row = np.repeat(np.arange(stop - start), length)
        first = np.cumsum(length) - length
        within = np.arange(len(row)) - first[row]
        column = self._order[self._begin[start:stop][row] + within]
        ignored = self._q_camids[start:stop][row] == self._g_camids[column]
        return row, column, ignored


def separate_unknown_cameras(
    q_names: np.ndarray, q_camids: np.ndarray, g_names: np.ndarray, g_camids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give every image of an unknown camera (0) a camera of its own.

    An unknown camera must not make another image of the vehicle ignored, but the query's own image,
    which VeRi's gallery contains, must be: one name gets one (negative) camera.

    Returns:
        ``(q_camids, g_camids)`` int64, the known ones unchanged.
    """
    q_camids, g_camids = np.array(q_camids, np.int64), np.array(g_camids, np.int64)
    names = np.concatenate([np.asarray(q_names, str), np.asarray(g_names, str)])
    if (q_camids == 0).any() or (g_camids == 0).any():
        own = -1 - np.unique(names, return_inverse=True)[1].reshape(-1)
        q_camids = np.where(q_camids == 0, own[: len(q_camids)], q_camids)
        g_camids = np.where(g_camids == 0, own[len(q_camids) :], g_camids)
    return q_camids, g_camids


class _Rows:
    """Per-query results that the workers fill in; no two write the same entry."""

    def __init__(self, num_query: int):
        self.ap = np.full(num_query, np.nan)
        self.inp = np.full(num_query, np.nan)
        self.num_matches = np.zeros(num_query, np.int64)
        self.num_ignored = np.zeros(num_query, np.int64)
        self.first_match_rank = np.zeros(num_query, np.int64)
        self.first_match = np.full(num_query, -1)
        self.first_match_distance = np.full(num_query, np.nan)
        self.nearest = np.full(num_query, -1)
        self.nearest_distance = np.full(num_query, np.nan)


def _chunks(count: int) -> list[tuple[int, int]]:
    return [(i, min(i + _CHUNK_ROWS, count)) for i in range(0, count, _CHUNK_ROWS)]


def _evaluate_rows(
    distances: BlockDistances, labels: LabelPairs, out: _Rows, start: int, block: np.ndarray
) -> None:
    stop = start + len(block)
    distances.finish(block, start)
    row, column, ignored = labels.of(start, stop)
    block[row[ignored], column[ignored]] = np.inf
    out.num_ignored[start:stop] = np.bincount(row[ignored], minlength=len(block))
    row, column = row[~ignored], column[~ignored]
    counts = np.bincount(row, minlength=len(block))
    ends = np.cumsum(counts)
    out.num_matches[start:stop] = counts
    keys = block[row, column]
    nearest = block.argmin(axis=1)
    nearest_key = block[np.arange(len(block)), nearest]
    out.nearest[start:stop] = np.where(nearest_key < np.inf, nearest, -1)
    out.nearest_distance[start:stop] = np.where(nearest_key < np.inf, nearest_key, np.nan)
    scratch = np.empty(block.shape[1], block.dtype)
    for i, (end, count) in enumerate(zip(ends.tolist(), counts.tolist(), strict=True)):
        if not count:
            continue
        mine = slice(end - count, end)
        ranks = match_ranks(block[i], column[mine], keys[mine], scratch)
        first = int(ranks.argmin())
        out.first_match[start + i] = column[end - count + first]
        out.first_match_distance[start + i] = keys[end - count + first]
        ranks.sort()
        out.first_match_rank[start + i] = ranks[0]
        out.ap[start + i] = (np.arange(1, count + 1) / ranks).sum() / count
        out.inp[start + i] = count / ranks[-1]


def match_ranks(
    keys: np.ndarray, columns: np.ndarray, matches: np.ndarray, scratch: np.ndarray
) -> np.ndarray:
    """Ranks, from 1, of some columns of one row of keys; equal keys rank by column.

    Args:
        keys: ``(num_gallery,)``, infinite where the row is ignored.
        columns: ``(M,)`` integers whose ranks are asked for.
        matches: ``(M,)``, ``keys[columns]``.
        scratch: Like ``keys``; overwritten.

    Returns:
        ``(M,)`` int64.
    """
    if len(columns) <= _COUNT_DIRECTLY:
        return np.array([_count_before(keys, c) for c in columns.tolist()], np.int64) + 1
    # Nothing behind the last match is looked at; what lies before it is counted at all matches
    # together, through a copy of the values in ascending order.
    nearer = keys <= matches.max()
    count = int(np.count_nonzero(nearer))
    if 2 * count < len(keys):
        scratch = keys[nearer]
    else:
        scratch[:] = keys
    scratch.sort()
    before = scratch.searchsorted(matches, "left")
    tied = scratch.searchsorted(matches, "right") - before > 1
    for i in np.flatnonzero(tied).tolist():
        before[i] = _count_before(keys, columns[i])
    return before + 1


def _count_before(keys: np.ndarray, column: int) -> int:
    key = keys[column]
    return np.count_nonzero(keys[:column] <= key) + np.count_nonzero(keys[column + 1 :] < key)


def _summarise(distances: BlockDistances, rows: _Rows, max_rank: int) -> RetrievalMetrics:
    matched = rows.num_matches > 0
    if matched.any():
        first = np.bincount(np.minimum(rows.first_match_rank[matched] - 1, max_rank))
        first = np.pad(first, (0, max(0, max_rank - len(first))))
        cmc = np.cumsum(first[:max_rank]) / matched.sum()
        mean_ap, mean_inp = float(rows.ap[matched].mean()), float(rows.inp[matched].mean())
    else:
        cmc, mean_ap, mean_inp = np.full(max_rank, np.nan), float("nan"), float("nan")
    return RetrievalMetrics(
        cmc=cmc,
        mAP=mean_ap,
        mINP=mean_inp,
        ap=rows.ap,
        inp=rows.inp,
        num_matches=rows.num_matches,
        num_ignored=rows.num_ignored,
        first_match_rank=rows.first_match_rank,
        first_match=rows.first_match,
        first_match_distance=distances.to_distance(rows.first_match_distance),
        nearest=rows.nearest,
        nearest_distance=distances.to_distance(rows.nearest_distance),
        num_gallery=distances.shape[1],
        metric=distances.metric,
    )


def _check_ids(name: str, ids: np.ndarray, length: int) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise DataError(f"`{name}` must be whole numbers, got an array of {ids.dtype}")
    if ids.shape != (length,):
        raise DataError(
            f"`{name}` must have one entry per embedding, shape ({length},); got {ids.shape}"
        )
    return ids.astype(np.int64, copy=False)
