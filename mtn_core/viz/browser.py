"""Browsing rank lists: what is selected and shown is decided here, a widget only passes it on.

:class:`RetrievalBrowser` needs no front end. :func:`mtn_core.viz.browser_widget.show_browser` puts
ipywidgets before it in JupyterLab and returns plain figures where nobody can click (papermill,
nbconvert).
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from mtn_core.metrics.rerank import rerank
from mtn_core.results import RetrievalResult
from mtn_core.results.ranking import SELECTIONS, Ranker, RankList, filter_queries, select_queries
from mtn_core.results.variants import MAX_IMAGES
from mtn_core.vehicle import color_name, type_name
from mtn_core.viz.crops import CropSource
from mtn_core.viz.overlay import keypoint_overlay
from mtn_core.viz.rank_lists import Overlay, draw_rank_lists
from mtn_core.viz.style import use_style
from mtn_core.viz.tables import say_percent

ANY = None
_PER_ROW = 7  # crops beside each other: more would be too small to read below


@dataclass(frozen=True)
class BrowserState:
    """What the person has chosen.

    Attributes:
        camid: Camera of the query, None for any; likewise the next two.
        color_id: True colour of the query.
        type_id: True type of the query.
        ap_range: Lowest and highest average precision, both included.
        order: ``worst``, ``best`` or ``random``.
        top_k: Images that count in a rank list.
        reranked: Whether lists are re-ranked.
        keypoints: Whether keypoints are drawn over the crops.
        max_queries: Length of the list to choose from.
    """

    camid: int | None = ANY
    color_id: int | None = ANY
    type_id: int | None = ANY
    ap_range: tuple[float, float] = (0.0, 1.0)
    order: str = "worst"
    top_k: int = 10
    reranked: bool = False
    keypoints: bool = False
    max_queries: int = 200

    def __post_init__(self):
        if self.order not in SELECTIONS:
            raise ValueError(f"`order` must be one of {', '.join(SELECTIONS)}; got {self.order!r}")
        low, high = self.ap_range
        if not 0 <= low <= high <= 1:
            raise ValueError(f"`ap_range` must ascend within 0..1; got {self.ap_range}")


class RetrievalBrowser:
    """Filters queries and draws their rank lists.

    Args:
        result: A result with embeddings.
        crops: Where crops are read.
        rerank_by: Gives, when first asked for re-ranked lists, a function from a query row to its
            ``(num_gallery,)`` distances; by default k-reciprocal re-ranking, where the gallery is
            small enough to be compared with itself.
        attention: Overlay that draws attention maps.
    """

    def __init__(
        self,
        result: RetrievalResult,
        crops: CropSource,
        *,
        rerank_by: Callable[[], Callable[[int], np.ndarray]] | None = None,
        attention: Overlay | None = None,
    ):
        self.result = result
        self.crops = crops
        self.can_rerank = (
            rerank_by is not None or result.num_query + result.num_gallery <= MAX_IMAGES
        )
        self._rerank = rerank_by or self._rerank_reciprocal
        self._attention = attention
        self._keypoints = keypoint_overlay(result.query, result.gallery)
        self._plain = Ranker(
            result.query, result.gallery, metric=result.protocol["metric"], rule=result.rule
        )
        self._reranked: Ranker | None = None

    def options(
        self, column: str, state: BrowserState | None = None
    ) -> list[tuple[str, int | None]]:
        """``(label with count, value)`` of a column's values among the queries, ``any`` first.

        Args:
            column: ``camid``, ``color_id`` or ``type_id``.
            state: What else is chosen: the counts are of the queries that fit all other filters.
                The value chosen in this column is always among the options.
        """
        frame = self.result.per_query
        others = _filters(state) if state is not None else {}
        chosen = others.pop(column, ANY)
        left = frame[column].to_numpy()[filter_queries(frame, others)]
        namer = {"color_id": color_name, "type_id": type_name}.get(
            column, lambda value: f"camera {value}" if value else "unknown camera"
        )
        values = np.unique(left if chosen is ANY else [*left, chosen])
        named = [(f"{namer(int(v))} ({(left == v).sum()})", int(v)) for v in values]
        return [(f"any ({len(left)})", ANY), *named]

    def select(self, state: BrowserState) -> list[int]:
        """Rows of the queries that fit, in the chosen order."""
        return select_queries(
            self.result.per_query, state.order, state.max_queries, where=_filters(state)
        )

    def rank(self, row: int, state: BrowserState) -> RankList:
        """The rank list of one query.

        Raises:
            ValueError: Re-ranking is asked for and the gallery is too large for it.
        """
        if not state.reranked:
            return self._plain.rank(row, top_k=state.top_k)
        if not self.can_rerank:
            raise ValueError(f"re-ranking compares at most {MAX_IMAGES} images with each other")
        if self._reranked is None:
            self._reranked = Ranker(
                self.result.query,
                self.result.gallery,
                rule=self.result.rule,
                distances=self._rerank(),
            )
        return self._reranked.rank(row, top_k=state.top_k)

    def _rerank_reciprocal(self) -> Callable[[int], np.ndarray]:
        result = self.result
        blocks = rerank(
            result.query.features, result.gallery.features, metric=result.protocol["metric"]
        )
        return lambda row: blocks.to_distance(blocks.keys(row, row + 1)[0])

    def label(self, row: int) -> str:
        """One line that names a query in the list to choose from."""
        record = self.result.per_query.iloc[row]
        words = f"{color_name(record['color_id'])} {type_name(record['type_id'])}"
        return f"AP {record['ap']:.2f}  {record['name']}  {words.replace('unknown', '').strip()}"

    def summarize(self, state: BrowserState) -> str:
        """How many queries fit and what their mean average precision is."""
        frame = self.result.per_query
        fits = filter_queries(frame, _filters(state)) & frame["ap"].notna().to_numpy()
        if not fits.any():
            return "No query fits these filters."
        mean = frame["ap"].to_numpy()[fits].mean()
        means = f"mAP {say_percent(mean)} (all queries: {say_percent(self.result.mAP)})"
        return f"{fits.sum()} of {len(frame)} queries, {means}"

    def draw(self, rows: Iterable[int], state: BrowserState, *, title: str = "") -> Figure:
        """Draw the rank lists of some queries."""
        overlay = self._keypoints if state.keypoints else self._attention
        rows = list(rows)
        lists = [self.rank(row, state) for row in rows]
        plain = self.result.ap[rows].tolist() if state.reranked else None
        with use_style():
            return draw_rank_lists(
                lists, self.crops, title=title, overlay=overlay, per_row=_PER_ROW, plain_ap=plain
            )

    def draw_static(self, state: BrowserState | None = None, *, num: int = 4) -> list[Figure]:
        """Figures of the worst and the best queries, for where nobody can click.

        Args:
            state: Filters and length of the lists; its order is not used.
            num: Lists in a figure.
        """
        state = state or BrowserState()
        figures = []
        for order in ("worst", "best"):
            one = dataclasses.replace(state, order=order, max_queries=num)
            rows = self.select(one)
            if rows:
                title = f"The {len(rows)} {order} of {self.summarize(one)}"
                figures.append(self.draw(rows, one, title=title))
        return figures


def _filters(state: BrowserState) -> dict[str, object]:
    chosen = {name: getattr(state, name) for name in ("camid", "color_id", "type_id")}
    filters: dict[str, object] = {k: v for k, v in chosen.items() if v is not ANY}
    if state.ap_range != (0.0, 1.0):
        filters["ap"] = state.ap_range
    return filters
