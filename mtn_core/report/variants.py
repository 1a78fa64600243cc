"""The section on other uses of the same embeddings: re-ranking, expansion, centring, tracks."""

from collections.abc import Sequence

import pandas as pd

from mtn_core.report.breakdowns import get_table
from mtn_core.report.parts import Part, Section
from mtn_core.report.sources import RunSource
from mtn_core.report.tables import (
    Cell,
    Column,
    Table,
    difference_cell,
    percent_cell,
    table_from_frame,
    text_cell,
)

_CAMERA_NOTE = (
    "Right matches at the query's own camera are ignored, so a camera penalty can only help: it "
    "shows what knowing the camera is worth. "
)


def make_variants_section(runs: Sequence[RunSource]) -> list[Section]:
    """What re-ranking and the like would bring, beside the plain figure and never instead of it."""
    tables = []
    for run in runs:
        frame = get_table(run, "variants")
        if len(frame):
            of_run = f", {run.name}" if len(runs) > 1 else ""
            tables.append(_variants_table(frame, f"Variants{of_run}", bool(of_run)))
    if not tables:
        return []
    # Only where no right match at the query's own camera counts is the charge never wrong.
    one_sided = all(run.result.rule.ignored == "same_camera" for run in runs)
    note = (
        "The result of a run is the plain figure. The variants use the same embeddings, but more "
        "than one query and one gallery image at a time: they need the whole gallery, its cameras "
        "or its tracks. "
        + _CAMERA_NOTE * one_sided
        + "Image-to-track figures follow another protocol and cannot be compared with the others."
    )
    return [Section("variants", "Re-ranking and other variants", [Part(tables=tables)], note)]


def _variants_table(frame: pd.DataFrame, caption: str, shows_caption: bool) -> Table:
    interval = zip(frame["mAP_difference"], frame["low"], frame["high"], strict=True)
    shown = frame.assign(interval=list(interval))

    def gain(value: tuple[float, float, float]) -> Cell:
        return difference_cell(value[0], (value[1], value[2]))

    return table_from_frame(
        shown,
        caption,
        {
            "variant": (Column("Variant"), text_cell),
            "protocol": (Column("Protocol"), text_cell),
            "mAP": (Column("mAP", number=True), percent_cell),
            "interval": (Column("Against plain, points", number=True), gain),
            "rank1": (Column("Rank-1", number=True), percent_cell),
            "rank5": (Column("Rank-5", number=True), percent_cell),
            "mINP": (Column("mINP", number=True), percent_cell),
        },
        shows_caption=shows_caption,
    )
