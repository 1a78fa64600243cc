"""Does pose pay off: MultiTaskNet with exact, with predicted and without pose, side by side."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.config import Config, with_overrides
from mtn_core.device import Device
from mtn_core.engine.multitask import train
from mtn_core.files import write_text
from mtn_core.metrics.statistics import paired_difference
from mtn_core.models.checkpoint import load_checkpoint
from mtn_core.pose.result import PoseResult
from mtn_core.predict.evaluate import compare, evaluate_into_run, open_evaluation
from mtn_core.predict.mindspore import MindSporeBackend
from mtn_core.results import RetrievalResult
from mtn_core.results.retrieval import format_fraction
from mtn_core.runs import RunFolder

TABLE_FILE = "payoff.csv"
EXACT, PREDICTED, WITHOUT = "exact pose", "predicted pose", "no pose"
EXACT_ON_PREDICTED = "exact in training, predicted in the test"
NO_POSE = {"model.heatmaps": False, "model.segments": False, "model.keypoints": False}
COLUMNS = ("pose", "seed", "mAP", "rank1", "color_accuracy", "type_accuracy", "minutes")


@dataclass(frozen=True)
class PoseVariant:
    """One way to give MultiTaskNet the pose.

    Attributes:
        name: Row of the table.
        root: Data to train and evaluate on.
        use_pose: Whether the network sees the maps and keypoints of the recipe.
    """

    name: str
    root: Path
    use_pose: bool = True


def list_variants(
    root: str | Path, predicted_root: str | Path, *, exact: bool
) -> list[PoseVariant]:
    """Exact pose (where ``root`` has it), predicted pose, no pose."""
    root, predicted_root = Path(root), Path(predicted_root)
    variants = [PoseVariant(EXACT, root)] if exact else []
    return [
        *variants,
        PoseVariant(PREDICTED, predicted_root),
        PoseVariant(WITHOUT, root, use_pose=False),
    ]


def compare_variants(
    variants: Sequence[PoseVariant],
    config: Config,
    out: Path,
    device: Device,
    *,
    seeds: Sequence[int] = (0,),
    overwrite: bool = False,
    echo: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Train and evaluate every variant with every seed, all else being equal.

    A network that was trained on exact pose is evaluated on predicted pose, too: that is what
    happens when maps come from another source than in training.

    Args:
        variants: From :func:`list_variants`.
        config: Recipe of MultiTaskNet.
        out: Folder; a run folder for each variant and seed, and ``payoff.csv``.
        device: From :func:`mtn_core.device.setup_device`.
        seeds: Of the trainings.
        overwrite: Replace runs that are there.
        echo: Told about every row.

    Returns:
        A row each with ``pose, seed, mAP, rank1, color_accuracy, type_accuracy, minutes``.
    """
    out = Path(out)
    rows = []
    for seed in seeds:
        backends: dict[str, MindSporeBackend] = {}
        for variant in variants:
            overrides = {"train.seed": seed} | ({} if variant.use_pose else NO_POSE)
            run_dir = out / f"{variant.name.replace(' ', '-')}-seed{seed}"
            started = time.monotonic()
            train(
                with_overrides(config, overrides),
                [variant.root],
                run_dir,
                device,
                overwrite=overwrite,
            )
            minutes = (time.monotonic() - started) / 60
            # The last epoch, not the best: choosing by the test data would flatter every row.
            backend = _last_of(run_dir, device)
            backends[variant.name] = backend
            result = evaluate_into_run(
                backend, open_evaluation(variant.root, backend.model), run_dir, overwrite=overwrite
            )
            rows.append(_row(variant.name, seed, result, minutes))
            echo(_describe(rows[-1]))
        mixed = _evaluate_exact_on_predicted(variants, backends)
        if mixed is not None:
            rows.append(_row(EXACT_ON_PREDICTED, seed, mixed, 0.0))
            echo(_describe(rows[-1]))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_text(out / TABLE_FILE, table.to_csv(index=False))
    return table


