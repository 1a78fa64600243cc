"""Rank lists as pictures: a query, and what the network takes for the same vehicle."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mtn_core.results.ranking import RankEntry, RankList
from mtn_core.viz.crops import CropSource, as_pixels
from mtn_core.viz.style import MARKS, QUERY, Mark

# Draws over one crop: (ax, (left, right, bottom, top) of the crop, split, row of the split).
Overlay = Callable[[Axes, tuple[float, float, float, float], str, int], None]

_CROP_HEIGHT = 0.74  # of a cell that is 1 wide
_LINE_HEIGHT = 0.135


def plot_rank_list(
    ax: Axes,
    rank_list: RankList,
    crops: CropSource,
    *,
    num_cells: float | None = None,
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
        _draw_cell(ax, x, MARKS[entry.verdict], _caption(entry), crops, "gallery", entry, overlay)
        x += 1.08
    first = rank_list.first_match
    if first is not None and rank_list.first_match_is_further_down:
        ax.text(x + 0.08, _CROP_HEIGHT / 2, "…", ha="center", va="center", fontsize=14)
        x += 0.25
        _draw_cell(ax, x, MARKS[first.verdict], _caption(first), crops, "gallery", first, overlay)
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
