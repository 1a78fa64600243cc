"""Where retrieval works and where it fails: groups with intervals, matrices of pairs."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from mtn_core.metrics.breakdown import describe_no_interval, has_interval
from mtn_core.viz.style import OKABE_ITO

_MAX_NUMBERED_CELLS = 225  # a matrix with more cells than that has no room for numbers


def plot_breakdown(
    ax: Axes,
    tables: pd.DataFrame | Mapping[str, pd.DataFrame],
    group: str,
    *,
    overall: float | Mapping[str, float] | None = None,
    title: str = "",
) -> Axes:
    """Draw the mAP of each group with its interval, the first group on top.

    A group of fewer than five vehicles has a hollow mark and no interval.

    Args:
        ax: Where to draw; its horizontal axis is fixed to 0..1.
        tables: One breakdown, or breakdowns of the same groups by run name; columns as of
            :func:`mtn_core.metrics.breakdown.by_group`.
        group: Column that names the group.
        overall: mAP over all groups, drawn as a line; by run name for several runs.
        title: The number of queries is added.
    """
    if isinstance(tables, pd.DataFrame):
        tables = {"": tables}
    if overall is not None and not isinstance(overall, Mapping):
        overall = {"": overall}
    first = next(iter(tables.values()))
    labels = [
        f"{_readable(value)}  (n={count})"
        for value, count in zip(first[group], first["num_query"], strict=True)
    ]
    height = 0.5 / len(tables)
    for k, (name, table) in enumerate(tables.items()):
        aligned = table.set_index(group).reindex(first[group])
        y = np.arange(len(aligned)) + (k - (len(tables) - 1) / 2) * height
        color = f"C{k}"
        values = aligned["mAP"].to_numpy(dtype=float)
        low, high = aligned["mAP_low"].to_numpy(float), aligned["mAP_high"].to_numpy(float)
        vehicles = aligned["num_vehicles"].fillna(0).to_numpy(int)
        sure = np.array([has_interval(count) for count in vehicles], dtype=bool)
        mark = "os^D"[k % 4]
        ax.hlines(y[sure], low[sure], high[sure], color=color, linewidth=2.2, alpha=0.55)
        ax.plot(values[sure], y[sure], mark, color=color)
        ax.plot(values[~sure], y[~sure], mark, color=color, markerfacecolor="none")
        ax.plot([], [], mark, color=color, label=name or None)
        if len(tables) == 1:
            whole = None if overall is None else overall[name]
            _say_no_interval(ax, values[~sure], y[~sure], vehicles[~sure], whole)
        if overall is not None:
            ax.axvline(overall[name], color=color, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlim=(0, 1), xlabel="mAP; line: 95 % interval over vehicles")
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    ax.grid(axis="y", visible=False)
    if len(tables) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    ax.set_title(f"{title}: {int(first['num_query'].sum())} queries")
    return ax


def _say_no_interval(
    ax: Axes, values: np.ndarray, y: np.ndarray, vehicles: np.ndarray, overall: float | None
) -> None:
    """Words at the edge of the row that neither the mark nor the line of all queries crosses."""
    for value, height, count in zip(values, y, vehicles, strict=True):
        if not np.isfinite(value):
            continue
        taken = [value, value if overall is None else overall]
        right = max(taken) <= 0.62 or min(taken) < 0.38
        ax.text(
            0.995 if right else 0.005,
            height,
            describe_no_interval(count),
            ha="right" if right else "left",
            va="center",
            fontsize=7.5,
            alpha=0.75,
        )


def plot_pair_matrix(
    ax: Axes,
    table: pd.DataFrame,
    rows: str,
    columns: str,
    *,
    value: str = "mAP",
    order: Sequence[object] | None = None,
    title: str = "",
) -> Axes:
    """Draw a value of every pair of groups as a matrix; pairs without queries stay empty.

    Args:
        ax: Where to draw.
        table: One row a pair.
        rows: Column whose values are the rows of the matrix.
        columns: Likewise.
        value: Column with fractions, drawn in viridis from 0 to 1.
        order: Groups in the order to draw; by default they ascend.
        title: Of the figure.
    """
    groups = order or sorted(set(table[rows]) | set(table[columns]))
    used = [group for group in groups if (table[[rows, columns]] == group).any(axis=None)]
    matrix = table.pivot(index=rows, columns=columns, values=value).reindex(used)
    _draw_matrix(ax, matrix.reindex(columns=used).to_numpy(dtype=float), used, used, value)
    words = [name.replace("_", " ").replace("camid", "camera") for name in (columns, rows)]
    ax.set(xlabel=words[0], ylabel=words[1], title=title)
    return ax


def plot_confusion(ax: Axes, table: pd.DataFrame, *, title: str = "") -> Axes:
    """Draw an attribute's confusion matrix; each row shows where one true class ends up.

    Args:
        ax: Where to draw.
        table: Columns as of :func:`mtn_core.metrics.mistakes.attribute_confusion`.
        title: The number of images is added.
    """
    names = {
        **dict(zip(table["true_id"], table["true"], strict=True)),
        **dict(zip(table["predicted_id"], table["predicted"], strict=True)),
    }
    ids = sorted(names)
    true = [i for i in ids if (table["true_id"] == i).any()]
    matrix = table.pivot(index="true_id", columns="predicted_id", values="share")
    matrix = matrix.reindex(index=true, columns=ids)  # what never happens stays empty
    counts = table.groupby("true_id")["count"].sum()
    _draw_matrix(
        ax,
        matrix.to_numpy(),
        [f"{names[i]} (n={counts[i]})" for i in true],
        [names[i] for i in ids],
        "share of the true class",
    )
    ax.set(xlabel="predicted", ylabel="true")
    ax.set_title(f"{title}: {int(table['count'].sum())} images")
    return ax


def plot_ap_scatter(
    ax: Axes, first: np.ndarray, second: np.ndarray, names: tuple[str, str]
) -> Axes:
    """Draw the average precision of every query in two runs against each other.

    Args:
        ax: Where to draw.
        first: ``(num_query,)``, nan without a match.
        second: ``(num_query,)``, the same queries.
        names: Names of the two runs.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    better, worse = second > first + 1e-9, second < first - 1e-9
    for rows, marker, color, word in (
        (better, "^", OKABE_ITO["green"], "better"),
        (worse, "v", OKABE_ITO["vermilion"], "worse"),
        (~better & ~worse, "o", "0.6", "equal"),
    ):
        label = f"{word} ({rows.sum()})"
        ax.scatter(first[rows], second[rows], s=14, marker=marker, color=color, alpha=0.6,
                   linewidths=0, label=label)  # fmt: skip
    ax.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, linestyle="--")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.set(xlabel=f"AP in {names[0]}", ylabel=f"AP in {names[1]}")
    ax.set_title(f"Average precision of {len(first)} queries")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _draw_matrix(
    ax: Axes,
    matrix: np.ndarray,
    rows: list,
    columns: list,
    label: str,
) -> None:
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(matrix), vmin=0, vmax=1, cmap="viridis", edgecolors="none"
    )
    ax.set_xticks(np.arange(len(columns)) + 0.5, [_readable(c) for c in columns])
    ax.set_yticks(np.arange(len(rows)) + 0.5, [_readable(r) for r in rows])
    if max(len(_readable(c)) for c in columns) > 3:
        ax.tick_params(axis="x", rotation=40)
        for text in ax.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    if matrix.size <= _MAX_NUMBERED_CELLS:
        for (i, j), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                # viridis is dark up to about the middle
                color = "white" if value < 0.55 else "black"
                ax.text(j + 0.5, i + 0.5, f"{100 * value:.0f}", ha="center", va="center",
                        fontsize=7, color=color)  # fmt: skip
    bar = ax.figure.colorbar(
        mesh,
        ax=ax,
        format=PercentFormatter(1, decimals=0, symbol=" %"),
        label=label,
        pad=0.02,
        shrink=0.9,
    )
    bar.outline.set_visible(False)
    # A vector file draws the bar as hundreds of lines otherwise, with gaps between them.
    if bar.solids is not None:
        bar.solids.set_rasterized(True)
    mpl.artist.setp(bar.ax, axisbelow=False)


def _readable(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
