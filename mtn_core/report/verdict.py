"""The sentences at the top of a report: what the numbers say, in words, and nothing beyond them."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from mtn_core.metrics.breakdown import has_interval
from mtn_core.report.page import format_percent
from mtn_core.report.sources import RunSource
from mtn_core.results import RetrievalResult

BASELINE_NAMES = {
    "untrained": "same network, untrained",
    "color_histogram": "colour histogram",
}
# Table, its group column, and how a group of it is called.
_GROUPS = (
    ("by_camera", "camid", "camera {}"),
    ("by_viewpoint", "viewpoint", "views from the {}"),
    ("by_color", "color", "{} vehicles"),
    ("by_type", "type", "type {}"),
    ("by_size", "size", "crops of {}"),
)
_CHANCE_BELOW = 0.025  # share of 95 % intervals that lie wholly below the true value
_MIN_QUERIES = 5  # a group with fewer says nothing


def list_baselines(scores: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """``(readable name, mAP)`` of the baselines that have a number, in a fixed order."""
    present = {name: score for name, score in scores.items() if score is not None}
    return [(name_baseline(name), present[name]) for name in sort_baselines(present)]


def sort_baselines(names: Iterable[str]) -> list[str]:
    """The names in a fixed order, known ones first."""
    names = list(names)
    known = [name for name in BASELINE_NAMES if name in names]
    return known + [name for name in names if name not in BASELINE_NAMES]


def name_baseline(name: str) -> str:
    """How a reader knows a baseline of ``baselines.json``."""
    return BASELINE_NAMES.get(name, name.replace("_", " "))


def describe_against_baselines(
    trained: float | None,
    baselines: Mapping[str, float | None],
    *,
    interval: tuple[float, float] | None = None,
    subject: str = "The network",
) -> list[str]:
    """How the trained network's mAP stands to the baselines.

    Args:
        trained: mAP as a fraction, or None where no run ended.
        baselines: mAP as fractions by baseline name.
        interval: 95 % interval of the mAP.
        subject: What reaches it.

    Returns:
        One sentence a fact, the mAP first.
    """
    if trained is None:
        return ["No trained network was evaluated."]
    if math.isnan(trained):
        return ["No query has a match in the gallery, so there is no mAP."]
    span = ""
    if interval is not None and not any(map(math.isnan, interval)):
        span = f" (95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"
    sentences = [f"{subject} reaches a mAP of {format_percent(trained)}{span}."]
    comparisons = []
    for name, score in list_baselines(baselines):
        if score <= 0:
            comparisons.append(f"{name}: {format_percent(score)}")
        else:
            # 0.96 must not be read as "as good as".
            ratio = trained / score
            times = f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}"
            comparisons.append(f"{times} times the {name} ({format_percent(score)})")
    if comparisons:
        sentences.append("That is " + " and ".join(comparisons) + ".")
    if any(score >= trained for _, score in list_baselines(baselines)):
        sentences.append("It does not beat every baseline: what it has learnt is of no use yet.")
    return sentences


def describe_run(run: RunSource, *, subject: str = "The network") -> list[str]:
    """The verdict on one run: its mAP, the baselines, where it fails, what it mistakes."""
    result = run.result
    sentences = describe_against_baselines(
        result.mAP, run.baselines, interval=interval_of(result, "mAP"), subject=subject
    )
    sentences += describe_curve(result)
    sentences += describe_weakest_groups(result)
    sentences += describe_wrong_answers(result)
    if result.num_query_unknown_camera:
        sentences.append(
            f"{result.num_query_unknown_camera} of {result.num_query} queries have no known "
            "camera; for them, images of the vehicle from all cameras count as matches."
        )
    if result.num_query_without_match:
        sentences.append(
            f"{result.num_query_without_match} of {result.num_query} queries have no match in the "
            "gallery; mAP, Rank-k and mINP leave them out."
        )
    return sentences


def interval_of(result: RetrievalResult, measure: str) -> tuple[float, float] | None:
    """The saved 95 % interval of a measure, or None."""
    table = result.tables.get("intervals", pd.DataFrame())
    if table.empty or not (table["measure"] == measure).any():
        return None
    row = table[table["measure"] == measure].iloc[0]
    return float(row["low"]), float(row["high"])


def describe_curve(result: RetrievalResult) -> list[str]:
    """Where the CMC curve starts and where it ends."""
    if math.isnan(result.mAP) or not len(result.cmc):
        return []
    last = min(10, len(result.cmc))
    return [
        f"Rank-1 is {format_percent(result.cmc[0])} and Rank-{last} "
        f"{format_percent(result.cmc[last - 1])}: "
        "the share of queries with a right image in first place, and among the first "
        f"{last}."
    ]


def describe_spread(result: RetrievalResult) -> list[str]:
    """How many queries are solved and how many fail altogether."""
    ap = result.ap[~np.isnan(result.ap)]
    if not len(ap):
        return []
    return [
        f"{format_percent((ap > 0.9).mean(), 0)} of the queries have an average precision above "
        f"0.9, {format_percent((ap < 0.1).mean(), 0)} below 0.1."
    ]


def describe_weakest_groups(result: RetrievalResult, *, limit: int = 2) -> list[str]:
    """The groups of queries whose interval lies below the overall mAP, weakest first.

    Many groups are looked at, so some fall below by chance; the sentence says how many to expect.
    """
    weak, num_groups = [], 0
    for key, column, words in _GROUPS:
        table = result.tables.get(key, pd.DataFrame())
        if len(table) < 2:
            continue
        large = table[
            (table["num_query"] >= _MIN_QUERIES) & table["num_vehicles"].map(has_interval)
        ]
        num_groups += len(large)
        for row in large[large["mAP_high"] < result.mAP].to_dict("records"):
            name = words.format(row[column])
            text = f"{name} (mAP {format_percent(row['mAP'])}, {row['num_query']} queries)"
            weak.append((row["mAP"], text))
    if not weak:
        return []
    by_chance = max(1, round(num_groups * _CHANCE_BELOW))
    return [
        f"Weaker than the whole: {' and '.join(text for _, text in sorted(weak)[:limit])}. "
        f"The interval of {len(weak)} of {num_groups} groups lies below the mAP; about {by_chance} "
        "would do so by chance alone."
    ]


def describe_wrong_answers(result: RetrievalResult) -> list[str]:
    """How alike the wrong vehicles at rank 1 are to the query."""
    table = result.tables.get("wrong_first_answers", pd.DataFrame())
    if table.empty:
        return []
    shares = {
        row["share_of"]: row["share"] for row in table.to_dict("records") if row["num_known"] > 0
    }
    parts = [
        f"{format_percent(shares[name], 0)} have the {name}"
        for name in ("same colour", "same type", "same colour and type")
        if name in shares
    ]
    if not parts:
        return []
    *front, last = parts
    joined = f"{', '.join(front)} and {last}" if front else last
    return [f"Of the wrong vehicles at rank 1, {joined} as the query."]
