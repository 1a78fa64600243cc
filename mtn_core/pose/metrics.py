"""Percentage of correct keypoints; NumPy and pandas only, never imports mindspore.

Protocol: a keypoint is correct when it is predicted within ``threshold`` times the longer side of
the crop. Only labelled keypoints inside the crop count; visible ones (confidence 0.5 or more in the
label) and hidden ones are counted apart. Fractions are over keypoints, not means of means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.vehicle import KEYPOINT_NAMES

VISIBLE_CONFIDENCE = 0.5
KEYPOINT_GROUPS = {
    "wheels": (*range(10), *range(18, 28)),
    "body": (10, 11, 12, 15, 16, 17, 28, 29, 30, 33, 34, 35),
    "roof": (13, 14, 31, 32),
}


@dataclass(frozen=True, eq=False)
class PoseErrors:
    """How far predictions are from labels.

    Attributes:
        distance: ``(N, 36) float64`` in longer sides of the crop.
        visible: ``(N, 36) bool``.
        hidden: ``(N, 36) bool``; neither for a keypoint without label or outside the crop.
        confidence: ``(N, 36)``, predicted.
    """

    distance: np.ndarray
    visible: np.ndarray
    hidden: np.ndarray
    confidence: np.ndarray

    def pck(self, threshold: float, which: np.ndarray | None = None) -> float:
        """Fraction of the keypoints in ``which`` (visible by default) that are correct, or nan."""
        mask = self.visible if which is None else which
        # A distance on the threshold is correct, whatever float32 labels made of it.
        return float((self.distance[mask] <= threshold + 1e-7).mean()) if mask.any() else np.nan

    def summary(self, thresholds: Sequence[float]) -> dict[str, float]:
        """``{"pck@0.1": .., "pck@0.1_hidden": .., ...}``, fractions."""
        values = {}
        for threshold in thresholds:
            values[f"pck@{threshold:g}"] = self.pck(threshold)
            values[f"pck@{threshold:g}_hidden"] = self.pck(threshold, self.hidden)
        return values

    def by_group(self, thresholds: Sequence[float]) -> pd.DataFrame:
        """Index ``wheels, body, roof, all``; counts and PCK, visible and hidden."""
        groups = {**KEYPOINT_GROUPS, "all": range(self.distance.shape[1])}
        return self._table({name: list(members) for name, members in groups.items()}, thresholds)

    def by_keypoint(self, thresholds: Sequence[float]) -> pd.DataFrame:
        """One row a keypoint; counts and PCK, visible and hidden."""
        return self._table({name: [k] for k, name in enumerate(KEYPOINT_NAMES)}, thresholds)

    def by_image(self, names: Sequence[str]) -> pd.DataFrame:
        """One row an image: mean error over visible keypoints (nan where none), their number."""
        count = self.visible.sum(axis=1)
        total = np.where(self.visible, self.distance, 0).sum(axis=1)
        mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return pd.DataFrame({"name": list(names), "mean_error": mean, "num_visible": count})

    def visibility_accuracy(self, min_confidence: float = VISIBLE_CONFIDENCE) -> float:
        """Mean of the share of visible keypoints at ``min_confidence`` or more and of hidden below.

        0.5 is a confidence that says nothing; nan where one kind is missing.
        """
        if not self.visible.any() or not self.hidden.any():
            return float("nan")
        sure = self.confidence >= min_confidence
        return float((sure[self.visible].mean() + (~sure[self.hidden]).mean()) / 2)

    def _table(self, groups: dict[str, list[int]], thresholds: Sequence[float]) -> pd.DataFrame:
        rows: dict[str, dict[str, Any]] = {}
        for name, members in groups.items():
            chosen = np.zeros_like(self.visible)
            chosen[:, members] = True
            row: dict[str, Any] = {}
            for kind, mask in (("visible", self.visible), ("hidden", self.hidden)):
                row[f"num_{kind}"] = int((mask & chosen).sum())
                for threshold in thresholds:
                    row[f"{kind}@{threshold:g}"] = self.pck(threshold, mask & chosen)
            rows[name] = row
        return pd.DataFrame.from_dict(rows, orient="index")


def measure_errors(predicted: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> PoseErrors:
    """Compare predictions with labels.

    Args:
        predicted: ``(N, 36, 3)``: x, y in pixels of the crop, confidence.
        labels: ``(N, 36, 3)`` likewise; three zeros are no label.
        sizes: ``(N, 2)`` width and height of the crops.

    Raises:
        ValueError: The shapes do not fit.
    """
    predicted, labels = np.asarray(predicted, np.float64), np.asarray(labels, np.float64)
    sizes = np.asarray(sizes, np.float64)
    if predicted.shape != labels.shape or predicted.shape[-1:] != (3,) or predicted.ndim != 3:
        raise ValueError(
            "`predicted` and `labels` must both be (N, 36, 3); "
            f"got {predicted.shape} and {labels.shape}"
        )
    if sizes.shape != (len(labels), 2):
        raise ValueError(f"`sizes` must be (N, 2) = ({len(labels)}, 2); got {sizes.shape}")
    labelled = np.isfinite(labels).all(axis=-1) & (labels != 0).any(axis=-1)
    inside = (labels[..., :2] >= 0).all(axis=-1) & (labels[..., :2] <= sizes[:, None]).all(axis=-1)
    seen = labels[..., 2] >= VISIBLE_CONFIDENCE
    distance = np.hypot(*np.moveaxis(predicted[..., :2] - labels[..., :2], -1, 0))
    return PoseErrors(
        distance=distance / sizes.max(axis=1)[:, None],
        visible=labelled & inside & seen,
        hidden=labelled & inside & ~seen,
        confidence=predicted[..., 2],
    )


def format_pck_table(errors: PoseErrors, thresholds: Sequence[float], num_images: int) -> str:
    """The result as a table in the manner of the retrieval results."""
    lines = ["Computing PCK", "Results ----------"]
    for threshold in thresholds:
        name = f"PCK@{threshold:g}"
        lines.append(f"{name:<8}: {_percent(errors.pck(threshold))}")
    lines.append("------------------")
    lines.append(format_row("Keypoints", [f"@{t:g}" for t in thresholds]))
    table = errors.by_group(thresholds)
    for kind in ("visible", "hidden"):
        for group, row in table.iterrows():
            cells = [_percent(row[f"{kind}@{t:g}"]) for t in thresholds]
            lines.append(format_row(f"{group}, {kind}", cells))
    counts = table.loc["all"]
    lines.append(f"Visible or hidden told by confidence: {_percent(errors.visibility_accuracy())}")
    lines.append(
        f"{num_images} images, {int(counts['num_visible'])} visible and "
        f"{int(counts['num_hidden'])} hidden keypoints"
    )
    return "\n".join(lines)


def format_row(title: str, cells: Sequence[str]) -> str:
    """A row of the printed tables: a title and right-aligned cells."""
    return f"{title:<26}" + "".join(f"{cell:>10}" for cell in cells)


def _percent(fraction: float) -> str:
    return "-" if np.isnan(fraction) else f"{100 * fraction:.1f} %"
