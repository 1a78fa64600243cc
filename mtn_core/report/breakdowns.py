"""Sections on where a run fails: breakdowns by group, and the verification view."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from mtn_core.metrics.breakdown import MIN_VEHICLES, has_interval
from mtn_core.report.figures import PageFigure, make_figure
from mtn_core.report.page import format_percent
from mtn_core.report.parts import Part, Section
from mtn_core.report.sources import RunSource
from mtn_core.report.tables import (
    Cell,
    Column,
    Table,
    number_cell,
    percent_cell,
    table_from_frame,
    text_cell,
)
from mtn_core.viewpoint import VIEWPOINT_NAMES
from mtn_core.viz import breakdown, verification

# Table of a result, its group column, heading, what the group is.
BREAKDOWNS = (
    ("by_camera", "camid", "By camera of the query", "Camera"),
    ("by_viewpoint", "viewpoint", "By viewpoint of the query", "Viewpoint"),
    ("by_color", "color", "By colour", "Colour"),
    ("by_type", "type", "By type", "Type"),
    ("by_size", "size", "By size of the crop", "Size"),
    ("by_confidence", "confidence", "By confidence of the keypoints", "Confidence"),
)
_PAIRS = (
    ("by_camera_pair", "camid", "Camera of the query against camera of the gallery image", None),
    (
        "by_viewpoint_pair",
        "viewpoint",
        "Viewpoint of the query against that of the gallery image",
        VIEWPOINT_NAMES,
    ),
)


def make_breakdown_section(runs: Sequence[RunSource]) -> list[Section]:
    """Quality by camera, viewpoint, colour, type, size and confidence, and by pairs of cameras."""
    parts = []
    for key, group, heading, title in BREAKDOWNS:
        tables = {run.name: get_table(run, key) for run in runs}
        first = tables[runs[0].name]
        if len(first) < 2:  # one group is the whole
            continue
        parts.append(
            Part(
                heading=heading,
                figures=[_draw_breakdown(key, group, heading, tables, runs)],
                tables=[
                    _breakdown_table(tables[run.name], group, heading, title, run.name, len(runs))
                    for run in runs
                    if len(tables[run.name])
                ],
            )
        )
    for key, name, heading, order in _PAIRS:
        part = _pair_part(runs, key, name, heading, order)
        if part.figures:
            parts.append(part)
    if not parts:
        return []
    note = (
        "A mark is the mAP of a group of queries, the line through it the 95 % interval over its "
        "vehicles, the dashed line the mAP of all queries. A hollow mark stands for a group of "
        f"fewer than {MIN_VEHICLES} vehicles, which is too few for an interval. With many groups, "
        "some intervals miss the dashed line by chance alone; the summary at the top says how many."
    )
    return [Section("breakdowns", "Where it works and where it fails", parts, note)]


def get_table(run: RunSource, name: str) -> pd.DataFrame:
    """A saved table of a run; empty where the run has none of that name."""
    return run.result.tables.get(name, pd.DataFrame())


def _draw_breakdown(
    key: str,
    group: str,
    heading: str,
    tables: Mapping[str, pd.DataFrame],
    runs: Sequence[RunSource],
) -> PageFigure:
    first = tables[runs[0].name]
    worst = first.loc[first["mAP"].idxmin()] if first["mAP"].notna().any() else None
    description = f"mAP {heading.lower()}, {len(first)} groups"
    if worst is not None:
        description += f"; lowest: {worst[group]} with {format_percent(worst['mAP'])}"
    single = len(runs) == 1
    return make_figure(
        key.replace("_", "-"),
        description,
        lambda ax: breakdown.plot_breakdown(
            ax,
            first if single else {run.label: tables[run.name] for run in runs},
            group,
            overall=runs[0].result.mAP if single else {r.label: r.result.mAP for r in runs},
            title=heading,
        ),
        size=(6.0, 1.1 + 0.26 * len(first) * (1 if single else 1.4)),
    )


def _breakdown_table(
    frame: pd.DataFrame, group: str, heading: str, title: str, run_name: str, num_runs: int
) -> Table:
    columns = ("mAP", "mAP_low", "mAP_high", "num_vehicles")
    shown = frame.assign(interval=list(zip(*(frame[name] for name in columns), strict=True)))

    def group_cell(value: object) -> Cell:
        if isinstance(value, int | float | np.integer | np.floating):
            return number_cell(int(value))
        return text_cell(value)

    return table_from_frame(
        shown,
        heading if num_runs == 1 else f"{heading}, {run_name}",
        {
            group: (Column(title), group_cell),
            "num_query": (Column("Queries", number=True), number_cell),
            "num_vehicles": (Column("Vehicles", number=True), number_cell),
            "interval": (Column("mAP", number=True), _map_cell),
            "rank1": (Column("Rank-1", number=True), percent_cell),
            "rank5": (Column("Rank-5", number=True), percent_cell),
        },
        tall=len(frame) > 14,
        shows_caption=num_runs > 1,
    )


def _map_cell(value: tuple[float, float, float, int]) -> Cell:
    """The mAP of a group with its interval, or with the reason why it has none."""
    share, low, high, num_vehicles = value
    if has_interval(num_vehicles):
        return percent_cell(share, interval=(low, high))
    return replace(
        percent_cell(share), small="no interval"
    )  # too few vehicles, as their column says


def _pair_part(
    runs: Sequence[RunSource], key: str, name: str, heading: str, order: Sequence[str] | None
) -> Part:
    part = Part(
        heading=heading,
        note="The mAP when the gallery holds only the images of one group. It is higher than that "
        "of the whole gallery: compare cells with each other only. An empty cell has no pair.",
    )
    figures = []
    for k, run in enumerate(runs):
        table = get_table(run, key)
        if table.empty:
            continue
        if min(table[f"query_{name}"].nunique(), table[f"gallery_{name}"].nunique()) < 2:
            continue
        groups = len(set(table[f"query_{name}"]) | set(table[f"gallery_{name}"]))
        title = "mAP" if len(runs) == 1 else f"mAP, {run.label}"
        figures.append(
            make_figure(
                f"{key.replace('_', '-')}-{k}",
                f"Matrix of the mAP by {heading.lower()}, {run.name}",
                partial(
                    breakdown.plot_pair_matrix,
                    table=table,
                    rows=f"query_{name}",
                    columns=f"gallery_{name}",
                    order=order,
                    title=title,
                ),
                size=(6.4, 1.6 + 0.27 * groups),
            )
        )
    part.figures = figures
    return part


def make_verification_section(runs: Sequence[RunSource]) -> list[Section]:
    """ROC, equal-error rate, thresholds and distance histograms."""
    curves = {run.label: get_table(run, "verification_roc") for run in runs}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    if not curves:
        return []
    figures = [
        make_figure(
            "roc",
            "ROC curve of same-vehicle decisions for " + ", ".join(curves),
            lambda ax: verification.plot_roc(
                ax, next(iter(curves.values())) if len(curves) == 1 else curves
            ),
        )
    ]
    tables = []
    for k, run in enumerate(runs):
        histogram, numbers = get_table(run, "distance_histogram"), get_table(run, "verification")
        if histogram.empty or numbers.empty:
            continue
        values = dict(zip(numbers["measure"], numbers["value"], strict=True))
        figures.append(
            make_figure(
                f"distances-{k}",
                f"Histogram of the distances of same-vehicle and other-vehicle pairs, {run.name}",
                partial(
                    verification.plot_distance_histogram,
                    histogram=histogram,
                    threshold=values.get("equal-error threshold"),
                ),
            )
        )
        caption = "Verification" if len(runs) == 1 else f"Verification, {run.name}"
        rows = [
            [text_cell(name), _verification_cell(name, value, values.get("negative pairs", 0.0))]
            for name, value in values.items()
        ]
        columns = [Column("Measure"), Column("Value", number=True)]
        tables.append(Table(caption, columns, rows, sortable=False))
    note = (
        "Retrieval only sorts images; a system that must say yes or no needs one threshold for all "
        "vehicles. The more the two histograms overlap, the worse it can decide."
    )
    part = Part(figures=figures, tables=tables)
    return [Section("verification", "Same vehicle, yes or no", [part], note)]


def _verification_cell(name: str, value: float, num_negative: float) -> Cell:
    rate = re.search(r"at false-accept rate (\S+)", name)
    if rate and float(rate[1]) * num_negative < 1:
        # Not one pair of different vehicles may be accepted: another test set would say otherwise.
        return Cell("not measurable", "", small=f"{int(num_negative):,} pairs are too few")
    if "pairs" in name:
        return Cell(f"{int(value):,}", int(value))
    if "threshold" in name:
        return number_cell(float(value), 3)
    return percent_cell(value)
