"""The headline table: every run's numbers, the baselines beside them, differences between runs."""

from collections.abc import Sequence

import numpy as np

from mtn_core.report.sources import RunSource
from mtn_core.report.tables import Cell, Column, Table, number_cell, percent_cell, text_cell
from mtn_core.report.verdict import list_baselines
from mtn_core.results import RetrievalResult

_RANKS = (1, 5, 10, 20)


def headline_numbers(result: RetrievalResult) -> dict[str, float]:
    """Fractions by the name a reader knows them by."""
    numbers = {"mAP": result.mAP}
    numbers |= {
        f"Rank-{rank}": float(result.cmc[rank - 1]) for rank in _RANKS if rank <= len(result.cmc)
    }
    numbers |= {"mINP": result.mINP}
    numbers |= {"Colour": result.color_accuracy, "Type": result.type_accuracy}
    return numbers


def make_headline_table(
    runs: Sequence[RunSource], intervals: Sequence[dict[str, tuple[float, float]]]
) -> Table:
    """One row for each run, then one for each baseline.

    Args:
        runs: The runs.
        intervals: For each run the interval of a number, by its name, where it is known.
    """
    names = list(headline_numbers(runs[0].result))
    columns = [Column("Run"), *(Column(name, number=True) for name in names)]
    columns += [Column(name, number=True) for name in ("Queries", "Without match", "Gallery")]
    rows = []
    for run, known in zip(runs, intervals, strict=True):
        numbers = headline_numbers(run.result)
        rows.append(
            [
                text_cell(run.name),
                *(percent_cell(numbers[name], interval=known.get(name)) for name in names),
                number_cell(run.result.num_query),
                number_cell(run.result.num_query_without_match),
                number_cell(run.result.num_gallery),
            ]
        )
    for name, score in collect_baselines(runs):
        empty = [Cell("–", "")] * (len(columns) - 2)
        rows.append([text_cell(f"baseline: {name}"), percent_cell(score), *empty])
    has_intervals = any(intervals)
    note = (
        "Colour and type accuracy count every image once and unknown labels never. "
        + (
            "In brackets: 95 % bootstrap intervals over vehicles, in percent. "
            if has_intervals
            else ""
        )
        + "Queries without a true match count in no retrieval number."
    )
    return Table("Headline numbers", columns, rows, sortable=False, note=note)


def collect_baselines(runs: Sequence[RunSource]) -> list[tuple[str, float]]:
    """Readable names and mAP of the first run's baselines."""
    return list_baselines(runs[0].baselines)


def has_numbers(result: RetrievalResult) -> bool:
    """Whether any query has a match, so that there is a mAP at all."""
    return bool(np.isfinite(result.mAP))
