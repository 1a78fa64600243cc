"""The answer to ``mtn search`` as a page: the crop, and where its likes were seen."""

from pathlib import Path

from mtn_core.files import write_text
from mtn_core.report.page import render_page
from mtn_core.report.tables import Cell, Column, Table, number_cell, text_cell
from mtn_core.report.thumbnails import PLACEHOLDER_CLASS, ThumbnailStore
from mtn_core.results.search import SearchResult
from mtn_core.viz.crops import CropSource, encode_jpeg, read_crop

_MAX_SIDE = 220


def write_search_page(result: SearchResult, crops: CropSource, out: str | Path) -> Path:
    """Write one offline page with the answers as pictures and as a table.

    Args:
        result: The answers; its image is shown where it can be read.
        crops: Where the gallery's crops are read.
        out: HTML file to write.

    Returns:
        ``out`` as a path.
    """
    store = ThumbnailStore(crops, max_side=_MAX_SIDE)
    image = Path(result.image)
    query = store.add_picture(encode_jpeg(read_crop(image, max_side=_MAX_SIDE)))
    how = "all compared" if result.exact else "the nearest cells of a faiss index compared"
    page = render_page(
        "search.html.j2",
        title=f"Where was this vehicle seen? {image.name}",
        subtitle=f"{len(result.hits)} nearest of {result.num_gallery} gallery images of "
        f"{Path(result.run).name} ({result.metric} distance, {how})",
        query=query,
        name=image.name,
        hits=[
            {
                "thumb": store.add("gallery", hit.name) or PLACEHOLDER_CLASS,
                "alt": f"rank {hit.rank}: vehicle {hit.pid}, camera {hit.camid or '?'}, "
                f"distance {hit.distance:.2f}",
                "lines": [
                    f"#{hit.rank} · {hit.distance:.2f}",
                    f"id {hit.pid}",
                    f"camera {hit.camid or '?'}",
                ],
            }
            for hit in result.hits.itertuples()
        ],
        sightings=_sightings_table(result, store),
        answers=_hits_table(result),
        missing=[name for _, name in crops.missing],
        thumbnails=store.to_css(),
    )
    write_text(out, page)
    return Path(out)


def _sightings_table(result: SearchResult, store: ThumbnailStore) -> Table:
    columns = [
        Column("Vehicle", number=True, filter=True),
        Column("Camera", filter=True),
        Column("Images", number=True),
        Column("Distance", number=True),
        Column("Nearest", sort=False),
    ]
    rows = [
        [
            number_cell(row.pid),
            Cell(str(row.camid) if row.camid else "unknown"),
            number_cell(row.num_images),
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
    return Table("Sightings by vehicle and camera, nearest first", columns, rows)


def _hits_table(result: SearchResult) -> Table:
    columns = [
        Column("Rank", number=True),
        Column("Distance", number=True),
        Column("Vehicle", number=True, filter=True),
        Column("Camera", filter=True),
        Column("Colour", filter=True),
        Column("Type", filter=True),
        Column("Image"),
    ]
    rows = [
        [
            number_cell(hit.rank),
            number_cell(float(hit.distance), 4),
            number_cell(hit.pid),
            Cell(str(hit.camid) if hit.camid else "unknown"),
            text_cell(hit.color),
            text_cell(hit.type),
            text_cell(hit.name),
        ]
        for hit in result.hits.itertuples()
    ]
    return Table("All answers", columns, rows, filterable=True, tall=len(rows) > 20)
