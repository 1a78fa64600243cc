"""The verification view: are two crops the same vehicle, at one threshold for all."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mtn_core.viz.style import RIGHT, WRONG

_LOWEST_RATE = 1e-5  # drawn, however many pairs there are


def plot_roc(ax: Axes, curves: pd.DataFrame | Mapping[str, pd.DataFrame]) -> Axes:
    """Draw true accepts over false accepts, the latter on a logarithmic axis.

    Args:
        ax: Where to draw.
        curves: One curve, or curves by run name; columns as of
            :meth:`mtn_core.metrics.verification.Verification.roc_frame`.
    """
    if isinstance(curves, pd.DataFrame):
        curves = {"": curves}
    lowest = _lowest_rate(curves.values())
    for name, curve in curves.items():
        rates = np.maximum(curve["false_accept_rate"], lowest)
        ax.step(rates, curve["true_accept_rate"], where="post", label=name or None)
    diagonal = np.geomspace(lowest, 1, 100)
    ax.plot(diagonal, diagonal, color="0.5", linewidth=0.8, linestyle="--", label="a random guess")
    ax.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.01))
    ax.set(xlabel="false-accept rate (other vehicles taken for the same)")
    ax.set(ylabel="true-accept rate", title="Same vehicle or not: ROC")
    ax.legend(loc="upper left")
    return ax


def _lowest_rate(curves: Iterable[pd.DataFrame]) -> float:
    """Where the axis begins: a pair more or less cannot be seen to the left of it."""
    rates = np.concatenate([curve["false_accept_rate"].to_numpy(float) for curve in curves])
    positive = rates[rates > 0]
    return max(_LOWEST_RATE, float(positive.min())) if len(positive) else _LOWEST_RATE


def plot_distance_histogram(
    ax: Axes, histogram: pd.DataFrame, *, threshold: float | None = None
) -> Axes:
    """Draw the distances of same-vehicle and other-vehicle pairs, each to its own area of one.

    Args:
        ax: Where to draw.
        histogram: Columns as of
            :meth:`mtn_core.metrics.verification.Verification.to_frame`.
        threshold: Drawn as a line, such as the one of the equal-error rate.
    """
    edges = np.append(histogram["low"], histogram["high"].iloc[-1])
    widths = np.diff(edges)
    for column, mark, word, hatch in (
        ("positive", RIGHT, "same vehicle", None),
        ("negative", WRONG, "other vehicles", "////"),
    ):
        counts = histogram[column].to_numpy(dtype=float)
        density = counts / max(counts.sum(), 1) / np.where(widths > 0, widths, 1)
        label = f"{word} ({int(counts.sum()):,} pairs)"
        ax.stairs(density, edges, color=mark.color, fill=True, alpha=0.25, hatch=hatch)
        ax.stairs(density, edges, color=mark.color, linewidth=1.6, label=label)
    if threshold is not None and np.isfinite(threshold):
        label = f"equal-error threshold {threshold:.2f}"
        ax.axvline(threshold, color="0.4", linestyle="--", linewidth=1.2, label=label)
    used = np.flatnonzero(histogram["positive"] + histogram["negative"])
    if len(used):
        ax.set_xlim(edges[max(0, used[0] - 1)], edges[min(len(edges) - 1, used[-1] + 2)])
    ax.set_ylim(0, ax.get_ylim()[1] * 1.35)  # room for the legend above the curves
    ax.set(xlabel="distance", ylabel="density", title="Distances of pairs", yticks=[])
    ax.legend(loc="upper right")
    return ax
