"""What the notebooks can do with a data set: not every one has keypoints, a test, or a training."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtn_core.data.layout import MAP_KINDS, present_splits, split_folder
from mtn_core.data.split import load_split

_TRAINS, _SHOWS_RESULTS, _USES_KEYPOINTS = "03", "04", "07"
_NEED_A_NETWORK = ("04", "05", "06", "08")


@dataclasses.dataclass(frozen=True)
class Abilities:
    """What is left out of a workbook, and what is changed in its recipe.

    Attributes:
        overrides: Recipe keys that the data settle.
        left_out: Notebooks that have nothing to work on, by number, with the reason.
        notes: The same for a person, a line each.
    """

    overrides: Mapping[str, Any]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]


def examine_data(root: Path) -> Abilities:
    """Look at the splits of a root, and at what their labels and folders hold.

    Raises:
        DataError: Labels of the training split that cannot be read.
    """
    splits = set(present_splits(root))
    train = load_split(root, "train") if "train" in splits else None
    has_test = {"query", "test"} <= splits
    overrides: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    notes = []
    if train is None:
        why = "the data have no training images"
        left_out |= dict.fromkeys((_TRAINS, *_NEED_A_NETWORK, _USES_KEYPOINTS), why)
    elif not train.has_keypoints:
        overrides |= {"model.keypoints": False, "model.segments": False, "model.heatmaps": False}
        left_out[_USES_KEYPOINTS] = "the data have no keypoints"
        notes.append(f"{root} has no keypoints: the network sees images alone")
    else:
        for kind in MAP_KINDS:
            missing = [s for s in splits if not split_folder(root, kind, s).is_dir()]
            if missing and not _has_packs(root, splits):
                overrides[f"model.{kind}s"] = False
                notes.append(
                    f"{root} has no {kind}s: the network does without (mtn draw-pose makes them)"
                )
    if train is not None and not has_test:
        overrides["train.eval_every"] = 0
        why = "the data have no queries and gallery"
        left_out |= dict.fromkeys((*_NEED_A_NETWORK, _USES_KEYPOINTS), why)
    notes += [f"notebook {number} is left out: {why}" for number, why in sorted(left_out.items())]
    return Abilities(overrides, left_out, tuple(notes))


def _has_packs(root: Path, splits: set[str]) -> bool:
    return all((root / "veri" / f"pack_{split}").is_dir() for split in splits)
