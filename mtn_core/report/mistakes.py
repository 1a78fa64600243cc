"""The section on what is mistaken for what: vehicles, colours, types, each with crops."""

from collections.abc import Sequence
from functools import partial

import pandas as pd

from mtn_core.report.breakdowns import get_table
from mtn_core.report.figures import make_figure
from mtn_core.report.lists import describe_attributes
from mtn_core.report.page import format_percent
from mtn_core.report.parts import Part, Section
from mtn_core.report.sources import RunSource
from mtn_core.report.tables import (
    Cell,
    Column,
    Table,
    difference_cell,
    number_cell,
    percent_cell,
    table_from_frame,
    text_cell,
)
from mtn_core.report.thumbnails import ThumbnailStore
from mtn_core.viz import breakdown

_MAX_ROWS = 40


def make_mistakes_section(runs: Sequence[RunSource], store: ThumbnailStore) -> list[Section]:
    """Who is mistaken for whom, hardest vehicles, attribute mistakes, with crops."""
    section = Section("confusions", "What is mistaken for what")
    for k, run in enumerate(runs):
        prefix = f"{run.name}: " if len(runs) > 1 else ""
        tables = [
            _wrong_answers_table(get_table(run, "wrong_first_answers")),
            _confusions_table(get_table(run, "confusions"), store),
            _hardest_table(get_table(run, "hardest_ids"), store),
        ]
        tables = [table for table in tables if table.rows]
        if tables:
            section.parts.append(
                Part(heading=_heading(prefix, "Vehicles"), tables=tables, columns=False)
            )
        section.parts += _attribute_parts(run, store, prefix, k)
    return [section] if section.parts else []


def _wrong_answers_table(frame: pd.DataFrame) -> Table:
    columns = {
        "share_of": (Column("The wrong vehicle at rank 1 has the"), text_cell),
        "count": (Column("Count", number=True), number_cell),
        "num_known": (Column("Of", number=True), number_cell),
        "share": (Column("Share", number=True), lambda v: percent_cell(v, meter=True)),
    }
    caption = "How alike a wrong first answer is to the query"
    if frame.empty or not frame["num_known"].any():
        return Table(caption, [], [])
    return table_from_frame(frame[frame["num_known"] > 0], caption, columns, sortable=False)


def _confusions_table(frame: pd.DataFrame, store: ThumbnailStore) -> Table:
    columns = [
        Column("Vehicle", number=True),
        Column("Mistaken for", number=True),
        Column("Times", number=True),
        Column("Of its queries", number=True),
        Column("Distance of the nearest such pair", number=True),
        Column("That query and wrong answer", sort=False),
    ]
    rows = []
    for row in frame.head(_MAX_ROWS).itertuples():
        pictures = [
            _picture(store, "query", row.query_name, f"query of vehicle {row.pid}"),
            _picture(store, "gallery", row.gallery_name, f"gallery image of {row.mistaken_for}"),
        ]
        rows.append(
            [
                number_cell(row.pid),
                number_cell(row.mistaken_for),
                number_cell(row.count),
                Cell(f"{row.num_query} ({format_percent(row.share, 0)})", float(row.share)),
                number_cell(float(row.distance)),
                _pictures_cell(store, pictures, row.query_name, row.gallery_name),
            ]
        )
    note = f"The {_MAX_ROWS} most frequent of {len(frame)} pairs." if len(frame) > _MAX_ROWS else ""
    return Table("Most frequent confusions of vehicles", columns, rows, tall=len(rows) > 8,
                 filterable=len(rows) > 8, note=note)  # fmt: skip


def _hardest_table(frame: pd.DataFrame, store: ThumbnailStore) -> Table:
    known = len(frame) > 0 and bool((frame[["color_id", "type_id"]] >= 1).to_numpy().any())
    columns = [
        Column("Vehicle", number=True),
        *([Column("Looks", filter=True)] if known else []),
        Column("mAP", number=True),
        Column("Rank-1", number=True),
        Column("Queries", number=True),
        Column("Median rank of first match", number=True),
        Column("Mostly mistaken for", number=True),
        Column("Worst query", sort=False),
    ]
    rows = []
    for row in frame.head(_MAX_ROWS).itertuples():
        picture = _picture(store, "query", row.worst_query, f"worst query of vehicle {row.pid}")
        mistaken = number_cell(row.mistaken_for) if row.mistaken_for >= 0 else Cell("–", "")
        rows.append(
            [
                number_cell(row.pid),
                *([text_cell(describe_attributes(row.color_id, row.type_id))] if known else []),
                percent_cell(row.mAP, meter=True),
                percent_cell(row.rank1),
                number_cell(row.num_query),
                number_cell(float(row.median_first_match_rank), 1),
                mistaken,
                _pictures_cell(store, [picture], row.worst_query),
            ]
        )
    note = f"The {_MAX_ROWS} hardest of {len(frame)} vehicles." if len(frame) > _MAX_ROWS else ""
    return Table("Hardest vehicles", columns, rows, tall=len(rows) > 8,
                 filterable=len(rows) > 8, note=note)  # fmt: skip


