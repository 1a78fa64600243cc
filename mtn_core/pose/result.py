"""What an evaluation of PoseEstNet found: numbers, tables, predictions; never imports mindspore."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.errors import RunFolderError
from mtn_core.files import write_json, write_npz, write_text
from mtn_core.pose.metrics import PoseErrors, format_pck_table, format_row, measure_errors
from mtn_core.results.embeddings import load_arrays
from mtn_core.runs import RunFolder

PROTOCOL = (
    "PCK: predicted within threshold x longer side of the crop; labelled keypoints inside the crop;"
    " visible is label confidence >= 0.5"
)


@dataclass(frozen=True, eq=False)
class PoseResult:
    """Predictions beside labels.

    Attributes:
        names: Image files, as paths.
        keypoints: ``(N, 36, 3) float32``: predicted x, y in pixels of the crop, confidence.
        labels: ``(N, 36, 3) float32`` likewise, from the label file.
        sizes: ``(N, 2) int32`` width and height of the crops.
        thresholds: Of the PCK.
        variants: PCK by way of decoding, one row each: ``plain``, ``quarter pixel``, ``flip test``,
            ``flip test + quarter pixel``; those that were tried.
        provenance: Checkpoint, its hash, options.
    """

    names: tuple[str, ...]
    keypoints: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    thresholds: tuple[float, ...]
    variants: pd.DataFrame
    provenance: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def errors(self) -> PoseErrors:
        """Distances of the predictions from the labels."""
        return measure_errors(self.keypoints, self.labels, self.sizes)

    def rank_images(self) -> pd.DataFrame:
        """Images by mean error over their visible keypoints, best first; column ``row``."""
        frame = self.errors.by_image(self.names)
        frame["row"] = np.arange(len(frame))
        frame = frame[frame["num_visible"] > 0]
        return frame.sort_values("mean_error", kind="stable").reset_index(drop=True)

    def to_json_dict(self) -> dict[str, Any]:
        """For ``results.json``; fractions 0..1, None where nothing was counted."""
        errors = self.errors
        groups = errors.by_group(self.thresholds)
        values = {
            **errors.summary(self.thresholds),
            "visibility_accuracy": errors.visibility_accuracy(),
        }
        return {
            **{name: _or_none(value) for name, value in values.items()},
            "groups": {
                group: {column: _or_none(value) for column, value in row.items()}
                for group, row in groups.iterrows()
            },
            "variants": {
                name: {column: _or_none(value) for column, value in row.items()}
                for name, row in self.variants.iterrows()
            },
            "num_images": len(self.names),
            "num_visible": int(errors.visible.sum()),
            "num_hidden": int(errors.hidden.sum()),
            "protocol": PROTOCOL,
            **self.provenance,
        }

    def format_table(self) -> str:
        """The result as text, with the gain of each way of decoding."""
        lines = [format_pck_table(self.errors, self.thresholds, len(self.names))]
        if len(self.variants) > 1:
            lines.append("------------------")
            columns = [f"pck@{t:g}" for t in self.thresholds]
            lines.append(format_row("Decoding, points gained", [c[3:] for c in columns]))
            base = self.variants.iloc[0]
            for name, row in self.variants.iterrows():
                cells = [f"{100 * (row[c] - base[c]):+.1f}" for c in columns]
                lines.append(format_row(str(name), cells))
        return "\n".join(lines)

    def save(self, run: RunFolder | str | Path) -> None:
        """Write ``results.json``, the tables and the predictions; ``results.json`` last."""
        run = run if isinstance(run, RunFolder) else RunFolder(run)
        arrays = {
            "names": np.array(self.names),
            "keypoints": self.keypoints,
            "labels": self.labels,
            "sizes": self.sizes,
        }
        write_npz(run.pose_predictions, arrays, compressed=True)
        table = self.errors.by_keypoint(self.thresholds)
        write_text(run.per_keypoint, table.to_csv(index_label="keypoint"))
        write_text(run.per_image, self.errors.by_image(self.names).to_csv(index=False))
        write_json(run.results, self.to_json_dict())

    @classmethod
    def load(cls, run_dir: str | Path) -> "PoseResult":
        """Read what :meth:`save` wrote.

        Raises:
            RunFolderError: The folder has no pose results.
        """
        run = RunFolder(run_dir)
        if not run.pose_predictions.is_file() or not run.results.is_file():
            raise RunFolderError(f"{run.path} has no pose results; `mtn eval-pose` writes them")
        values = run.read_json(run.results)
        stored = load_arrays(run.pose_predictions, ("keypoints", "labels", "sizes", "names"))
        names = tuple(stored.pop("names").tolist())
        variants = pd.DataFrame.from_dict(values["variants"], orient="index").astype(float)
        known = {"checkpoint", "checkpoint_sha256", "flip_test", "refine", "source", "epoch"}
        return cls(
            names=names,
            thresholds=thresholds_of(variants.columns),
            variants=variants,
            provenance={key: values[key] for key in known & values.keys()},
            **stored,
        )


def thresholds_of(columns: Sequence[str]) -> tuple[float, ...]:
    """Thresholds in column names such as ``pck@0.1``."""
    return tuple(float(c.removeprefix("pck@")) for c in columns if c.startswith("pck@"))


def _or_none(value: float) -> float | int | None:
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if np.isfinite(value) else None
