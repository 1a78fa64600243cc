"""The table of all queries and the table of those that count nowhere."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

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
from mtn_core.results import RetrievalResult
from mtn_core.vehicle import color_name, type_name


def make_query_table(runs: Sequence[RunSource], rows_with_lists: set[int]) -> Table:
    """One row for each query, worst first; a name that has a rank list can be pressed.

    Args:
        runs: With more than one, the average precision of each and the difference of the first two.
        rows_with_lists: Query rows whose rank list is in the page.
    """
    frame = runs[0].result.per_query
    # A column that says "unknown" in every row says nothing.
    cameras, colors, types = (bool((frame[c] >= 1).any()) for c in ("camid", "color_id", "type_id"))
    predictions = bool((frame[["color_pred", "type_pred"]] >= 1).to_numpy().any())
    columns = [Column("Query"), Column("Vehicle", number=True)]
    columns += [Column("Camera", filter=True)] if cameras else []
    columns += [Column("Colour", filter=True)] if colors else []
    columns += [Column("Type", filter=True)] if types else []
    columns += [Column(f"AP {run.name}" if len(runs) > 1 else "AP", number=True) for run in runs]
    columns += [Column("Difference", number=True)] if len(runs) > 1 else []
    columns += [Column("First match", number=True), Column("Matches", number=True)]
    columns += [Column("Nearest")]
    columns += [Column("Predicted")] if predictions else []
    aps = [run.result.per_query["ap"].to_numpy() for run in runs]
    order = np.lexsort((-frame["first_match_rank"].to_numpy(), np.nan_to_num(aps[0], nan=2.0)))
    records = frame.to_dict("records")
    rows = []
    for row in order.tolist():
        record = records[row]
        cells = [
            Cell(record["name"], button=row if row in rows_with_lists else None),
            number_cell(record["pid"]),
            *([_camera_cell(record["camid"])] if cameras else []),
            *([text_cell(color_name(record["color_id"]))] if colors else []),
            *([text_cell(type_name(record["type_id"]))] if types else []),
            *(percent_cell(float(ap[row]), meter=True) for ap in aps),
        ]
        if len(runs) > 1:
            cells.append(difference_cell(float(aps[1][row] - aps[0][row])))
        rank = record["first_match_rank"]
        cells += [number_cell(rank) if rank else Cell("–", ""), number_cell(record["num_matches"])]
        cells += [text_cell(_describe_nearest(record))]
        cells += [text_cell(_describe_prediction(record))] if predictions else []
        rows.append(cells)
    return Table("All queries", columns, rows, filterable=True, tall=True)


def make_dropped_table(result: RetrievalResult) -> Table:
    """The queries that have no true match, and so count in no retrieval number."""
    frame = result.per_query
    dropped = frame[frame["num_matches"] == 0]
    return table_from_frame(
        dropped,
        "Queries without a match",
        {
            "name": (Column("Query"), text_cell),
            "pid": (Column("Vehicle", number=True), number_cell),
            "camid": (Column("Camera", number=True), _camera_cell),
            "num_ignored": (Column("Ignored gallery images", number=True), number_cell),
        },
        tall=len(dropped) > 12,
    )


def _camera_cell(camid: int) -> Cell:
    return Cell(str(camid) if camid else "unknown")


def _describe_nearest(record: dict) -> str:
    pid = record["top1_pid"]
    if pid is None or pd.isna(pid) or pid == -1:
        return "–"
    return "✓ same vehicle" if pid == record["pid"] else f"✗ vehicle {int(pid)}"


def _describe_prediction(record: dict) -> str:
    words = []
    for kind, name in (("color", color_name), ("type", type_name)):
        predicted, true = record[f"{kind}_pred"], record[f"{kind}_id"]
        if predicted < 1:
            continue
        sign = "" if true < 1 else " ✓" if predicted == true else " ✗"
        words.append(name(int(predicted)) + sign)
    return ", ".join(words) or "–"
