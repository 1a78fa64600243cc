"""What the runs of a report do not know, and which sections the page therefore lacks."""

from collections.abc import Sequence

import numpy as np

from mtn_core.report.sources import RunSource


def describe_absent(runs: Sequence[RunSource]) -> str:
    """One line on what is left out; empty where nothing is.

    A part is left out where no run knows of it; nothing is then shown as zero or unknown.
    """
    found = [
        f"{what} ({sections})"
        for what, sections, is_known in _PARTS
        if not any(is_known(run) for run in runs)
    ]
    if not found:
        return ""
    return f"Not in these results, and so left out of this page: {'; '.join(found)}."


def _knows_cameras(run: RunSource) -> bool:
    return bool((run.result.query.camids > 0).any())


def _knows_labels(run: RunSource) -> bool:
    per_query = run.result.per_query[["color_id", "type_id"]]
    return bool((per_query >= 1).to_numpy().any())


def _knows_attributes(run: RunSource) -> bool:
    return bool(np.isfinite([run.result.color_accuracy, run.result.type_accuracy]).any())


def _knows_keypoints(run: RunSource) -> bool:
    return bool((run.result.query.keypoints[:, :, 2] > 0).any())


def _knows_sizes(run: RunSource) -> bool:
    return bool((run.result.query.sizes > 0).any())


def _knows_pictures(run: RunSource) -> bool:
    return bool(run.crops.roots)


# What may be unknown, what the page then lacks, and whether a run knows it.
_PARTS = (
    ("cameras", "breakdown by camera, camera means, tracks", _knows_cameras),
    ("true colours and types", "breakdowns by colour and type", _knows_labels),
    ("judged colours and types", "their accuracy and confusions", _knows_attributes),
    ("keypoints", "breakdowns by viewpoint and confidence", _knows_keypoints),
    ("sizes of the crops", "breakdown by size", _knows_sizes),
    ("pictures", "names stand in their place; --images DIR or --root DIR shows them",
     _knows_pictures),
)  # fmt: skip
