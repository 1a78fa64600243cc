"""The verification view: are these two crops the same vehicle, yes or no, at one threshold.

Protocol: every query-gallery pair that retrieval does not ignore is one trial; a pair of one
identity is positive. Distances are counted in fine bins block by block, so memory does not grow
with the number of pairs; rates at bin edges are exact, what lies between is interpolated.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mtn_core.errors import DataError
from mtn_core.metrics.covisible import COVISIBLE, create_distances
from mtn_core.metrics.distance import KeyBlocks, check_pair
from mtn_core.metrics.labels import LabelPairs, check_ids

NUM_BINS = 1 << 14


@dataclass(frozen=True, eq=False)
class Verification:
    """Distances of same-vehicle and other-vehicle pairs.

    Attributes:
        edges: ``(bins + 1,)`` float64 distances, ascending.
        positive: ``(bins,)`` int64, same-vehicle pairs with ``edges[i] <= distance < edges[i+1]``
            (the last bin holds its upper edge, too).
        negative: ``(bins,)`` int64, pairs of different vehicles.
    """

    edges: np.ndarray
    positive: np.ndarray
    negative: np.ndarray

    @property
    def num_positive(self) -> int:
        """Same-vehicle pairs."""
        return int(self.positive.sum())

    @property
    def num_negative(self) -> int:
        """Pairs of different vehicles."""
        return int(self.negative.sum())

    @property
    def false_accept_rate(self) -> np.ndarray:
        """``(bins + 1,)``: share of other-vehicle pairs nearer than each edge, nan without any."""
        return _cumulative_share(self.negative)

    @property
    def true_accept_rate(self) -> np.ndarray:
        """``(bins + 1,)``: share of same-vehicle pairs nearer than each edge, nan without any."""
        return _cumulative_share(self.positive)

    @property
    def auc(self) -> float:
        """Chance that a same-vehicle pair is nearer than one of different vehicles (ties half)."""
        far, tar = self.false_accept_rate, self.true_accept_rate
        return float((np.diff(far) * (tar[1:] + tar[:-1]) / 2).sum())

    @property
    def equal_error_rate(self) -> float:
        """Error rate at the threshold where as many are wrongly accepted as wrongly rejected."""
        return float(self._crossing()[1])

    @property
    def equal_error_threshold(self) -> float:
        """The distance at which the equal-error rate is reached."""
        return float(self._crossing()[0])

    def threshold_at(self, false_accept_rate: float) -> float:
        """The largest threshold at which at most this share of strangers is accepted.

        A pair is accepted when its distance is below the threshold; nan without negative pairs.

        Raises:
            DataError: A rate outside 0..1.
        """
        if not 0 <= false_accept_rate <= 1:
            raise DataError(f"`false_accept_rate` must be within 0..1; got {false_accept_rate}")
        if not self.num_negative:
            return float("nan")
        rates = self.false_accept_rate
        return float(self.edges[np.searchsorted(rates, false_accept_rate, "right") - 1])

    def true_accept_rate_at(self, false_accept_rate: float) -> float:
        """Share of same-vehicle pairs that :meth:`threshold_at` accepts."""
        threshold = self.threshold_at(false_accept_rate)
        if np.isnan(threshold):
            return float("nan")
        return float(self.true_accept_rate[np.searchsorted(self.edges, threshold)])

    def to_frame(self, num_bins: int = 64) -> pd.DataFrame:
        """Histogram for people: low, high, positive, negative counts of ``num_bins`` wide bins.

        They span the distances that occur.
        """
        occupied = np.flatnonzero(self.positive + self.negative)
        if not len(occupied):
            return pd.DataFrame({"low": [], "high": [], "positive": [], "negative": []})
        bins = np.arange(occupied[0], occupied[-1] + 1)
        groups = np.array_split(bins, min(num_bins, len(bins)))
        return pd.DataFrame(
            {
                "low": [self.edges[g[0]] for g in groups],
                "high": [self.edges[g[-1] + 1] for g in groups],
                "positive": [int(self.positive[g].sum()) for g in groups],
                "negative": [int(self.negative[g].sum()) for g in groups],
            }
        )

    def roc_frame(self, num_points: int = 400) -> pd.DataFrame:
        """The ROC curve at about ``num_points`` thresholds: threshold and the two accept rates.

        Points are dense where few strangers are accepted, which is where thresholds are set.
        """
        far, tar = self.false_accept_rate, self.true_accept_rate
        if np.isnan(far).any() or np.isnan(tar).any():
            return pd.DataFrame({"threshold": [], "false_accept_rate": [], "true_accept_rate": []})
        wanted = np.concatenate([[0], np.geomspace(1e-6, 1, num_points), np.linspace(0, 1, 100)])
        rows = np.unique(np.searchsorted(far, wanted, "right") - 1)
        rows = np.unique(np.concatenate([[0], rows, [len(far) - 1]]))
        return pd.DataFrame(
            {
                "threshold": self.edges[rows],
                "false_accept_rate": far[rows],
                "true_accept_rate": tar[rows],
            }
        )

    def _crossing(self) -> tuple[float, float]:
        far, frr = self.false_accept_rate, 1 - self.true_accept_rate
        if np.isnan(far).any() or np.isnan(frr).any():
            return float("nan"), float("nan")
        # far rises from 0 to 1 and frr falls from 1 to 0, so there is one behind the first edge.
        i = int(np.argmax(far >= frr))
        gap = (frr - far)[[i - 1, i]]
        share = gap[0] / (gap[0] - gap[1])
        threshold = self.edges[i - 1] + share * (self.edges[i] - self.edges[i - 1])
        return float(threshold), float(far[i - 1] + share * (far[i] - far[i - 1]))


def verify(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    q_pids: np.ndarray,
    g_pids: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
    *,
    metric: str = "euclidean",
    num_bins: int = NUM_BINS,
) -> Verification:
    """Count the distances of positive and negative pairs.

    Args:
        query_embeddings: ``(num_query, D)`` finite; the others as for
            :func:`mtn_core.metrics.retrieval.evaluate`.
        gallery_embeddings: ``(num_gallery, D)``.
        q_pids: ``(num_query,)`` integers.
        g_pids: ``(num_gallery,)``.
        q_camids: ``(num_query,)``.
        g_camids: ``(num_gallery,)``.
        metric: ``euclidean`` or ``cosine``.
        num_bins: Resolution of thresholds.

    Raises:
        DataError: As ``evaluate``.
    """
    query, gallery = check_pair(query_embeddings, gallery_embeddings)
    distances = create_distances(query, gallery, metric)
    labels = LabelPairs(
        check_ids("q_pids", q_pids, len(query)),
        check_ids("g_pids", g_pids, len(gallery)),
        check_ids("q_camids", q_camids, len(query)),
        check_ids("g_camids", g_camids, len(gallery)),
    )
    return _count(distances, labels, num_bins, _largest_distance(query, gallery, metric))


def _largest_distance(query: np.ndarray, gallery: np.ndarray, metric: str) -> float:
    """A bound on all distances, close enough that no bins are wasted."""
    if metric in ("cosine", COVISIBLE):
        return 2.0
    centre = gallery.mean(axis=0, dtype=np.float64)
    reach = [np.sqrt(_largest_square(array, centre)) for array in (query, gallery)]
    return float(sum(reach)) * (1 + 1e-3) or 1.0


def _largest_square(array: np.ndarray, centre: np.ndarray) -> float:
    rows = 1024
    return max(
        float(np.square(array[i : i + rows] - centre).sum(axis=1).max())
        for i in range(0, len(array), rows)
    )


def _count(distances: KeyBlocks, labels: LabelPairs, num_bins: int, largest: float) -> Verification:
    total, positive = np.zeros(num_bins, np.int64), np.zeros(num_bins, np.int64)
    for start, block in distances.begun_blocks():
        for i in range(0, len(block), 16):
            keys = block[i : i + 16]
            first = start + i
            distances.finish(keys, first)
            row, column, ignored = labels.of(first, first + len(keys))
            bins = distances.to_distance(keys) * (num_bins / largest)
            bins = np.minimum(bins, num_bins - 1).astype(np.int64)
            same = bins[row, column]
            total += np.bincount(bins.ravel(), minlength=num_bins)
            total -= np.bincount(same[ignored], minlength=num_bins)
            positive += np.bincount(same[~ignored], minlength=num_bins)
    return Verification(np.linspace(0, largest, num_bins + 1), positive, total - positive)


def _cumulative_share(counts: np.ndarray) -> np.ndarray:
    total = counts.sum()
    if not total:
        return np.full(len(counts) + 1, np.nan)
    return np.concatenate([[0], np.cumsum(counts)]) / total
