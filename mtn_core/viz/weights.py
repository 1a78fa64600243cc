"""Figures of converted weights: how far they are from the original, and what the stem looks for."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mtn_core.viz.style import OKABE_ITO

# Equal curves lie on each other: the first is drawn large and hollow, the second inside it.
# Marker, its size and filling, line, colour.
_SERIES = (
    ("o", 10, "none", "-", OKABE_ITO["blue"]),
    ("s", 4, "auto", ":", OKABE_ITO["vermilion"]),
)


def plot_stage_differences(
    ax: Axes, tables: Mapping[str, pd.DataFrame], tolerance: float, *, title: str = ""
) -> Axes:
    """Draw the largest difference of every stage, on a logarithmic axis, and what is allowed.

    Args:
        ax: Where to draw.
        tables: What the weights were compared with, two at most -> rows with ``stage``,
            ``largest_difference``.
        tolerance: Largest difference that is allowed.
        title: Of the figure.
    """
    for (label, table), look in zip(tables.items(), _SERIES, strict=False):
        marker, size, filling, line, color = look
        stages = table["stage"].tolist()
        # A difference of exactly 0 has no place on a logarithmic axis.
        heights = np.maximum(table["largest_difference"].to_numpy(float), 1e-9)
        ax.plot(
            stages,
            heights,
            marker=marker,
            markersize=size,
            markerfacecolor=filling,
            linestyle=line,
            color=color,
            label=label,
        )
    ax.axhline(tolerance, color=OKABE_ITO["black"], linestyle="--", linewidth=1)
    ax.annotate(
        f"allowed: {tolerance:g}", (0, tolerance), xytext=(0, 3), textcoords="offset points"
    )
    ax.set_yscale("log")
    ax.set_ylabel("largest absolute difference")
    ax.tick_params(axis="x", rotation=45)
    ax.set_title(title)
    ax.legend()
    return ax


def plot_filters(ax: Axes, weight: np.ndarray, *, columns: int = 16, title: str = "") -> Axes:
    """Draw the RGB part of convolution filters as small pictures, each with its own contrast.

    Args:
        ax: Where to draw.
        weight: ``(num_filters, C, k, k)``, C at least 3; the first three channels are red, green
            and blue.
        columns: Filters in a row.
        title: Of the figure.
    """
    tiles = np.moveaxis(np.asarray(weight, dtype=float)[:, :3], 1, -1)
    low = tiles.min((1, 2, 3), keepdims=True)
    span = np.maximum(tiles.max((1, 2, 3), keepdims=True) - low, 1e-12)
    # A margin of one white pixel keeps neighbours apart.
    tiles = np.pad((tiles - low) / span, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=1)
    rows = -(-len(tiles) // columns)
    height, width = tiles.shape[1:3]
    sheet = np.ones((rows * columns, height, width, 3))
    sheet[: len(tiles)] = tiles
    sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    ax.imshow(sheet.reshape(rows * height, columns * width, 3), interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(title)
    return ax
