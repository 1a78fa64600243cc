"""Which gallery images stand where for a query, and which queries to look at.

VeRi's protocol, unless the data have another: a gallery image of the query's vehicle from the
query's own camera is ignored; camera 0 is unknown and makes only the query's own image ignored.
Ignored images have no rank.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from mtn_core.metrics.covisible import create_distances
from mtn_core.metrics.distance import check_pair
from mtn_core.metrics.protocol import VERI, EvaluationProtocol
from mtn_core.results.embeddings import Embeddings

Verdict = Literal["right", "wrong", "ignored"]
SELECTIONS = ("worst", "best", "random")


@dataclass(frozen=True)
class RankEntry:
    """One gallery image of a rank list.

    Attributes:
        row: Row in the gallery.
        name: File name of the crop.
        pid: Vehicle identity.
        camid: Camera, 0 unknown.
        distance: To the query, smaller is closer.
        verdict: ``right``, ``wrong`` or ``ignored``.
        rank: From 1 among the images that count; None for an ignored one.
    """

    row: int
    name: str
    pid: int
    camid: int
    distance: float
    verdict: Verdict
    rank: int | None


@dataclass(frozen=True)
class RankList:
    """A query and the head of its ranking.

    Attributes:
        row: Row in the query split.
        name: File name of the query crop.
        pid: Vehicle identity.
        camid: Camera, 0 unknown.
        ap: Average precision, nan where no gallery image can match.
        entries: The first images in order of distance, ignored ones among them.
        num_matches: Gallery images that are true matches.
        num_ignored: Gallery images that the protocol ignores.
        num_ignored_hidden: Ignored images within the shown part that ``entries`` leaves out.
        first_match: The first true match, or None; it is in ``entries`` when its rank is small.
    """

    row: int
    name: str
    pid: int
    camid: int
    ap: float
    entries: tuple[RankEntry, ...]
    num_matches: int
    num_ignored: int
    num_ignored_hidden: int
    first_match: RankEntry | None

    @property
    def first_match_is_further_down(self) -> bool:
        """Whether the first true match lies behind the shown part."""
        return self.first_match is not None and all(
            entry.row != self.first_match.row for entry in self.entries
        )

    def describe(self) -> str:
        """One line on where the first true match stands."""
        if self.first_match is None:
            return "no match in the gallery"
        return f"first match at rank {self.first_match.rank}, {self.num_matches} in the gallery"


class Ranker:
    """Ranks the gallery for any query, in the order that the metrics use.

    Args:
        query: Query split.
        gallery: Gallery split.
        metric: ``euclidean`` or ``cosine``.
        rule: The data set's protocol, see ``RetrievalResult.rule``.
        distances: For re-ranked lists: gives the ``(num_gallery,)`` distances of a query row;
            by default they are those of the embeddings.

    Raises:
        DataError: Embeddings of different widths or with nan, or an unknown metric.
    """

    def __init__(
        self,
        query: Embeddings,
        gallery: Embeddings,
        *,
        metric: str = "euclidean",
        rule: EvaluationProtocol = VERI,
        distances: Callable[[int], np.ndarray] | None = None,
    ):
        self.query, self.gallery = query, gallery
        self._q_camids, self._g_camids = rule.separate_cameras(query, gallery)
        self._given = distances
        if distances is None:
            pair = check_pair(query.features, gallery.features)
            self._blocks = create_distances(*pair, metric=metric)

    def distances(self, row: int) -> np.ndarray:
        """``(num_gallery,)`` distances of one query, smaller is closer.

        Raises:
            ValueError: Given distances have another length than the gallery.
        """
        if self._given is None:
            return self._blocks.to_distance(self._blocks.keys(row, row + 1)[0])
        distances = np.asarray(self._given(row))
        expected = (len(self.gallery.pids),)
        if distances.shape != expected:
            raise ValueError(
                f"`distances` must be (num_gallery,) = {expected}; got {distances.shape}"
            )
        return distances

    def rank(self, row: int, *, top_k: int = 10, max_ignored: int = 2) -> RankList:
        """Rank the gallery for one query.

        Args:
            row: Row of the query split.
            top_k: Images that count to keep.
            max_ignored: Ignored images to keep; more are only counted.

        Raises:
            IndexError: There is no such query.
        """
        if not 0 <= row < len(self.query.pids):
            raise IndexError(f"query row must be 0..{len(self.query.pids) - 1}; got {row}")
        distances = self.distances(row)
        pid = int(self.query.pids[row])
        same = self.gallery.pids == pid
        ignored = same & (self._g_camids == self._q_camids[row])
        order = np.argsort(distances, kind="stable")
        ranks = np.cumsum(~ignored[order])
        positions = np.flatnonzero((same & ~ignored)[order])

        def entry(position: int) -> RankEntry:
            g = int(order[position])
            return RankEntry(
                row=g,
                name=str(self.gallery.names[g]),
                pid=int(self.gallery.pids[g]),
                camid=int(self.gallery.camids[g]),
                distance=float(distances[g]),
                verdict="ignored" if ignored[g] else "right" if same[g] else "wrong",
                rank=None if ignored[g] else int(ranks[position]),
            )

        end = int(np.searchsorted(ranks, top_k)) + 1  # up to the top_k-th image that counts
        shown = [entry(position) for position in range(min(end, len(order)))]
        kept, num_hidden = _limit_ignored(shown, max_ignored)
        precision = np.arange(1, len(positions) + 1) / ranks[positions]
        return RankList(
            row=row,
            name=str(self.query.names[row]),
            pid=pid,
            camid=int(self.query.camids[row]),
            ap=float(precision.mean()) if len(positions) else float("nan"),
            entries=tuple(kept),
            num_matches=len(positions),
            num_ignored=int(ignored.sum()),
            num_ignored_hidden=num_hidden,
            first_match=entry(int(positions[0])) if len(positions) else None,
        )


def _limit_ignored(entries: Sequence[RankEntry], limit: int) -> tuple[list[RankEntry], int]:
    kept, num_ignored = [], 0
    for entry in entries:
        if entry.verdict == "ignored":
            num_ignored += 1
            if num_ignored > limit:
                continue
        kept.append(entry)
    return kept, max(0, num_ignored - limit)


def select_queries(
    per_query: pd.DataFrame,
    how: str = "worst",
    num: int = 10,
    *,
    seed: int = 0,
    where: Mapping[str, object] | None = None,
) -> list[int]:
    """Choose queries to look at.

    Args:
        per_query: ``RetrievalResult.per_query``, one row a query, with a column ``ap``.
        how: ``worst`` or ``best`` by average precision (equal ones by the rank of the first match,
            then in file order), or ``random``.
        num: At most so many.
        seed: For ``random``.
        where: Filters by column: a value, a list of values, or a pair ``(low, high)`` as a tuple,
            both ends included. ``{"camid": 3, "ap": (0, 0.2)}``.

    Returns:
        Row numbers of the query split. Queries without a match are never among them: they have no
        average precision.

    Raises:
        ValueError: Unknown ``how`` or column.
    """
    if how not in SELECTIONS:
        raise ValueError(f"`how` must be one of {', '.join(SELECTIONS)}; got {how!r}")
    fits = filter_queries(per_query, where) & per_query["ap"].notna().to_numpy()
    rows = np.flatnonzero(fits)
    if how == "random":
        rows = np.random.default_rng(seed).permutation(rows)
    else:
        ap = per_query["ap"].to_numpy()[rows]
        first = per_query["first_match_rank"].to_numpy()[rows]
        sign = 1 if how == "worst" else -1
        rows = rows[np.lexsort((rows, -sign * first, sign * ap))]
    return rows[:num].tolist()


def filter_queries(per_query: pd.DataFrame, where: Mapping[str, object] | None) -> np.ndarray:
    """``(num_query,)`` bool: the rows that fit all filters, see :func:`select_queries`."""
    fits = np.ones(len(per_query), dtype=bool)
    for column, wanted in (where or {}).items():
        if column not in per_query.columns:
            known = ", ".join(map(str, per_query.columns))
            raise ValueError(f"no column {column!r} to filter by; there are: {known}")
        values = per_query[column]
        if isinstance(wanted, tuple):
            fits &= values.between(*wanted).to_numpy()
        elif isinstance(wanted, str) or not isinstance(wanted, Iterable):
            fits &= (values == wanted).to_numpy()
        else:
            fits &= values.isin(list(wanted)).to_numpy()
    return fits
