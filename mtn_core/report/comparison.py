"""The section that puts runs side by side: differences with intervals, and what changed."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from mtn_core.metrics.attributes import unique_rows
from mtn_core.metrics.breakdown import rank_hits
from mtn_core.metrics.statistics import Interval, paired_difference
from mtn_core.report.figures import make_figure
from mtn_core.report.lists import view_rank_list
from mtn_core.report.page import format_percent
from mtn_core.report.parts import Part, Section
from mtn_core.report.sources import RunSource
from mtn_core.report.tables import (
    Cell,
    Column,
    Table,
    difference_cell,
    percent_cell,
    text_cell,
)
from mtn_core.report.thumbnails import ThumbnailStore
from mtn_core.results import RetrievalResult
from mtn_core.results.ranking import Ranker
from mtn_core.viz.breakdown import plot_ap_scatter

_NUM_CHANGED = 4


def compare_measures(first: RetrievalResult, second: RetrievalResult) -> dict[str, Interval]:
    """Paired differences, second minus first, of the headline numbers.

    Args:
        first: The run to compare with.
        second: A run on the same queries and gallery.

    Returns:
        Intervals by measure; attribute accuracies only where both runs predict and labels are
        known.
    """
    a, b = first.per_query, second.per_query
    pids = a["pid"].to_numpy()
    pairs = {"mAP": (a["ap"], b["ap"], pids)}
    pairs |= {f"Rank-{k}": (rank_hits(a, k), rank_hits(b, k), pids) for k in (1, 5, 10)}
    pairs["mINP"] = (a["inp"], b["inp"], pids)
    names = np.concatenate([first.query.names, first.gallery.names])
    for kind, word in (("color", "Colour"), ("type", "Type")):
        true = _joined(first, f"{kind}_ids")
        known = (true >= 1) & unique_rows(names)
        predicted = [_joined(result, f"{kind}_predictions") for result in (first, second)]
        if known.any() and all((one >= 1).any() for one in predicted):
            right = [(one == true)[known].astype(float) for one in predicted]
            pairs[word] = (*right, _joined(first, "pids")[known])
    return {name: paired_difference(x, y, groups) for name, (x, y, groups) in pairs.items()}


def _joined(result: RetrievalResult, field: str) -> np.ndarray:
    return np.concatenate([getattr(split, field) for split in (result.query, result.gallery)])


def describe_difference(name: str, other: str, interval: Interval) -> str:
    """Whether the second run's mAP differs from the first's, in words."""
    points = f"{100 * interval.estimate:+.1f} points"
    if np.isnan(interval.low):
        return f"{other} against {name}: mAP {points}; too few vehicles for an interval."
    span = f"95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
    if interval.low > 0:
        verdict = f"{other} is better than {name}"
    elif interval.high < 0:
        verdict = f"{other} is worse than {name}"
    else:
        verdict = f"no difference between {other} and {name} that chance does not explain"
    return f"{verdict}: mAP {points}, {span}, on the same queries."


def make_comparison_section(
    runs: Sequence[RunSource], rankers: Sequence[Ranker], store: ThumbnailStore, *, top_k: int
) -> tuple[list[Section], list[str]]:
    """Compare every further run with the first.

    Returns:
        The section (none for a single run), and a sentence for the verdict for each comparison.
    """
    first = runs[0]
    section = Section("comparison", "Side by side")
    sentences = []
    for k, (run, ranker) in enumerate(zip(runs[1:], rankers[1:], strict=True)):
        differences = compare_measures(first.result, run.result)
        sentences.append(describe_difference(first.name, run.name, differences["mAP"]))
        part = Part(heading=f"{run.name} against {first.name}")
        part.tables = [_difference_table(first, run, differences)]
        part.figures = [
            make_figure(
                f"scatter-{k}",
                f"Scatter plot of the average precision of each query in {first.name} and "
                f"{run.name}",
                partial(
                    plot_ap_scatter,
                    first=first.result.ap,
                    second=run.result.ap,
                    names=(first.label, run.label),
                ),
                caption=f"Each point is a query; above the line, {run.name} is better.",
                size=(6.0, 3.8),
            )
        ]
        section.parts.append(part)
        section.parts += _changed_parts(first, run, (rankers[0], ranker), store, top_k)
    return ([section] if section.parts else []), sentences


def _difference_table(first: RunSource, run: RunSource, differences: dict[str, Interval]) -> Table:
    columns = [Column("Measure")]
    columns += [Column(name, number=True) for name in (first.name, run.name)]
    columns += [Column("Difference in points", number=True)]
    columns += [Column("Draws won", number=True)]
    numbers = [_numbers(one.result) for one in (first, run)]
    rows = []
    for name, interval in differences.items():
        sign = "" if np.isnan(interval.low) or interval.low <= 0 <= interval.high else " *"
        cell = difference_cell(interval.estimate, (interval.low, interval.high))
        share = interval.share_above_zero
        rows.append(
            [
                text_cell(name),
                *(percent_cell(one[name]) for one in numbers),
                Cell(cell.text + sign, cell.value, small=cell.small),
                Cell(format_percent(share, 0), "" if np.isnan(share) else share),
            ]
        )
    note = (
        "Both runs are measured on the same queries. Below each difference stands its 95 % "
        "interval (paired bootstrap over vehicles); * marks an interval without zero. Draws won: "
        f"the share of the bootstrap's draws in which {run.name} is better."
    )
    caption = f"Differences, {run.name} minus {first.name}"
    return Table(caption, columns, rows, sortable=False, note=note)


def _numbers(result: RetrievalResult) -> dict[str, float]:
    numbers = {"mAP": result.mAP, "mINP": result.mINP}
    for k in (1, 5, 10):
        numbers[f"Rank-{k}"] = float(np.nanmean(rank_hits(result.per_query, k)))
    return numbers | {"Colour": result.color_accuracy, "Type": result.type_accuracy}


def _changed_parts(
    first: RunSource,
    run: RunSource,
    rankers: tuple[Ranker, Ranker],
    store: ThumbnailStore,
    top_k: int,
) -> list[Part]:
    change = run.result.ap - first.result.ap
    known = np.flatnonzero(np.isfinite(change))
    order = known[np.argsort(change[known], kind="stable")]
    parts = []
    for heading, rows in (
        (f"Queries on which {run.name} loses most", [r for r in order if change[r] < 0]),
        (f"Queries on which {run.name} gains most", [r for r in order[::-1] if change[r] > 0]),
    ):
        lists = [
            view_rank_list(ranker.rank(int(row), top_k=top_k), store, run_name=source.name)
            for row in rows[:_NUM_CHANGED]
            for source, ranker in zip((first, run), rankers, strict=True)
        ]
        if lists:
            parts.append(Part(heading=heading, lists=lists))
    return parts
