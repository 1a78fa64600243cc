"""Curves of a training run, from its ``train.csv``."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mtn_core.viz.tables import say_column

_PART_PREFIX = "loss_"
_NO_PART = "loss_scale"  # of mixed precision


def list_loss_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that hold the loss and its parts, ``loss`` first."""
    parts = [c for c in frame.columns if c.startswith(_PART_PREFIX) and c != _NO_PART]
    return ["loss", *parts]


def plot_training_curves(
    ax: Axes, frame: pd.DataFrame, columns: Sequence[str] | None = None, *, title: str = ""
) -> Axes:
    """Draw the loss and its parts over the steps: faint as measured, strong as running median.

    Args:
        ax: Where to draw.
        frame: Rows of ``train.csv``.
        columns: Columns to draw; by default the loss and its parts.
        title: Names the run; the number of steps is added.
    """
    columns = list(columns or list_loss_columns(frame))
    steps = count_steps(frame)
    for column in columns:
        (line,) = ax.plot(steps, _smooth(frame[column]), label=_readable(column))
        ax.plot(steps, frame[column], color=line.get_color(), alpha=0.25, linewidth=0.7)
    if "epoch" in frame:
        _mark_epochs(ax, steps, frame["epoch"].to_numpy())
    ax.set(xlabel="step", ylabel="loss", xlim=(0, max(steps[-1], 1)))
    ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    if len(columns) > 1:
        ax.legend(ncols=2)
    ax.set_title(f"{title}: {len(frame)} steps" if title else f"Training, {len(frame)} steps")
    return ax


def plot_throughput(ax: Axes, frame: pd.DataFrame, *, title: str = "") -> Axes:
    """Draw images per second over the steps, and the share of time spent waiting for data."""
    steps = count_steps(frame)
    rate = frame["images_per_s"].to_numpy(dtype=float)
    ax.plot(steps, rate, linewidth=0.9)
    median = float(np.nanmedian(rate))
    ax.axhline(median, linestyle="--", linewidth=1, color="0.5")
    ax.set(xlabel="step", ylabel="images per second", xlim=(0, max(steps[-1], 1)))
    ax.set_ylim(bottom=0)
    waiting = ""
    if "data_wait_ms" in frame:
        waiting = f", {np.nanmedian(frame['data_wait_ms']):.0f} ms wait for data a step"
    ax.set_title(f"{title or 'Speed'}: {median:.0f} images/s{waiting}")
    return ax


def plot_learning_rate(ax: Axes, frame: pd.DataFrame, *, title: str = "Learning rate") -> Axes:
    """Draw the learning rate over the steps."""
    ax.plot(count_steps(frame), frame["lr"])
    ax.set(xlabel="step", ylabel="learning rate", title=title)
    ax.set_ylim(bottom=0)
    return ax


def plot_triplets(ax: Axes, frame: pd.DataFrame) -> Axes:
    """Draw the share of anchors whose hardest triplet still has a loss."""
    ax.plot(count_steps(frame), _smooth(frame["active_triplets"]))
    ax.set(xlabel="step", ylabel="share of anchors", ylim=(0, 1.01))
    ax.set_title("Active triplets")
    return ax


def plot_distances(ax: Axes, frame: pd.DataFrame) -> Axes:
    """Draw the mean distance to the hardest positive and to the hardest negative."""
    for column, label, line in (
        ("positive_distance", "hardest positive", "-"),
        ("negative_distance", "hardest negative", "--"),
    ):
        ax.plot(count_steps(frame), _smooth(frame[column]), line, label=label)
    ax.set(xlabel="step", ylabel="distance of embeddings", title="Hardest pairs in the batch")
    ax.set_ylim(bottom=0)
    ax.legend()
    return ax


def plot_loss_comparison(ax: Axes, frames: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw the loss of several runs over the steps."""
    for name, frame in frames.items():
        ax.plot(count_steps(frame), _smooth(frame["loss"]), label=name)
    ax.set(
        xlabel="step",
        ylabel="loss",
        title=f"Loss of {len(frames)} runs" if len(frames) > 1 else "Loss",
    )
    ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
    ax.legend()
    return ax


def plot_validation(ax: Axes, frame: pd.DataFrame, *, title: str = "Validation") -> Axes:
    """Draw the fractions that were measured during training over the epochs.

    Args:
        ax: Where to draw; its vertical axis is fixed to 0..1.
        frame: Rows of ``validation.csv``; columns that leave 0..1 are not drawn.
        title: The number of evaluations is added.
    """
    skipped = ("epoch", "step", "score", "seconds")
    names = [
        name
        for name in frame.columns
        if name not in skipped and pd.api.types.is_numeric_dtype(frame[name])
    ]
    names = [n for n in names if frame[n].dropna().between(0, 1).all()] or ["score"]
    for name in names:
        ax.plot(frame["epoch"], frame[name], marker="o", label=_readable(name))
    ax.set(xlabel="epoch", ylabel="fraction", ylim=(0, 1.01))
    ax.set_title(f"{title}: {len(frame)} evaluations")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    return ax


def _smooth(values: pd.Series) -> pd.Series:
    window = max(1, min(25, len(values) // 8))
    return values.rolling(window, center=True, min_periods=1).median()


def count_steps(frame: pd.DataFrame) -> np.ndarray:
    """Steps since the start, whether the file counts them through or anew in each epoch."""
    steps = frame["step"].to_numpy(dtype=float)
    if "epoch" in frame and len(steps) > 1 and np.any(np.diff(steps) < 0):
        return np.arange(1, len(steps) + 1, dtype=float)
    return steps


def _mark_epochs(ax: Axes, steps: np.ndarray, epochs: np.ndarray) -> None:
    starts = steps[1:][np.diff(epochs) > 0]
    if 0 < len(starts) <= 60:
        for start in starts:
            ax.axvline(start, color="0.5", linewidth=0.4, alpha=0.35, zorder=0)


def _readable(column: str) -> str:
    if column == "loss":
        return "loss (weighted sum)"
    return say_column(column.removeprefix("loss_").removesuffix("_loss"))
