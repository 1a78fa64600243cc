"""Figures of what a data set holds; the tables come from :mod:`mtn_core.data.inspection`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from mtn_core.viewpoint import VIEWPOINT_NAMES
from mtn_core.viz.style import OKABE_ITO

SPLIT_COLORS = {
    "train": OKABE_ITO["blue"],
    "query": OKABE_ITO["vermilion"],
    "test": OKABE_ITO["green"],
}
SPLIT_MARKS = {"train": "o", "query": "^", "test": "s"}
_SPLIT_LABELS = {"train": "train", "query": "query", "test": "gallery (test)"}


def plot_coverage(ax: Axes, counts: pd.DataFrame, *, title: str = "") -> Axes:
    """Images of every id in every camera, as a map.

    Args:
        ax: Where to draw.
        counts: From :func:`mtn_core.data.inspection.coverage`, ids as rows, cameras as columns.
        title: Of the figure.
    """
    values = np.ma.masked_equal(counts.to_numpy(), 0)
    largest = max(int(counts.to_numpy().max(initial=1)), 2)
    image = ax.imshow(
        values, aspect="auto", interpolation="nearest", norm=LogNorm(vmin=1, vmax=largest)
    )
    ax.grid(False)
    ax.set_xlabel("camera" + (" (0: unknown)" if 0 in counts.columns else ""))
    ax.set_ylabel("vehicle")
    step = max(1, len(counts.columns) // 20)
    ax.set_xticks(range(0, len(counts.columns), step), counts.columns[::step])
    every = max(1, len(counts) // 12)
    ax.set_yticks(range(0, len(counts), every), counts.index[::every])
    bar = ax.figure.colorbar(image, ax=ax, label="images")
    ticks = [t for t in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500) if t <= largest]
    bar.set_ticks(ticks, labels=[str(t) for t in ticks], minor=False)
    bar.minorticks_off()
    share = 100 * float((counts.to_numpy() > 0).mean())
    ax.set_title(
        f"{title or 'Coverage'}: {len(counts)} vehicles x {len(counts.columns)} cameras, "
        f"{share:.0f} % of the cells filled"
    )
    return ax


def plot_crop_sizes(ax: Axes, images: pd.DataFrame) -> Axes:
    """Width against height of the crops, by split."""
    for split, group in _by_split(images):
        ax.scatter(
            group["width"],
            group["height"],
            s=9,
            alpha=0.5,
            marker=SPLIT_MARKS[split],
            color=SPLIT_COLORS[split],
            linewidths=0,
            label=f"{_SPLIT_LABELS[split]} (n = {len(group)})",
        )
    limit = 1.05 * float(images[["width", "height"]].to_numpy().max(initial=1))
    ax.plot([0, limit], [0, limit], color="#8a8f98", linewidth=0.8, linestyle="--")
    ax.set(xlim=(0, limit), ylim=(0, limit), xlabel="width (pixels)", ylabel="height (pixels)")
    ax.set_aspect("equal")
    ax.legend(loc="upper left")
    median = images[["width", "height"]].median()
    ax.set_title(f"Crop sizes: median {median['width']:.0f} x {median['height']:.0f}")
    return ax


def plot_classes(ax: Axes, images: pd.DataFrame, column: str, order: Sequence[str]) -> Axes:
    """Images of every colour or type, by split.

    Args:
        ax: Where to draw.
        images: From :func:`mtn_core.data.inspection.describe_images`.
        column: ``color``, ``type`` or ``viewpoint``.
        order: Class names in the order to show; ``unknown`` is added where it occurs.
    """
    names = [*order, "unknown"] if (images[column] == "unknown").any() else list(order)
    groups = _by_split(images)
    width = 0.8 / max(len(groups), 1)
    for number, (split, group) in enumerate(groups):
        shares = group[column].value_counts(normalize=True).reindex(names, fill_value=0)
        ax.bar(
            np.arange(len(names)) + (number - (len(groups) - 1) / 2) * width,
            100 * shares.to_numpy(),
            width,
            color=SPLIT_COLORS[split],
            hatch={"train": "", "query": "///", "test": "..."}[split],
            edgecolor="white",
            linewidth=0.4,
            label=f"{_SPLIT_LABELS[split]} (n = {len(group)})",
        )
    ax.set_xticks(range(len(names)), names, rotation=35, ha="right")
    ax.set_ylabel("share of the images (%)")
    ax.grid(axis="x", visible=False)
    ax.legend()
    titles = {"color": "Colours", "type": "Types", "viewpoint": "Viewpoints"}
    ax.set_title(f"{titles[column]}, share of each split")
    return ax


def plot_images_per_camera(ax: Axes, images: pd.DataFrame) -> Axes:
    """How many images an id has in one camera, by split."""
    groups = _by_split(images)
    sizes = {split: group.groupby(["pid", "camid"]).size() for split, group in groups}
    largest = max((int(s.max()) for s in sizes.values()), default=1)
    edges = np.arange(0.5, largest + 1.5) if largest <= 30 else np.linspace(0.5, largest + 0.5, 31)
    ax.hist(
        list(sizes.values()),
        bins=edges.tolist(),
        color=[SPLIT_COLORS[s] for s in sizes],
        label=[f"{_SPLIT_LABELS[s]} (mean {v.mean():.1f})" for s, v in sizes.items()],
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="images of one vehicle in one camera", ylabel="vehicle-camera pairs")
    ax.legend()
    ax.set_title("Images per vehicle and camera")
    return ax


def plot_confidence_by(ax: Axes, images: pd.DataFrame, column: str, *, most: int = 24) -> Axes:
    """Mean keypoint confidence of the images, by camera, viewpoint or id.

    Args:
        ax: Where to draw.
        images: From :func:`mtn_core.data.inspection.describe_images`.
        column: ``camid``, ``viewpoint`` or ``pid``.
        most: Groups to show; of more, the ones with the lowest median.
    """
    label = {"camid": "camera", "pid": "vehicle", "viewpoint": "viewpoint"}.get(column, column)
    if not (images["confidence"] > 0).any():
        return _say(ax, f"Keypoint confidence by {label}", "this data has no keypoints")
    groups = {key: group["confidence"].to_numpy() for key, group in images.groupby(column)}
    total = len(groups)
    if column == "viewpoint":
        known = [*VIEWPOINT_NAMES, "unknown"]
        groups = {key: groups[key] for key in known if key in groups}
    elif total > most:
        lowest = sorted(groups, key=lambda key: np.median(groups[key]))[:most]
        groups = {key: groups[key] for key in lowest}
    ax.boxplot(
        list(groups.values()),
        tick_labels=[str(key) for key in groups],
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": OKABE_ITO["sky"], "linewidth": 0.8},
        medianprops={"color": "black"},
    )
    ax.set(ylim=(0, 1), ylabel="mean confidence (0..1)", xlabel=label)
    ax.tick_params(axis="x", rotation=45 if column == "viewpoint" else 60)
    shown = f", the {most} lowest of {total}" if total > len(groups) else ""
    ax.set_title(f"Keypoint confidence by {label}{shown}")
    return ax


def plot_viewpoints(ax: PolarAxes, images: pd.DataFrame) -> Axes:
    """From which side the cars are seen: a rose of estimated directions, on a polar ``ax``."""
    azimuths = images["azimuth"].dropna().to_numpy()
    if not len(azimuths):
        return _say(ax, "Viewpoints", "this data has no keypoints")
    counts, edges = np.histogram(azimuths, bins=24, range=(0, 360))
    ax.bar(
        np.radians(edges[:-1]),
        100 * counts / len(azimuths),
        width=np.radians(15),
        align="edge",
        color=OKABE_ITO["blue"],
        edgecolor="white",
        linewidth=0.4,
    )
    ax.set_theta_zero_location("N")
    ax.set_xticks(np.radians(np.arange(0, 360, 45)), VIEWPOINT_NAMES)
    ax.set_rlabel_position(112)
    ax.yaxis.set_major_formatter("{x:.0f} %")
    ax.set_title(f"Viewpoints of {len(azimuths)} images, estimated", pad=18)
    return ax


def plot_keypoint_visibility(ax: Axes, keypoints: np.ndarray, names: Sequence[str]) -> Axes:
    """Mean confidence of each keypoint, the two sides of the car above and below.

    Args:
        ax: Where to draw.
        keypoints: ``(N, 36, 3)``.
        names: 36 names, left side first.
    """
    confidence = keypoints[..., 2].clip(0, 1).mean(axis=0)
    if not confidence.any():
        return _say(ax, "Confidence of each keypoint", "this data has no keypoints")
    half = len(confidence) // 2
    x = np.arange(half)
    ax.bar(x - 0.2, confidence[:half], 0.4, color=OKABE_ITO["sky"], label="left side of the car")
    ax.bar(
        x + 0.2,
        confidence[half:],
        0.4,
        color=OKABE_ITO["orange"],
        hatch="///",
        edgecolor="white",
        linewidth=0.3,
        label="right side",
    )
    labels = [f"{k} {name.removeprefix('left_').replace('_', ' ')}" for k, name in enumerate(names)]
    ax.set_xticks(x, labels[:half], rotation=50, ha="right")
    ax.set(ylim=(0, 1), ylabel="mean confidence (0..1)")
    ax.grid(axis="x", visible=False)
    ax.legend(ncols=2, loc="upper right")
    ax.set_title(f"Confidence of each keypoint (n = {len(keypoints)} images)")
    return ax


def _by_split(images: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(s, images[images["split"] == s]) for s in SPLIT_COLORS if (images["split"] == s).any()]


def _say(ax: Axes, title: str, text: str) -> Axes:
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()
    ax.set_title(title)
    return ax
