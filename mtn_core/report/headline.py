"""The headline table: every run's numbers, the baselines beside them, differences between runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mtn_core.report.majority import guess_majority
from mtn_core.report.page import format_percent
from mtn_core.report.published import list_published
from mtn_core.report.sources import RunSource
from mtn_core.report.tables import Cell, Column, Table, number_cell, percent_cell, text_cell
from mtn_core.report.verdict import list_baselines, name_baseline, sort_baselines
from mtn_core.results import RetrievalResult

_RANKS = (1, 5, 10)
_ATTRIBUTES = ("Colour", "Type")
# Names in baselines.json and in the table of intervals, and how a reader knows them.
_NUMBER_NAMES = {
    **{f"rank{rank}": f"Rank-{rank}" for rank in _RANKS},
    "color_accuracy": "Colour",
    "type_accuracy": "Type",
}


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
    return {
        _NUMBER_NAMES.get(row.measure, row.measure): (float(row.low), float(row.high))
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
    rows += [[*row, *[Cell("–", "")] * 3] for row in _reference_rows(runs[0], names)]
    note = "Below each number stands its 95 % interval (bootstrap over vehicles). "
    if len(absent) < len(_ATTRIBUTES):
        note += (
            "For colour and type, each image counts once; images without a known label do not "
            "count. The most frequent class is what a network reaches that says the same for "
            "every image. "
        )
    note += "Queries without a true match are left out of mAP, Rank-k and mINP."
    if list_published(runs[0].result):
        note += (
            " Published figures are those of the sources named; they were not measured here, and "
            "their networks had other inputs and more training."
        )
    note = " ".join([note, *(_describe_draws(run) for run in runs if run.result.draws)])
    note += _describe_roles(runs[0].result.protocol)
    return Table("Headline numbers", columns, rows, sortable=False, note=note)


def _reference_rows(run: RunSource, names: Sequence[str]) -> list[list[Cell]]:
    """Rows to compare with: the first run's baselines, the blind guess, published figures."""
    rows = [
        _reference_row(f"baseline: {name_baseline(key)}", run.baseline_numbers[key], names)
        for key in sort_baselines(run.baselines)
    ]
    guesses = guess_majority(run.result)
    if set(guesses) & set(names):
        cells = [
            Cell("–", "")
            if name not in guesses
            else replace(percent_cell(guesses[name].share), small=f"always {guesses[name].name}")
            for name in names
        ]
        rows.append([text_cell("baseline: the most frequent class"), *cells])
    for one in list_published(run.result):
        row = _reference_row(f"published: {one.name}", one.numbers, names)
        row[0] = replace(row[0], small=one.source)
        rows.append(row)
    return rows


def _reference_row(title: str, numbers: Mapping[str, float], names: Sequence[str]) -> list[Cell]:
    known = {_NUMBER_NAMES.get(key, key): value for key, value in numbers.items()}
    return [text_cell(title), *(percent_cell(known.get(name)) for name in names)]


def _describe_roles(protocol: Mapping[str, Any]) -> str:
    distractors, junk = (protocol.get(f"num_{role}", 0) for role in ("distractor", "junk"))
    if not distractors and not junk:
        return ""
    return (
        f" The gallery holds {distractors} distractors, which match no query; {junk} junk images "
        "are left out of all rankings."
    )


def _describe_draws(run: RunSource) -> str:
    draws = run.result.draws or {}
    names = {"mAP": "mAP", "rank1": "Rank-1", "rank5": "Rank-5"}
    figures = ", ".join(
        f"{name} {format_percent(draws[key]['mean'])} ± {format_percent(draws[key]['std'])}"
        for key, name in names.items()
    )
    return (
        f"{run.name}: the protocol draws the gallery {draws['count']} times; papers give the mean "
        f"and the standard deviation: {figures}. All other figures of this page are those of the "
        "first draw."
    )


def collect_baselines(runs: Sequence[RunSource]) -> list[tuple[str, float]]:
    """Readable names and mAP of the first run's baselines."""
    return list_baselines(runs[0].baselines)