def _attribute_parts(run: RunSource, store: ThumbnailStore, prefix: str, k: int) -> list[Part]:
    parts = []
    for kind, word in (("color", "colour"), ("type", "type")):
        frame = get_table(run, f"{kind}_confusion")
        if frame.empty:
            continue
        classes = frame["true_id"].nunique()
        figure = make_figure(
            f"{kind}-confusion-{k}",
            f"Confusion matrix of the {word}, {run.name}",
            partial(breakdown.plot_confusion, table=frame, title=word.capitalize()),
            size=(6.0, 1.7 + 0.27 * classes),
        )
        table = _attribute_table(run, frame, store, word)
        parts.append(
            Part(heading=_heading(prefix, word.capitalize()), figures=[figure],
                 tables=[table] if table.rows else [])
        )  # fmt: skip
    together = get_table(run, "attributes_and_retrieval")
    if len(together):
        parts.append(Part(heading=_heading(prefix, "Attribute mistakes and retrieval mistakes"),
                          tables=[_together_table(together)], columns=False))  # fmt: skip
    return parts


def _attribute_table(
    run: RunSource, frame: pd.DataFrame, store: ThumbnailStore, word: str
) -> Table:
    wrong = frame[frame["true_id"] != frame["predicted_id"]]
    wrong = wrong.sort_values("count", ascending=False, kind="stable").head(_MAX_ROWS)
    in_query = set(run.result.per_query["name"])
    rows = []
    for row in wrong.itertuples():
        split = "query" if row.example in in_query else "gallery"
        picture = _picture(store, split, row.example, f"{row.true} taken for {row.predicted}")
        rows.append(
            [
                text_cell(row.true),
                text_cell(row.predicted),
                number_cell(row.count),
                percent_cell(row.share),
                Cell(
                    format_percent(row.example_confidence, 0),
                    thumbs=[picture] if picture[0] else [],
                    value=float(row.example_confidence),
                ),
            ]
        )
    columns = [
        Column("True", filter=True),
        Column("Predicted", filter=True),
        Column("Images", number=True),
        Column("Share of the true class", number=True),
        Column("Confidence of the surest", number=True),
    ]
    return Table(f"Mistakes of the {word}", columns, rows, tall=len(rows) > 8)


def _together_table(frame: pd.DataFrame) -> Table:
    interval = list(
        zip(frame["difference"], frame["difference_low"], frame["difference_high"], strict=True)
    )
    shown = frame.assign(interval=interval)
    words = {"color": "colour", "type": "type"}
    return table_from_frame(
        shown,
        "Is a vehicle found less often when its attribute is judged wrong?",
        {
            "attribute": (Column("Attribute"), lambda v: text_cell(words.get(v, v))),
            "num_right": (Column("Queries judged right", number=True), number_cell),
            "num_wrong": (Column("judged wrong", number=True), number_cell),
            "rank1_if_right": (Column("Rank-1 if right", number=True), percent_cell),
            "rank1_if_wrong": (Column("Rank-1 if wrong", number=True), percent_cell),
            "interval": (
                Column("Difference in points", number=True),
                lambda v: difference_cell(v[0], (v[1], v[2])),
            ),
            "mAP_if_right": (Column("mAP if right", number=True), percent_cell),
            "mAP_if_wrong": (Column("mAP if wrong", number=True), percent_cell),
        },
        sortable=False,
    )


def _picture(store: ThumbnailStore, split: str, name: str, alt: str) -> tuple[str, str]:
    """Class and words of a picture; no class where the page has no room left for it."""
    return store.add(split, name) or "", alt


def _pictures_cell(store: ThumbnailStore, pictures: Sequence[tuple[str, str]], *names: str) -> Cell:
    """Pictures, or the names of what they would show."""
    drawn = store.has_pictures and all(shown for shown, _ in pictures)
    return Cell("", thumbs=pictures) if drawn else Cell(", ".join(names))


def _heading(prefix: str, words: str) -> str:
    return f"{prefix}{words[0].lower()}{words[1:]}" if prefix else words
