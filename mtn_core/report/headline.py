"""The headline table: every run's numbers, the baselines beside them, differences between runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mtn_core.report.sources import RunSource
from mtn_core.report.tables import Cell, Column, Table, number_cell, percent_cell, text_cell
from mtn_core.report.verdict import list_baselines
from mtn_core.results import RetrievalResult
from mtn_core.results.retrieval import format_fraction

_RANKS = (1, 5, 10)
_ATTRIBUTES = ("Colour", "Type")


def headline_numbers(result: RetrievalResult) -> dict[str, float]:
    """Fractions by the name a reader knows them by."""
    numbers = {"mAP": result.mAP}
    numbers |= {
        f"Rank-{rank}": float(result.cmc[rank - 1]) for rank in _RANKS if rank <= len(result.cmc)
    }
    numbers |= {"mINP": result.mINP}
    return numbers | dict(
        zip(_ATTRIBUTES, (result.color_accuracy, result.type_accuracy), strict=True)
    )


def headline_intervals(result: RetrievalResult) -> dict[str, tuple[float, float]]:
    """95 % intervals of the headline numbers, by the same names, where they are saved."""
    table = result.tables.get("intervals")
    if table is None:
        return {}
    names = {"color_accuracy": "Colour", "type_accuracy": "Type"}
    return {
        names.get(row.measure, row.measure): (float(row.low), float(row.high))
        for row in table.itertuples()
    }


def make_headline_table(runs: Sequence[RunSource]) -> Table:
    """One row for each run, then one for each baseline."""
    measured = [headline_numbers(run.result) for run in runs]
    absent = [n for n in _ATTRIBUTES if all(math.isnan(numbers[n]) for numbers in measured)]
    names = [name for name in measured[0] if name not in absent]
    columns = [Column("Run"), *(Column(name, number=True) for name in names)]
    columns += [Column(name, number=True) for name in ("Queries", "Without match", "Gallery")]
    rows = []
    for run, numbers in zip(runs, measured, strict=True):
        known = headline_intervals(run.result)
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
    note = "Below each number its 95 % bootstrap interval over vehicles. "
    if len(absent) < len(_ATTRIBUTES):
        note += "Colour and type accuracy count every image once and unknown labels never. "
    note += "Queries without a true match count in no retrieval number."
    note = " ".join([note, *(_describe_draws(run) for run in runs if run.result.draws)])
    note += _describe_roles(runs[0].result.protocol)
    return Table("Headline numbers", columns, rows, sortable=False, note=note)


def _describe_roles(protocol: Mapping[str, Any]) -> str:
    distractors, junk = (protocol.get(f"num_{role}", 0) for role in ("distractor", "junk"))
    if not distractors and not junk:
        return ""
    return (
        f" {distractors} distractors stand in the gallery and match nothing; {junk} junk images "
        "stand in no ranking."
    )


def _describe_draws(run: RunSource) -> str:
    draws = run.result.draws or {}
    names = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5"}
    figures = ", ".join(
        f"{name} {format_fraction(draws[key]['mean'])} ± {format_fraction(draws[key]['std'])}"
        for key, name in names.items()
    )
    return (
        f"{run.name}: mean and standard deviation of the protocol's {draws['count']} draws, which "
        f"is what is published: {figures}; everything else on this page is of the first draw."
    )


def collect_baselines(runs: Sequence[RunSource]) -> list[tuple[str, float]]:
    """Readable names and mAP of the first run's baselines."""
    return list_baselines(runs[0].baselines)
