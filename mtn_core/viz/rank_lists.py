"""Rank lists as pictures: a query, and what the network takes for the same vehicle."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mtn_core.results.ranking import RankEntry, RankList
from mtn_core.viz.crops import CropSource, as_pixels
from mtn_core.viz.style import MARKS, QUERY, Mark
from mtn_core.viz.tables import say_percent

# Draws over one crop: (ax, (left, right, bottom, top) of the crop, split, row of the split).
Overlay = Callable[[Axes, tuple[float, float, float, float], str, int], None]

_CROP_HEIGHT = 0.74  # of a cell that is 1 wide
_LINE_HEIGHT = 0.145
_PITCH, _LINE_PITCH = 1.1, _CROP_HEIGHT + 4 * _LINE_HEIGHT
_CELL_INCHES = 1.06


def plot_rank_list(
    ax: Axes,
    rank_list: RankList,
    crops: CropSource,
    *,
    per_row: int | None = None,
    overlay: Overlay | None = None,
    plain_ap: float | None = None,
) -> Axes:
    """Draw one rank list as crops beside each other, in as many rows as it takes.

    Every crop has a frame (green solid: right, vermilion dashed: wrong, grey dotted: ignored), a
    sign in its corner, and below it rank, distance, identity and camera.

    Args:
        ax: Where to draw; its axis is hidden.
        rank_list: What to draw.
        crops: Where crops are read.
        per_row: Crops in a row, the query among them; by default all are in one.
        overlay: Draws over each crop, for example keypoints.
        plain_ap: Average precision before re-ranking, where the list is a re-ranked one.
    """
    per_row = per_row or count_cells(rank_list)
    caption = [f"vehicle {rank_list.pid}", f"camera {rank_list.camid or '?'}"]
    cells: list[tuple[Mark, list[str], str, RankList | RankEntry]] = [
        (QUERY, ["query", *caption], "query", rank_list)
    ]
    cells += [(MARKS[e.verdict], _caption(e), "gallery", e) for e in rank_list.entries]
    first = rank_list.first_match
    is_far = first is not None and rank_list.first_match_is_further_down
    if first is not None and is_far:
        cells.append((MARKS[first.verdict], _caption(first), "gallery", first))
    for place, cell in enumerate(cells):
        line, column = divmod(place, per_row)
        corner = (_PITCH * column, -_LINE_PITCH * line)
        if is_far and place == len(cells) - 1:
            ax.text(corner[0] - 0.05, corner[1] + _CROP_HEIGHT / 2, "…", ha="center", va="center",
                    fontsize=14)  # fmt: skip
        _draw_cell(ax, corner, *cell, crops, overlay)
    bottom = -_LINE_PITCH * ((len(cells) - 1) // per_row) - 4 * _LINE_HEIGHT
    ax.set(xlim=(-0.06, _PITCH * per_row), ylim=(bottom, _CROP_HEIGHT + 0.06), aspect="equal")
    ax.axis("off")
    ap = "no AP" if np.isnan(rank_list.ap) else f"AP {say_percent(rank_list.ap)}"
    if plain_ap is not None:
        ap += f" after re-ranking ({say_percent(plain_ap)} before)"
    hidden = rank_list.num_ignored_hidden
    more = f"; {hidden} more ignored not shown" if hidden else ""
    ax.set_title(f"{rank_list.name}\n{ap}, {rank_list.describe()}{more}", fontsize=8.5, pad=3)
    return ax


def count_cells(rank_list: RankList) -> int:
    """Crops that a list shows: the query, the entries, and a first match further down."""
    return 1 + len(rank_list.entries) + rank_list.first_match_is_further_down


def _caption(entry: RankEntry) -> list[str]:
    rank = "ignored" if entry.rank is None else f"#{entry.rank}"
    return [
        f"{rank} · d {entry.distance:.2f}",
        f"vehicle {entry.pid}",
        f"camera {entry.camid or '?'}",
    ]


def _draw_cell(
    ax: Axes,
    corner: tuple[float, float],
    mark: Mark,
    caption: list[str],
    split: str,
    item: RankList | RankEntry,
    crops: CropSource,
    overlay: Overlay | None,
) -> None:
    x, y = corner
    crop = crops.read(split, item.name, max_side=220)
    scale = min(1 / crop.width, _CROP_HEIGHT / crop.height)
    width, height = crop.width * scale, crop.height * scale
    left, bottom = x + (1 - width) / 2, y + (_CROP_HEIGHT - height) / 2
    extent = (left, left + width, bottom, bottom + height)
    ax.imshow(as_pixels(crop), extent=extent, interpolation="lanczos", zorder=1)
    if overlay is not None:
        overlay(ax, extent, split, item.row)
    line = {"✓": "-", "✗": "--", "–": ":", "?": "-"}[mark.sign]
    ax.add_patch(
        Rectangle(
            (x, y),
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
        x + 0.02, y + _CROP_HEIGHT - 0.02, mark.sign, color="white", fontsize=7.5,
        fontweight="bold", ha="left", va="top", zorder=4,
        bbox={"facecolor": mark.color, "edgecolor": "none", "boxstyle": "square,pad=0.15"},
    )  # fmt: skip
    for k, text in enumerate(caption):
        ax.text(x + 0.5, y - 0.04 - _LINE_HEIGHT * k, text, fontsize=8, ha="center", va="top")


def draw_rank_lists(
    rank_lists: Sequence[RankList],
    crops: CropSource,
    *,
    title: str = "",
    overlay: Overlay | None = None,
    per_row: int | None = None,
    plain_ap: Sequence[float] | None = None,
) -> Figure:
    """Draw rank lists below each other.

    Args:
        rank_lists: What to draw, from top to bottom.
        crops: Where crops are read.
        title: Above the figure.
        overlay: Draws over each crop.
        per_row: Crops in a row; by default each list is one row.
        plain_ap: Average precision of each before re-ranking, where they are re-ranked.

    Returns:
        A figure that pyplot does not manage; it shows itself in a notebook.
    """
    if not rank_lists:
        raise ValueError("`rank_lists` is empty: no query fits the selection")
    counts = [count_cells(one) for one in rank_lists]
    per_row = min(per_row or max(counts), max(counts))
    lines = [-(-count // per_row) for count in counts]
    width = _CELL_INCHES * _PITCH * per_row
    heights = [_CELL_INCHES * _LINE_PITCH * n + 0.45 for n in lines]
    figure = Figure(figsize=(width + 0.1, sum(heights) + 0.55))
    axes = figure.subplots(len(rank_lists), 1, squeeze=False, height_ratios=heights)[:, 0]
    for k, (ax, rank_list) in enumerate(zip(axes, rank_lists, strict=True)):
        before = None if plain_ap is None else plain_ap[k]
        plot_rank_list(ax, rank_list, crops, per_row=per_row, overlay=overlay, plain_ap=before)
    figure.suptitle(
        (title + "\n" if title else "")
        + "✓ right   ✗ wrong   – ignored (same vehicle, same camera)   d: distance",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    return figure
