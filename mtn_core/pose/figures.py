"""Figures of PoseEstNet: predictions over crops, and the share of keypoints that it finds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from mtn_core.data.images import read_image
from mtn_core.data.source import read_maps
from mtn_core.data.split import Split
from mtn_core.data.transforms import used_segments
from mtn_core.pose.metrics import KEYPOINT_GROUPS, PoseErrors
from mtn_core.pose.result import PoseResult
from mtn_core.vehicle import (
    KEYPOINT_NAMES,
    NUM_KEYPOINTS,
    NUM_SEGMENTS,
    SEGMENT_MIN_CONFIDENCE,
)
from mtn_core.viz.overlay import draw_keypoints
from mtn_core.viz.samples import draw_caption, draw_cells, draw_maps
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
    """Crops with predictions of their visible keypoints, and lines to where these really are.

    Circles are the car's left side, triangles its right.

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
        # Unsure ones are drawn as well: they are what the lines belong to.
        points = np.column_stack([result.keypoints[row, :, :2], seen])
        draw_keypoints(ax, extent, points, (width, height))
        if seen.any():
            error = result.errors.distance[row, seen].mean()
            draw_caption(ax, extent, f"{seen.sum()} visible, off by {100 * error:.1f} %")
    ax.set_title(f"{title or 'Predictions'}: {len(rows)} of {len(result.names)} crops")
    return ax


def draw_pose_batch(
    ax: Axes, batch: Mapping[str, np.ndarray], heatmap_size: int, *, count: int = 12
) -> Axes:
    """A training batch as PoseEstNet gets it, with the keypoints that it is to find as visible.

    Args:
        ax: Where to draw.
        batch: From :class:`mtn_core.pose.loader.PoseTrainLoader`.
        heatmap_size: Side of the heatmaps, in whose pixels the targets are.
        count: Crops to show.
    """
    images = list(batch["image"][:count])
    boxes = draw_cells(ax, images, min(6, len(images)), caption_lines=1)
    for target, extent in zip(batch["target"], boxes, strict=False):
        x, y = (target[:, :2].T + 0.5) / heatmap_size
        # Weight 1 is a visible keypoint; what is hidden or outside is not drawn.
        points = np.column_stack([x, y, target[:, 3] >= 1])
        draw_keypoints(ax, extent, points, (1, 1))
        hidden = int(((target[:, 3] > 0) & (target[:, 3] < 1)).sum())
        draw_caption(ax, extent, f"{int((target[:, 3] >= 1).sum())} visible, {hidden} other")
    ax.set_title(f"{len(images)} of {len(batch['image'])} crops of a batch, augmented")
    return ax


def draw_map_comparison(axes: Sequence[Axes], exact: Split, predicted: Split, row: int) -> None:
    """Heatmaps and segments of one image, exact and predicted, down a column of four axes.

    Args:
        axes: Four: exact heatmaps, predicted heatmaps, exact segments, predicted segments.
        exact: Split with the given maps.
        predicted: The same split of the root that `mtn trans` wrote.
        row: Which image.
    """
    image = read_image(exact.image_path(row))
    for position, (folder, count) in enumerate(
        (("heatmap_dir", NUM_KEYPOINTS), ("segment_dir", NUM_SEGMENTS))
    ):
        for offset, (split, word) in enumerate(((exact, "exact"), (predicted, "predicted"))):
            maps = read_maps(getattr(split, folder)(row), count)
            kind = "segments" if position else "heatmaps"
            if position:
                maps = maps * used_segments(split.keypoints[row])[:, None, None]
            draw_maps(
                axes[2 * position + offset], image, maps, segments=bool(position), title=""
            ).set_title(f"{word} {kind}", fontsize=7)


def plot_pck_curves(ax: Axes, errors: PoseErrors, *, largest: float = 0.2, title: str = "") -> Axes:
    """PCK over the threshold: visible keypoints of each group, and all hidden ones."""
    thresholds = np.linspace(0, largest, 81)
    for group, members in {**KEYPOINT_GROUPS, "all": range(len(KEYPOINT_NAMES))}.items():
        chosen = np.zeros_like(errors.visible)
        chosen[:, list(members)] = True
        count = int((errors.visible & chosen).sum())
        values = [errors.pck(t, errors.visible & chosen) for t in thresholds]
        ax.plot(
            thresholds,
            values,
            color=_GROUP_COLORS[group],
            label=f"{group} (n = {count})",
            linewidth=2.4 if group == "all" else 1.4,
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
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    ax.set_title(title or f"By keypoint, {len(errors.visible)} crops", pad=22)
    return ax


def plot_confidences(ax: Axes, errors: PoseErrors, *, title: str = "") -> Axes:
    """Predicted confidences of visible and of hidden keypoints; the line is where segments end."""
    edges = np.linspace(0, 1, 41).tolist()
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
