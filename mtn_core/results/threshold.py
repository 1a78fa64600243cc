"""The distance below which two crops are taken for one vehicle, as a run has measured it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mtn_core.errors import DataError
from mtn_core.results.proof import check_hash
from mtn_core.results.retrieval import read_saved
from mtn_core.runs import RunFolder

FALSE_ACCEPT = 0.01


@dataclass(frozen=True)
class Threshold:
    """The distance that cuts candidates into likely ones and others.

    Attributes:
        distance: Below it a candidate is likely.
        false_accept: Share of pairs of different vehicles below it, 0..1; None if not measured.
        true_accept: Share of pairs of one vehicle below it, likewise.
    """

    distance: float
    false_accept: float | None = None
    true_accept: float | None = None

    def describe(self) -> str:
        """One line for a person."""
        text = f"distance below {self.distance:.4g}"
        if self.false_accept is not None and self.true_accept is not None:
            text += (
                f", as {100 * self.false_accept:.2g} % of the pairs of different vehicles and "
                f"{100 * self.true_accept:.0f} % of those of one vehicle in the evaluation"
            )
        return text


def run_threshold(run_dir: str | Path, false_accept: float = FALSE_ACCEPT) -> Threshold | None:
    """The distance that a run's verification view gives for a rate of false accepts.

    Args:
        run_dir: Run folder with results.
        false_accept: Share of pairs of different vehicles that may lie below it, 0..1.

    Returns:
        None where the run has no such view, or it has no pairs of different vehicles.

    Raises:
        DataError: A rate outside 0..1, or the saved view is damaged.
        RunFolderError: Likewise.
    """
    if not 0 <= false_accept <= 1:
        raise DataError(f"the rate of false accepts must be within 0..1; got {false_accept}")
    run = RunFolder(run_dir)
    path = run.tables / "verification_roc.parquet"
    if not path.is_file():
        return None
    if run.results.is_file():
        check_hash(run, path, read_saved(run).sha256)
    try:
        curve = pd.read_parquet(path)
        allowed = curve[curve["false_accept_rate"] <= false_accept]
        point = allowed.loc[allowed["threshold"].idxmax()] if len(allowed) else None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as Parquet: cut short or damaged") from error
    if point is None or point["threshold"] <= 0:
        return None
    names = "threshold", "false_accept_rate", "true_accept_rate"
    return Threshold(*(float(point[name]) for name in names))
