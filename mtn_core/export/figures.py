"""Figures of notebooks 05 and 06; each takes an ``ax`` and returns it."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from mtn_core.export.parity import TOLERANCE, largest
from mtn_core.predict.model_json import ModelSpec
from mtn_core.viz.style import OKABE_ITO

_SMALLEST = 1e-9  # where a difference of 0 is drawn on the logarithmic axis


def plot_parity(ax: Axes, spec: ModelSpec) -> Axes:
    """Draw the largest difference of every exported file to the training network.

    Float32 files (circles) must stay left of the dashed line; files in smaller numbers (squares)
    may not.
    """
    names = list(spec.parity)[::-1]
    for row, name in enumerate(names):
        exact = spec.files[name].precision == "float32"
        ax.plot(
            max(largest(spec.parity[name]), _SMALLEST),
            row,
            marker="o" if exact else "s",
            color=OKABE_ITO["blue" if exact else "orange"],
        )
    ax.axvline(TOLERANCE, color=OKABE_ITO["black"], linestyle="--", linewidth=1)
    ax.set(
        xscale="log",
        xlabel="largest difference to the training network",
        yticks=range(len(names)),
        yticklabels=[name.removeprefix(spec.name).lstrip("_.") for name in names],
        title=f"{spec.name}: {len(names)} files",
    )
    ax.margins(y=0.2)
    return ax


def plot_speed(ax: Axes, milliseconds: Mapping[str, float], *, batch: int = 1) -> Axes:
    """Draw what an image costs in every back end, as bars with their values."""
    table = pd.Series(milliseconds)
    bars = ax.barh(table.index[::-1], table.to_numpy()[::-1], color=OKABE_ITO["blue"])
    ax.bar_label(bars, fmt="%.1f", padding=3)
    ax.set(
        xlabel="ms per image, network alone",
        title=f"{len(table)} back ends, batch {batch}",
        xlim=(0, table.max() * 1.15),
    )
    return ax
