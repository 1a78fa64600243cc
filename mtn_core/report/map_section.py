"""The section with the two-dimensional map of a run's gallery embeddings."""

import numpy as np

from mtn_core.report.breakdowns import get_table
from mtn_core.report.figures import make_figure
from mtn_core.report.parts import Part, Section, ThumbnailMap
from mtn_core.report.sources import RunSource
from mtn_core.report.thumbnails import ThumbnailStore
from mtn_core.viz.embedding_map import (
    METHODS,
    Method,
    plot_embedding_map,
    project_embeddings,
    spread_rows,
)

_MAX_IMAGES = 1500  # t-SNE of more takes longer than the rest of the report
_NUM_PICTURES = 110
_NUM_HIGHLIGHTED = 7


def make_map_section(run: RunSource, store: ThumbnailStore, method: Method | None) -> list[Section]:
    """Map the gallery: dots with the hardest vehicles coloured, and pictures.

    Args:
        run: The run.
        store: Takes the pictures.
        method: As for :func:`mtn_core.viz.embedding_map.project_embeddings`; None for no map.
    """
    gallery = run.result.gallery
    if method is None or len(gallery) < 10:
        return []
    hardest = get_table(run, "hardest_ids")
    marked = hardest["pid"].head(_NUM_HIGHLIGHTED).tolist() if len(hardest) else []
    rows = choose_images(gallery.pids, marked, _MAX_IMAGES)
    pids = gallery.pids[rows]
    points = project_embeddings(gallery.features[rows], method)
    name = METHODS[method]
    few = len(rows) < len(gallery)
    note = (
        f"{name} of {len(rows)} {'of the ' + str(len(gallery)) + ' ' if few else ''}gallery "
        "embeddings. Images that lie together look alike to the network; distances between far "
        "groups mean nothing. Coloured: the hardest vehicles."
    )
    if store.has_pictures:
        note += " Below it, pictures at their places; the one under the pointer grows."
    figure = make_figure(
        "map",
        f"{name} map of {len(rows)} gallery embeddings with the hardest vehicles marked",
        lambda ax: plot_embedding_map(ax, points, pids, highlight=marked, title=name),
        size=(9.5, 5.2),
    )
    part = Part(figures=[figure], columns=False)
    if store.has_pictures:
        part.map = _place_pictures(run, rows, points, store, name)
    return [Section("map", "Map of the embeddings", [part], note)]


def choose_images(pids: np.ndarray, first: list[int], limit: int) -> np.ndarray:
    """Rows of whole vehicles, those in ``first`` before others by chance, about ``limit`` rows."""
    if len(pids) <= limit:
        return np.arange(len(pids))
    others = np.setdiff1d(pids, first)
    order = [*first, *np.random.default_rng(0).permutation(others).tolist()]
    counts = np.cumsum([(pids == pid).sum() for pid in order])
    chosen = order[: max(1, int(np.searchsorted(counts, limit, "right")))]
    return np.flatnonzero(np.isin(pids, chosen))


def _place_pictures(
    run: RunSource, rows: np.ndarray, points: np.ndarray, store: ThumbnailStore, name: str
) -> ThumbnailMap | None:
    gallery = run.result.gallery
    low, high = points.min(axis=0), points.max(axis=0)
    places = (points - low) / np.where(high > low, high - low, 1)
    pictures = []
    for k in spread_rows(points, _NUM_PICTURES):
        row = int(rows[k])
        thumb = store.add("gallery", str(gallery.names[row]))
        if thumb is None:
            break
        left, top = 4 + 92 * places[k, 0], 5 + 90 * (1 - places[k, 1])
        camera = f", camera {gallery.camids[row]}" if gallery.camids[row] else ""
        title = f"vehicle {gallery.pids[row]}{camera}"
        pictures.append((thumb, round(float(left), 2), round(float(top), 2), title))
    if not pictures:
        return None
    return ThumbnailMap(f"{len(pictures)} gallery pictures at their places in the map", pictures)
