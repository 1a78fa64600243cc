"""Figures of PoseEstNet: predictions over crops, and the share of keypoints that it finds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mtn_core.data.images import read_image
from mtn_core.data.vehicle import KEYPOINT_NAMES, SEGMENT_MIN_CONFIDENCE
from mtn_core.pose.metrics import KEYPOINT_GROUPS, PoseErrors
from mtn_core.pose.result import PoseResult
from mtn_core.viz.overlay import draw_keypoints
from mtn_core.viz.samples import draw_caption, draw_cells
from mtn_core.viz.style import OKABE_ITO, WRONG

_GROUP_COLORS = {
    "wheels": OKABE_ITO["blue"],
    "body": OKABE_ITO["green"],
    "roof": OKABE_ITO["orange"],
    "all": "0.2",
}


def draw_predictions(
    ax: Axes, result: PoseResult, rows: Sequence[int], *, columns: int = 6, title: str = ""
) -> Axes:
    """Crops with what was predicted, and lines to where the visible keypoints really are.

    Circles are the car's left side, triangles its right; keypoints of confidence 0.5 or more.

    Args:
        ax: Where to draw.
        result: Of an evaluation; its images must lie where they were.
        rows: Which images.
        columns: Crops in a row of the sheet.
        title: Of the figure.
    """
    rows = [int(row) for row in rows]
    crops = [read_image(result.names[row]) for row in rows]
    boxes = draw_cells(ax, crops, columns, caption_lines=1)
    for row, crop, extent in zip(rows, crops, boxes, strict=True):
        height, width = crop.shape[:2]
        scale = np.array([(extent[1] - extent[0]) / width, (extent[2] - extent[3]) / height])
        start = np.array([extent[0], extent[3]])
        seen = result.errors.visible[row]
        for found, label in zip(result.keypoints[row, seen], result.labels[row, seen], strict=True):
            line = np.stack([start + found[:2] * scale, start + label[:2] * scale])
            ax.plot(*line.T, color=WRONG.color, linewidth=0.8, zorder=1.8)
        draw_keypoints(ax, extent, result.keypoints[row], (width, height))
        if seen.any():
            error = result.errors.distance[row, seen].mean()
            draw_caption(ax, extent, f"{seen.sum()} visible, off by {error:.1%}")
    ax.set_title(f"{title or 'Predictions'}: {len(rows)} of {len(result.names)} crops")
    return ax


def plot_pck_curves(ax: Axes, errors: PoseErrors, *, largest: float = 0.2, title: str = "") -> Axes:
    """PCK over the threshold: visible keypoints of each group, and all hidden ones."""
    thresholds = np.linspace(0, largest, 81)
    for group, members in {**KEYPOINT_GROUPS, "all": range(len(KEYPOINT_NAMES))}.items():
        chosen = np.zeros_like(errors.visible)
        chosen[:, list(members)] = True
        count = int((errors.visible & chosen).sum())
        values = [errors.pck(t, errors.visible & chosen) for t in thresholds]
        style = {"linewidth": 2.4} if group == "all" else {"linewidth": 1.4}
        ax.plot(
            thresholds, values, color=_GROUP_COLORS[group], label=f"{group} (n = {count})", **style
        )
    hidden = [errors.pck(t, errors.hidden) for t in thresholds]
    ax.plot(
        thresholds,
        hidden,
        color="0.5",
        linestyle="--",
        linewidth=1.4,
        label=f"all, hidden (n = {int(errors.hidden.sum())})",
    )
    ax.set(
        xlabel="threshold (longer sides of the crop)",
        ylabel="PCK",
        xlim=(0, largest),
        ylim=(0, 1),
    )
    ax.legend(loc="lower right")
    ax.set_title(title or f"Keypoints found, {len(errors.visible)} crops")
    return ax


def plot_pck_by_keypoint(
    ax: Axes, errors: PoseErrors, *, threshold: float = 0.1, title: str = ""
) -> Axes:
    """PCK of each of the 18 places of a car, both sides together, visible and hidden."""
    half = len(KEYPOINT_NAMES) // 2
    names = [name.removeprefix("left_").replace("_", " ") for name in KEYPOINT_NAMES[:half]]
    for kind, mask, color, marker in (
        ("visible", errors.visible, OKABE_ITO["blue"], "o"),
        ("hidden", errors.hidden, "0.55", "x"),
    ):
        values = []
        for k in range(half):
            chosen = np.zeros_like(mask)
            chosen[:, [k, k + half]] = True
            values.append(errors.pck(threshold, mask & chosen))
        ax.scatter(values, range(half), color=color, marker=marker, s=28, label=kind, zorder=2)
    ax.set_yticks(range(half), names)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel=f"PCK@{threshold:g}")
    ax.legend(loc="lower left")
    ax.set_title(title or f"By keypoint, {len(errors.visible)} crops")
    return ax


def plot_confidences(ax: Axes, errors: PoseErrors, *, title: str = "") -> Axes:
    """Predicted confidences of visible and of hidden keypoints; the line is where segments end."""
    edges = np.linspace(0, 1, 41)
    for kind, mask, color in (
        ("visible", errors.visible, OKABE_ITO["blue"]),
        ("hidden", errors.hidden, "0.55"),
    ):
        if mask.any():
            ax.hist(
                errors.confidence[mask],
                edges,
                density=True,
                histtype="step",
                color=color,
                linewidth=1.8,
                label=f"{kind} (n = {int(mask.sum())})",
            )
    ax.axvline(SEGMENT_MIN_CONFIDENCE, color="0.3", linewidth=0.9, linestyle="--")
    ax.set(xlim=(0, 1), xlabel="predicted confidence", ylabel="density")
    ax.legend()
    ax.set_title(title or "Does the network know what it does not see?")
    return ax
