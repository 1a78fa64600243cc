"""The candidates of a search as a figure, and how right they are at a threshold."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from mtn_core.results.answer import SearchResult, with_confidence
from mtn_core.viz.crops import CropSource, as_pixels, read_crop

_SIDE = 160
_ASKED, _LIKELY, _BEYOND = "#000000", "#0072b2", "#8d949c"


def draw_candidates(axes: list[Axes], result: SearchResult, crops: CropSource) -> list[Axes]:
    """Draw the crop and the nearest candidates, one in each ax.

    Args:
        axes: The first is for the crop; the rest for candidates, as many as there are.
        result: The answer.
        crops: Where the gallery's crops are read.
    """
    asked = result.asked
    axes[0].imshow(as_pixels(read_crop(Path(result.image), max_side=_SIDE)))
    _frame(axes[0], _ASKED, "solid")
    axes[0].set_title(f"searched for\ncamera {asked.camera or '?'}", fontsize=8)
    said = [
        with_confidence(getattr(asked, kind), getattr(asked, f"{kind}_confidence"))
        for kind in ("color", "type")
    ]
    axes[0].set_xlabel(", ".join(said), fontsize=7)
    hits = list(result.hits.itertuples())
    cut = result.threshold is not None
    for number, ax in enumerate(axes[1:]):
        if number >= len(hits):
            ax.set_axis_off()
            continue
        hit = hits[number]
        ax.imshow(as_pixels(crops.read("gallery", hit.name, max_side=_SIDE)))
        likely = cut and hit.likely
        _frame(ax, _LIKELY if likely else _BEYOND, "solid" if likely else "dashed")
        mark = "likely, " if likely else ""
        ax.set_title(
            f"#{hit.rank} {mark}{hit.distance:.2f}\ncamera {hit.camera or '?'}", fontsize=8
        )
        if hit.vehicle:
            ax.set_xlabel(f"vehicle {hit.vehicle}", fontsize=7)
    return axes


def plot_precision(
    ax: Axes, curve: pd.DataFrame, *, threshold: float | None = None, title: str = ""
) -> Axes:
    """Precision and recall against the threshold.

    Args:
        ax: Where to draw.
        curve: Columns threshold, precision, recall, by ascending threshold.
        threshold: Is marked.
        title: Run and number of queries.
    """
    ax.plot(curve["threshold"], curve["precision"], color="#0072b2", label="precision")
    ax.plot(curve["threshold"], curve["recall"], color="#d55e00", ls="--", label="recall")
    if threshold is not None:
        ax.axvline(threshold, color="#000000", lw=1, ls=":", label=f"threshold {threshold:.3g}")
    ax.set(xlabel="distance", ylabel="share", ylim=(0, 1.02), title=title)
    ax.legend(loc="center right")
    return ax


def plot_cost(ax: Axes, cost: pd.DataFrame) -> Axes:
    """Median time of a search against the size of the gallery.

    Args:
        ax: Where to draw.
        cost: Columns sightings, ``all ms`` and ``filtered ms``.
    """
    ax.loglog(cost["sightings"], cost["all ms"], "o-", color="#0072b2", label="all compared")
    ax.loglog(
        cost["sightings"], cost["filtered ms"], "s--", color="#d55e00", label="filter keeps 1 %"
    )
    ax.set(xlabel="sightings", ylabel="search, ms (median)", title="Cost of a search")
    ax.legend()
    return ax


def _frame(ax: Axes, color: str, style: str) -> None:
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color=color, linewidth=3, linestyle=style)
