"""Rank lists as pictures: a query, what the network takes for the same vehicle, and whether it is.

Protocol as in :mod:`mtn_core.metrics.retrieval`: a gallery image of the query's vehicle from the
query's own camera is ignored; camera 0 is unknown and makes only the query's own image ignored.
Ignored images are shown but have no rank.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mtn_core.metrics.distance import BlockDistances, check_pair
from mtn_core.metrics.retrieval import separate_unknown_cameras
from mtn_core.results import Embeddings
from mtn_core.viz.crops import CropSource, as_pixels
from mtn_core.viz.style import IGNORED, QUERY, RIGHT, WRONG, Mark

# Draws over one crop: (ax, (left, right, bottom, top) of the crop, split, row of the split).
Overlay = Callable[[Axes, tuple[float, float, float, float], str, int], None]

MARKS = {"right": RIGHT, "wrong": WRONG, "ignored": IGNORED, "query": QUERY}
SELECTIONS = ("worst", "best", "random")
_CROP_HEIGHT = 0.74  # of a cell that is 1 wide
_LINE_HEIGHT = 0.135


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
    verdict: str
    rank: int | None

    @property
    def mark(self) -> Mark:
        """Sign, colour and word of the verdict."""
        return MARKS[self.verdict]


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
        distances: Callable[[int], np.ndarray] | None = None,
    ):
        self.query, self.gallery = query, gallery
        self._q_camids, self._g_camids = separate_unknown_cameras(
            query.names, query.camids, gallery.names, gallery.camids
        )
        self._given = distances
        if distances is None:
            pair = check_pair(query.features, gallery.features)
            self._blocks = BlockDistances(*pair, metric=metric)

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


def plot_rank_list(
    ax: Axes,
    rank_list: RankList,
    crops: CropSource,
    *,
    num_cells: int | None = None,
    overlay: Overlay | None = None,
) -> Axes:
    """Draw one rank list as a row of crops.

    Every crop has a frame (green solid: right, vermilion dashed: wrong, grey dotted: ignored), a
    sign in its corner, and below it rank, distance, identity and camera.

    Args:
        ax: Where to draw; its axis is hidden.
        rank_list: What to draw.
        crops: Where crops are read.
        num_cells: Width of the row in crops, so that rows of one figure line up.
        overlay: Draws over each crop, for example keypoints.
    """
    x = 0.0
    caption = [f"id {rank_list.pid}", f"cam {rank_list.camid or '?'}"]
    _draw_cell(ax, x, QUERY, ["query", *caption], crops, "query", rank_list, overlay)
    x += 1.25
    shown = list(rank_list.entries)
    for entry in shown:
        _draw_cell(ax, x, entry.mark, _caption(entry), crops, "gallery", entry, overlay)
        x += 1.08
    if rank_list.first_match_is_further_down:
        ax.text(x + 0.08, _CROP_HEIGHT / 2, "…", ha="center", va="center", fontsize=14)
        x += 0.25
        first = rank_list.first_match
        _draw_cell(ax, x, first.mark, _caption(first), crops, "gallery", first, overlay)
        x += 1.08
    width = max(x, 1.25 + 1.08 * (num_cells or 0))
    ax.set(xlim=(-0.06, width), ylim=(-4 * _LINE_HEIGHT, _CROP_HEIGHT + 0.06), aspect="equal")
    ax.axis("off")
    ap = "no AP" if np.isnan(rank_list.ap) else f"AP {rank_list.ap:.2f}"
    hidden = rank_list.num_ignored_hidden
    more = f"; {hidden} more ignored not shown" if hidden else ""
    ax.set_title(f"{rank_list.name}: {ap}, {rank_list.describe()}{more}", fontsize=8, pad=3)
    return ax


def _caption(entry: RankEntry) -> list[str]:
    rank = "ignored" if entry.rank is None else f"#{entry.rank}"
    return [f"{rank}  d {entry.distance:.2f}", f"id {entry.pid}", f"cam {entry.camid or '?'}"]


def _draw_cell(
    ax: Axes,
    x: float,
    mark: Mark,
    caption: list[str],
    crops: CropSource,
    split: str,
    item: RankList | RankEntry,
    overlay: Overlay | None,
) -> None:
    crop = crops.read(split, item.name, max_side=220)
    scale = min(1 / crop.width, _CROP_HEIGHT / crop.height)
    width, height = crop.width * scale, crop.height * scale
    left, bottom = x + (1 - width) / 2, (_CROP_HEIGHT - height) / 2
    extent = (left, left + width, bottom, bottom + height)
    ax.imshow(as_pixels(crop), extent=extent, interpolation="lanczos", zorder=1)
    if overlay is not None:
        overlay(ax, extent, split, item.row)
    line = {"✓": "-", "✗": "--", "–": ":", "?": "-"}[mark.sign]
    ax.add_patch(
        Rectangle(
            (x, 0),
            1,
            _CROP_HEIGHT,
            fill=False,
            edgecolor=mark.color,
            linewidth=2,
            linestyle=line,
            zorder=3,
        )
    )
    ax.text(
        x + 0.02, _CROP_HEIGHT - 0.02, mark.sign, color="white", fontsize=7.5, fontweight="bold",
        ha="left", va="top", zorder=4,
        bbox={"facecolor": mark.color, "edgecolor": "none", "boxstyle": "square,pad=0.15"},
    )  # fmt: skip
    for k, text in enumerate(caption):
        ax.text(x + 0.5, -0.04 - _LINE_HEIGHT * k, text, fontsize=6.2, ha="center", va="top")


def draw_rank_lists(
    rank_lists: Sequence[RankList],
    crops: CropSource,
    *,
    title: str = "",
    overlay: Overlay | None = None,
) -> Figure:
    """Draw rank lists below each other.

    Args:
        rank_lists: What to draw, from top to bottom.
        crops: Where crops are read.
        title: Above the figure.
        overlay: Draws over each crop.

    Returns:
        A figure that pyplot does not manage; it shows itself in a notebook.
    """
    if not rank_lists:
        raise ValueError("`rank_lists` is empty: no query fits the selection")
    num_cells = max(
        len(r.entries) + (1.25 if r.first_match_is_further_down else 0) for r in rank_lists
    )
    figure = Figure(figsize=(1.0 + 0.95 * num_cells, 1.45 * len(rank_lists) + 0.45))
    axes = figure.subplots(len(rank_lists), 1, squeeze=False)[:, 0]
    for ax, rank_list in zip(axes, rank_lists, strict=True):
        plot_rank_list(ax, rank_list, crops, num_cells=num_cells, overlay=overlay)
    figure.suptitle(
        (title + "\n" if title else "")
        + "frame and sign:  ✓ right   ✗ wrong   – ignored (same vehicle, same camera)",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    return figure
