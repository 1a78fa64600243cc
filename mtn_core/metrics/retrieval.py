"""CMC, mAP and mINP of a retrieval experiment, exact at any scale.

Protocol (VeRi, Market-1501): a gallery row with the query's identity *and* camera is ignored; the
others are ordered by distance, equal distances by gallery position; a row with the query's identity
is a true match. Average precision is the mean, over the true matches, of the precision at their
ranks. A query without a true match counts in no average, and is reported. Other rules are made of
this one: cameras that all differ ignore nothing, ``ap_ranks`` looks at the nearest rows only.

The rank of a true match is one more than the number of valid gallery rows before it, so ranks come
from counting smaller distances, not from ordering the gallery.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mtn_core.errors import DataError
from mtn_core.metrics.covisible import create_distances
from mtn_core.metrics.distance import KeyBlocks, check_pair, num_workers
from mtn_core.metrics.labels import LabelPairs, check_ids, separate_unknown_cameras
from mtn_core.metrics.ranks import match_ranks

__all__ = ["RetrievalMetrics", "evaluate", "evaluate_blocks", "separate_unknown_cameras"]
_CHUNK_BYTES = 3 << 19  # what one worker takes from a block, with a copy, fits its cache
_CHUNK_ROWS = 4, 64  # at least and at most


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
    ap_ranks: int | None = None,
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
        ap_ranks: See :func:`evaluate_blocks`.

    Raises:
        DataError: Shapes that do not fit, empty sets, nan or infinity, an unknown metric.

    Source: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015 (protocol,
        mAP, CMC); Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook",
        TPAMI 2021 (mINP).
    """
    query, gallery = check_pair(query_embeddings, gallery_embeddings)
    distances = create_distances(query, gallery, metric)
    return evaluate_blocks(
        distances, q_pids, g_pids, q_camids, g_camids, max_rank=max_rank, ap_ranks=ap_ranks
    )


def evaluate_blocks(
    distances: KeyBlocks,
    q_pids: np.ndarray,
    g_pids: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
    *,
    max_rank: int = 50,
    ap_ranks: int | None = None,
) -> RetrievalMetrics:
    """:func:`evaluate` for distances of any origin, such as re-ranked ones.

    Args:
        distances: Keys between ``num_query`` queries and ``num_gallery`` gallery rows.
        q_pids: ``(num_query,)`` integer identities.
        g_pids: ``(num_gallery,)``.
        q_camids: ``(num_query,)`` integer cameras.
        g_camids: ``(num_gallery,)``.
        max_rank: Length of the CMC curve, at least 1.
        ap_ranks: True matches beyond this rank add nothing to average precision, which is then the
            mean over as many matches as could stand within it. None counts all.

    Raises:
        DataError: Labels of another length, or not whole numbers.
    """
    num_query, num_gallery = distances.shape
    labels = LabelPairs(
        check_ids("q_pids", q_pids, num_query),
        check_ids("g_pids", g_pids, num_gallery),
        check_ids("q_camids", q_camids, num_query),
        check_ids("g_camids", g_camids, num_gallery),
    )
    for name, value in (("max_rank", max_rank), ("ap_ranks", ap_ranks)):
        if value is None and name == "ap_ranks":
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise DataError(f"`{name}` must be a whole number, at least 1; got {value!r}")
    rows = _Rows(num_query)
    threads = num_workers()
    chunk = _CHUNK_BYTES // (num_gallery * distances.dtype.itemsize)
    chunk = min(max(chunk, _CHUNK_ROWS[0]), _CHUNK_ROWS[1])
    with ThreadPoolExecutor(threads) as pool:
        for start, block in distances.begun_blocks():
            todo = iter(range(0, len(block), chunk))
            work = [
                pool.submit(
                    _evaluate_chunks, distances, labels, rows, ap_ranks, start, block, todo, chunk
                )
                for _ in range(threads)
            ]
            for worker in work:
                worker.result()
    return _summarise(distances, rows, int(max_rank))


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


def _evaluate_chunks(
    distances: KeyBlocks,
    labels: LabelPairs,
    out: _Rows,
    ap_ranks: int | None,
    start: int,
    block: np.ndarray,
    todo: Iterator[int],
    chunk: int,
) -> None:
    scratch = np.empty((min(chunk, len(block)), block.shape[1]), block.dtype)
    for i in todo:
        rows = block[i : i + chunk]
        _evaluate_rows(distances, labels, out, ap_ranks, start + i, rows, scratch)


def _evaluate_rows(
    distances: KeyBlocks,
    labels: LabelPairs,
    out: _Rows,
    ap_ranks: int | None,
    start: int,
    keys: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Complete the rows of a begun block, the first being query ``start``, and judge them."""
    stop = start + len(keys)
    mine = slice(start, stop)
    distances.finish(keys, start)
    row, column, ignored = labels.of(start, stop)
    keys[row[ignored], column[ignored]] = np.inf
    out.num_ignored[mine] = np.bincount(row[ignored], minlength=len(keys))
    nearest = keys.argmin(axis=1)
    out.nearest[mine] = nearest
    out.nearest_distance[mine] = keys[np.arange(len(keys)), nearest]
    row, column = row[~ignored], column[~ignored]
    counts = np.bincount(row, minlength=len(keys))
    out.num_matches[mine] = counts
    if not len(row):
        return
    ranks = match_ranks(keys, row, column, scratch)
    rows = np.flatnonzero(counts)
    counts = counts[rows]
    ends = np.cumsum(counts)
    begins = ends - counts
    hits = np.arange(1, len(row) + 1) - np.repeat(begins, counts)
    found = start + rows
    precisions, expected = hits / ranks, counts
    if ap_ranks is not None:
        precisions = np.where(ranks <= ap_ranks, precisions, 0.0)
        expected = np.minimum(counts, ap_ranks)
    out.ap[found] = np.add.reduceat(precisions, begins) / expected
    out.inp[found] = counts / ranks[ends - 1]
    out.first_match_rank[found] = ranks[begins]
    # Columns ascend within a row, so the first of the smallest keys is the first match.
    matches = keys[row, column]
    smallest = np.minimum.reduceat(matches, begins)
    candidates = np.flatnonzero(matches == np.repeat(smallest, counts))
    out.first_match[found] = column[candidates[np.searchsorted(candidates, begins)]]
    out.first_match_distance[found] = smallest


def _summarise(distances: KeyBlocks, rows: _Rows, max_rank: int) -> RetrievalMetrics:
    matched = rows.num_matches > 0
    if matched.any():
        first = np.minimum(rows.first_match_rank[matched] - 1, max_rank)
        first = np.bincount(first, minlength=max_rank)
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
        nearest=np.where(np.isfinite(rows.nearest_distance), rows.nearest, -1),
        nearest_distance=np.where(
            np.isfinite(rows.nearest_distance), distances.to_distance(rows.nearest_distance), np.nan
        ),
        num_gallery=distances.shape[1],
        metric=distances.metric,
    )
