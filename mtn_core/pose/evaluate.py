"""Evaluation of PoseEstNet: predict, compare with labels, with and without each refinement."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.files import sha256_of
from mtn_core.pose.config import PoseConfig, PoseEvalConfig
from mtn_core.pose.decode import decode_heatmaps
from mtn_core.pose.loader import CropLoader
from mtn_core.pose.metrics import measure_errors
from mtn_core.pose.predict import Predictor, iterate_heatmaps
from mtn_core.pose.result import PoseResult
from mtn_core.pose.sources import PoseSet
from mtn_core.predict.evaluate import results_folder
from mtn_core.runs import RunFolder

PLAIN, QUARTER = "plain", "quarter pixel"
FLIP, BOTH = "flip test", "flip test + quarter pixel"


def variant_name(flip_test: bool, refine: bool) -> str:
    """Name of a way of decoding."""
    return (BOTH if refine else FLIP) if flip_test else (QUARTER if refine else PLAIN)


def evaluate_pose(
    predictor: Predictor,
    pose_set: PoseSet,
    options: PoseEvalConfig,
    *,
    provenance: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> PoseResult:
    """Predict the keypoints of a set and compare them with its labels.

    Every crop is predicted once, and once more mirrored with ``options.flip_test``; all ways of
    decoding are then read off the same heatmaps, so that their gains are comparable.

    Args:
        predictor: Gives heatmaps.
        pose_set: Images and labels.
        options: Batch size, flip test, refinement, thresholds.
        provenance: Stored with the result.
        progress: Show a progress bar.

    Raises:
        DataError: An image cannot be read.
    """
    loader = CropLoader(pose_set, predictor.image_size, options.batch_size)
    ways = [(f, r) for f in (False, True)[: 1 + options.flip_test] for r in (False, True)]
    found: dict[tuple[bool, bool], list[np.ndarray]] = {way: [] for way in ways}
    sizes = []
    for batch, heatmaps, merged in iterate_heatmaps(
        predictor,
        loader,
        flip_test=options.flip_test,
        description="keypoints" if progress else None,
    ):
        sizes.append(batch["size"])
        for flip_test, refine in ways:
            maps = merged if flip_test and merged is not None else heatmaps
            found[flip_test, refine].append(decode_heatmaps(maps, batch["size"], refine=refine))
    all_sizes = np.concatenate(sizes)
    keypoints = {way: np.concatenate(parts) for way, parts in found.items()}
    rows = {
        variant_name(*way): {
            f"pck@{t:g}": measure_errors(values, pose_set.keypoints, all_sizes).pck(t)
            for t in options.thresholds
        }
        for way, values in keypoints.items()
    }
    return PoseResult(
        names=tuple(str(path) for path in pose_set.paths),
        keypoints=keypoints[options.flip_test, options.refine],
        labels=pose_set.keypoints,
        sizes=all_sizes,
        thresholds=options.thresholds,
        variants=pd.DataFrame.from_dict(rows, orient="index"),
        provenance={
            "flip_test": options.flip_test,
            "refine": options.refine,
            "source": pose_set.label,
            **(provenance or {}),
        },
    )


def evaluate_pose_into_run(
    predictor: Predictor,
    model_path: Path,
    pose_set: PoseSet,
    out: Path,
    options: PoseEvalConfig,
    *,
    overwrite: bool = False,
    device_target: str = "CPU",
) -> PoseResult:
    """Evaluate and write the result into a run folder.

    The folder may be the one that the checkpoint was trained in; any other one that holds a run is
    refused unless ``overwrite``.

    Args:
        predictor: Gives heatmaps.
        model_path: The checkpoint or ONNX file that it was made of.
        pose_set: Images and labels.
        out: Run folder.
        options: See :func:`evaluate_pose`.
        overwrite: Replace results that are there.
        device_target: Written into ``environment.json``.

    Raises:
        RunFolderError: ``out`` holds results, or another run.
    """
    out, model_path = Path(out), Path(model_path)
    own = RunFolder(out).config.is_file() and model_path.resolve().is_relative_to(out.resolve())
    context = {
        "command": "eval-pose",
        "root": pose_set.place or pose_set.label,
        "device_target": device_target,
        "checkpoint": model_path,
    }
    provenance = {"checkpoint": model_path.name, "checkpoint_sha256": sha256_of(model_path)}
    with results_folder(
        out,
        PoseConfig(recipe="eval-pose", eval=options),
        {"target": device_target},
        context,
        keep_training=own,
        overwrite=overwrite,
    ) as run:
        result = evaluate_pose(predictor, pose_set, options, provenance=provenance)
        result.save(run)
    return result
