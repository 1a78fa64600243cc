"""Curves and histograms of retrieval results."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.typing import ColorType

from mtn_core.viz.style import OKABE_ITO


class HasRetrievalNumbers(Protocol):
    """What these figures read: a result or freshly computed metrics."""

    @property
    def cmc(self) -> np.ndarray:
        """``(max_rank,)`` fractions, rank 1 first."""

    @property
    def ap(self) -> np.ndarray:
        """``(num_query,)`` fractions, nan where a query has no match."""

    @property
    def mAP(self) -> float:
        """Fraction."""

    @property
    def num_query(self) -> int:
        """Queries in all."""


def plot_cmc(
    ax: Axes,
    results: HasRetrievalNumbers | Mapping[str, HasRetrievalNumbers],
    *,
    max_rank: int = 50,
    bands: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Axes:
    """Draw the cumulative match characteristic of one or more runs.

    Args:
        ax: Where to draw; its vertical axis is fixed to 0..1.
        results: One result, or results by run name.
        max_rank: Last rank drawn.
        bands: ``(low, high)`` intervals of the curve, by run name.
    """
    results = _by_name(results)
    for name, result in results.items():
        cmc = np.asarray(result.cmc, dtype=float)[:max_rank]
        ranks = np.arange(1, len(cmc) + 1)
        label = f"{name}: Rank-1 {100 * cmc[0]:.1f} %, mAP {100 * result.mAP:.1f} %"
        (line,) = ax.plot(ranks, cmc, marker="o", markersize=2.5, label=label)
        if bands and name in bands:
            low, high = (np.asarray(edge, dtype=float)[: len(cmc)] for edge in bands[name])
            ax.fill_between(
                ranks[: len(low)], low, high, color=line.get_color(), alpha=0.18, linewidth=0
            )
    ax.set(xlabel="rank", ylabel="queries with a match up to this rank", ylim=(0, 1.01))
    ax.set_xlim(1, max(2, *(min(max_rank, len(r.cmc)) for r in results.values())))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    ax.legend(loc="lower right")
    ax.set_title(f"CMC{_title_of(results)}")
    return ax


def plot_ap_histogram(
    ax: Axes,
    results: HasRetrievalNumbers | Mapping[str, HasRetrievalNumbers],
    *,
    num_bins: int = 20,
    references: Mapping[str, float] | None = None,
) -> Axes:
    """Draw how the average precision is spread over the queries.

    A mean hides whether all queries do so-so or some perfectly and some not at all.

    Args:
        ax: Where to draw.
        results: One result, or results by run name (drawn as outlines).
        num_bins: Bins over 0..1.
        references: mAP of others by name, drawn as dotted lines.
    """
    results = _by_name(results)
    bins = np.linspace(0, 1, num_bins + 1)
    single = len(results) == 1
    for name, result in results.items():
        ap = np.asarray(result.ap, dtype=float)
        ap = ap[np.isfinite(ap)]
        counts, _ = np.histogram(ap, bins)
        mean = float(ap.mean()) if len(ap) else float("nan")
        if single:
            ax.bar(bins[:-1], counts, np.diff(bins), align="edge", edgecolor="white", linewidth=0.6)
            color: ColorType = OKABE_ITO["vermilion"]
        else:
            steps = ax.stairs(counts, bins, linewidth=1.6, label=f"{name}: mAP {100 * mean:.1f} %")
            color = steps.get_edgecolor()
        ax.axvline(
            mean,
            color=color,
            linestyle="--",
            linewidth=1.4,
            label=f"mAP {100 * mean:.1f} %" if single else None,
        )
    _draw_references(ax, references or {})
    ax.set(xlabel="average precision of a query", ylabel="queries", xlim=(0, 1))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    ax.set_title(f"Average precision{_title_of(results)}")
    return ax


def _draw_references(ax: Axes, references: Mapping[str, float]) -> None:
    """Dotted lines with names along them; of two close ones, one has its name on either side."""
    before, side = -1.0, "right"
    for name, value in sorted(references.items(), key=lambda item: item[1]):
        close = value - before < 0.04
        side = "left" if close and side == "right" else "right"
        ax.axvline(value, color="0.55", linestyle=":", linewidth=1.2)
        ax.text(value, 0.97, name, rotation=90, ha=side, va="top", fontsize=7,
                transform=ax.get_xaxis_transform())  # fmt: skip
        before = value


def plot_first_match_histogram(
    ax: Axes, first_match_rank: np.ndarray, *, title: str = "Rank of the first true match"
) -> Axes:
    """Draw at which rank the first true match stands, on a logarithmic rank axis.

    Args:
        ax: Where to draw.
        first_match_rank: ``(num_query,)`` integers from 1; 0 or less where there is no match.
        title: The number of queries is added.
    """
    ranks = np.asarray(first_match_rank)
    ranks = ranks[ranks >= 1]
    edges = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 10**9]
    counts, _ = np.histogram(ranks, edges)
    last = max(1, int(np.flatnonzero(counts).max(initial=0)) + 1)
    labels = [
        str(a) if b - a == 1 else f"{a}–{b - 1}" if b < 10**9 else f"{a}+"
        for a, b in pairwise(edges)
    ]
    bars = ax.bar(labels[:last], counts[:last])
    ax.bar_label(bars, fontsize=8)
    ax.set(xlabel="rank", ylabel="queries", title=f"{title}: {len(ranks)} queries")
    ax.grid(axis="x", visible=False)
    return ax


def _by_name(
    results: HasRetrievalNumbers | Mapping[str, HasRetrievalNumbers],
) -> Mapping[str, HasRetrievalNumbers]:
    if not isinstance(results, Mapping):
        return {"run": results}
    if not results:
        raise ValueError("`results` is empty; expected at least one result")
    return results


def _title_of(results: Mapping[str, HasRetrievalNumbers]) -> str:
    if len(results) > 1:
        return f" of {len(results)} runs"
    ((name, result),) = results.items()
    return f": {name}, {result.num_query} queries"
