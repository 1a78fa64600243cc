"""The answer to ``mtn search`` as a page: the crop, and the candidates for its likes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mtn_core.files import write_text
from mtn_core.report.page import render_page
from mtn_core.report.tables import Cell, Column, Table, number_cell, text_cell
from mtn_core.report.thumbnails import PLACEHOLDER_CLASS, ThumbnailStore
from mtn_core.results.answer import SearchResult, with_confidence
from mtn_core.viz.crops import CropSource, encode_jpeg, read_crop

_MAX_SIDE = 220
_UNKNOWN = "unknown"
_MOST_CROPS = 8  # of the query's


def write_search_page(result: SearchResult, crops: CropSource, out: str | Path) -> Path:
    """Write one offline page with the candidates as pictures and as a table.

    Args:
        result: The answers; its images are shown where they can be read.
        crops: Where the gallery's crops are read.
        out: HTML file to write.

    Returns:
        ``out`` as a path.
    """
    store = ThumbnailStore(crops, max_side=_MAX_SIDE)
    images = [Path(image) for image in result.asked.images]
    asked = [
        {
            "thumb": store.add_picture(encode_jpeg(read_crop(image, max_side=_MAX_SIDE))),
            "name": image.name,
        }
        for image in images[:_MOST_CROPS]
    ]
    name = images[0].name if images else result.image
    others = result.hits.iloc[:0]
    if result.threshold is not None:
        others = result.hits[~result.hits["likely"]]
    page = render_page(
        "search.html.j2",
        title=f"Candidates for {name}",
        subtitle=f"The {len(result.hits)} nearest of {result.num_compared} compared images of "
        f"{Path(result.run).name}, {result.num_gallery} in all ({result.metric} distance, "
        f"{result.how})",
        asked=asked,
        looks=_looks(result),
        threshold=None if result.threshold is None else result.threshold.describe(),
        left_out=result.left_out,
        none_likely=result.none_likely,
        likely=_pictures(result.likely, store, "likely" if result.threshold else "ignored"),
        others=_pictures(others, store, "ignored"),
        sightings=_sightings_table(result, store),
        answers=_hits_table(result),
        missing=[name for _, name in crops.missing],
        thumbnails=store.to_css(),
    )
    write_text(out, page)
    return Path(out)


def _looks(result: SearchResult) -> Sequence[tuple[str, str]]:
    """What is known of the crop, name by name."""
    asked = result.asked
    poses = {
        "none": "none was given, though the network was made for one: expect worse answers",
        "labels": "from the labels of its data set",
        "PoseEstNet": "found by PoseEstNet",
    }
    return [
        ("Colour", _predicted(asked.color, asked.color_confidence)),
        ("Type", _predicted(asked.type, asked.type_confidence)),
        ("Camera", asked.camera or _UNKNOWN),
        *([("Pose", poses[asked.pose])] if asked.pose else []),
    ]


def _predicted(name: str | None, confidence: float | None) -> str:
    if name is None or confidence is None:
        return "not predicted by this network"
    return f"{name}, predicted with confidence {confidence:.2f}"


def _pictures(hits: pd.DataFrame, store: ThumbnailStore, verdict: str) -> list[dict[str, Any]]:
    return [
        {
            "thumb": store.add("gallery", hit.name) or PLACEHOLDER_CLASS,
            "verdict": verdict,
            "alt": f"rank {hit.rank}: vehicle {_or_unknown(hit.vehicle)}, camera "
            f"{_or_unknown(hit.camera)}, distance {hit.distance:.2f}",
            "lines": [
                f"#{hit.rank} · {hit.distance:.2f}",
                f"camera {hit.camera or '?'}",
                *([f"{hit.time:%Y-%m-%d %H:%M:%S}"] if not pd.isna(hit.time) else []),
                *([f"id {hit.vehicle}"] if _or_unknown(hit.vehicle) != _UNKNOWN else []),
            ],
        }
        for hit in hits.itertuples()
    ]


def _sightings_table(result: SearchResult, store: ThumbnailStore) -> Table:
    timed = bool(result.hits["time"].notna().any())
    columns = [
        Column("Vehicle", filter=True),
        Column("Camera", filter=True),
        Column("Images", number=True),
        *([Column("First"), Column("Last")] if timed else []),
        Column("Distance", number=True),
        Column("Nearest", sort=False),
    ]
    rows = [
        [
            text_cell(_or_unknown(row.vehicle)),
            Cell(_or_unknown(row.camera)),
            number_cell(row.num_images),
            *([_time_cell(row.first), _time_cell(row.last)] if timed else []),
            number_cell(float(row.distance)),
            Cell(
                "",
                thumbs=[
                    (store.add("gallery", row.name) or PLACEHOLDER_CLASS, f"nearest: {row.name}")
                ],
            ),
        ]
        for row in result.sightings.itertuples()
    ]
    what = "Likely sightings" if result.threshold is not None else "Candidates"
    return Table(f"{what} by vehicle and camera, nearest first", columns, rows)


def _hits_table(result: SearchResult) -> Table:
    timed = bool(result.hits["time"].notna().any())
    columns = [
        Column("Rank", number=True),
        Column("Distance", number=True),
        *([Column("Likely", filter=True)] if result.threshold is not None else []),
        Column("Vehicle", filter=True),
        Column("Camera", filter=True),
        *([Column("Time")] if timed else []),
        Column("Colour", filter=True),
        Column("Type", filter=True),
        Column("Image"),
    ]
    rows = [
        [
            number_cell(hit.rank),
            number_cell(float(hit.distance), 4),
            *([Cell("yes" if hit.likely else "no")] if result.threshold is not None else []),
            text_cell(_or_unknown(hit.vehicle)),
            Cell(_or_unknown(hit.camera)),
            *([_time_cell(hit.time)] if timed else []),
            _attribute_cell(hit.color, hit.color_confidence),
            _attribute_cell(hit.type, hit.type_confidence),
            text_cell(hit.name),
        ]
        for hit in result.hits.itertuples()
    ]
    return Table("All candidates", columns, rows, filterable=True, tall=len(rows) > 20)


def _attribute_cell(name: str | None, confidence: float | None) -> Cell:
    shown = with_confidence(name, None)
    known = confidence is not None and not pd.isna(confidence)
    return Cell(shown, small=f"confidence {confidence:.2f}" if known else "")


def _time_cell(time: pd.Timestamp) -> Cell:
    return Cell("–", "") if pd.isna(time) else Cell(f"{time:%Y-%m-%d %H:%M:%S}")


def _or_unknown(value: object) -> str:
    return _UNKNOWN if value is None or value == "" or pd.isna(value) else str(value)