def evaluate_at_test_time(
    ckpt_path: str | Path, root: str | Path, predicted_root: str | Path, device: Device
) -> dict[str, RetrievalResult]:
    """One trained MultiTaskNet on exact and on predicted pose.

    Args:
        ckpt_path: Trained on exact pose.
        root: Data with exact pose.
        predicted_root: The same images with predicted pose.
        device: From :func:`mtn_core.device.setup_device`.

    Returns:
        Results of ``exact pose`` and of ``predicted pose``; empty where there is no such
        checkpoint.
    """
    if not Path(ckpt_path).is_file():
        return {}
    backend = MindSporeBackend.of_checkpoint(load_checkpoint(ckpt_path), device)
    return {
        name: compare(backend, open_evaluation(folder, backend.model))
        for name, folder in ((EXACT, root), (PREDICTED, predicted_root))
    }


def tabulate(results: Mapping[str, RetrievalResult]) -> pd.DataFrame:
    """A row per result; columns ``mAP, rank1, color_accuracy, type_accuracy``."""
    columns = list(COLUMNS[2:-1])
    rows = {name: _row(name, 0, result, 0.0) for name, result in results.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))[columns].astype(
        float
    )


def judge_pose(exact: RetrievalResult, predicted: RetrievalResult) -> str:
    """What the difference of predicted to exact pose in the test means, in a sentence or two.

    Predicted pose holds no more than the pixels that it was predicted from: where it scores higher,
    that says something of the network or of chance, not of the pose.

    Args:
        exact: Of the test with exact pose.
        predicted: Of the same queries with predicted pose.
    """
    found = paired_difference(exact.ap, predicted.ap, exact.query.pids)
    points = f"{100 * found.estimate:+.1f} points"
    span = f"95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f}"
    text = f"Predicted against exact pose: mAP {points}, {span}."
    if found.low <= 0 <= found.high or np.isnan(found.low):
        text += " The interval holds zero: no difference was measured."
    if found.estimate > 0:
        text += (
            " Predicted pose is made from the pixels and knows nothing beyond them: that it scores "
            "higher than exact pose is chance, or a network that has hardly learnt to use pose. "
            "Train longer (recipe demo or more) before drawing a conclusion."
        )
    return text


def pck_column(result: PoseResult, threshold: float = 0.1) -> dict[str, float]:
    """PCK of the pose that each row of the table was tested with, for those that have one."""
    predicted = result.errors.pck(threshold)
    return {EXACT: 1.0, PREDICTED: predicted, EXACT_ON_PREDICTED: predicted}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds, in the order of the table; column ``seeds`` says of how many."""
    grouped = table.groupby("pose", sort=False)
    means = grouped[list(COLUMNS[2:])].mean()
    means.insert(0, "seeds", grouped.size())
    return means


def _evaluate_exact_on_predicted(
    variants: Sequence[PoseVariant], backends: dict[str, MindSporeBackend]
) -> RetrievalResult | None:
    roots = {variant.name: variant.root for variant in variants}
    if not {EXACT, PREDICTED} <= roots.keys():
        return None
    backend = backends[EXACT]
    return compare(backend, open_evaluation(roots[PREDICTED], backend.model))


def _last_of(run_dir: Path, device: Device) -> MindSporeBackend:
    checkpoint = load_checkpoint(RunFolder(run_dir).last_checkpoint)
    return MindSporeBackend.of_checkpoint(checkpoint, device)


def _row(name: str, seed: int, result: RetrievalResult, minutes: float) -> dict[str, Any]:
    def number(value: float | None) -> float:
        return float("nan") if value is None else float(value)

    values = (
        name,
        seed,
        result.mAP,
        float(result.cmc[0]),
        number(result.color_accuracy),
        number(result.type_accuracy),
        minutes,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _describe(row: dict[str, Any]) -> str:
    mAP, rank1, color, type_ = (format_fraction(row[column]) for column in COLUMNS[2:-1])
    return (
        f"{row['pose']}, seed {row['seed']}: mAP {mAP}, Rank-1 {rank1}, "
        f"colour {color}, type {type_}, {row['minutes']:.1f} min"
    )
