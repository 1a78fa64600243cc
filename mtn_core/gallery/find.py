"""Where was this vehicle seen: a query against a run's gallery, or against a gallery that grows.

Whatever filters and the query itself leave out is left out first, and then all of the rest is
compared; the same image, and by default the query's own camera, are no answer.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtn_core.errors import ConfigError, DataError, nearest
from mtn_core.gallery.query import Query
from mtn_core.gallery.records import Filter, Sighting, is_inside, short_id
from mtn_core.gallery.store import ALL, Gallery
from mtn_core.results.answer import SearchResult, make_hits
from mtn_core.results.search import Gallery as RunGallery
from mtn_core.results.search import search
from mtn_core.results.threshold import Threshold
from mtn_core.runs import RunFolder
from mtn_core.vehicle import COLOR_NAMES, TYPE_NAMES
from mtn_core.viz.crops import CropSource


class StoreCrops(CropSource):
    """The crops of a gallery, by their names."""

    key = "images"

    def path(self, split: str, name: str) -> Path | None:
        """Where a crop lies, or None for a name that would lead out of the gallery's folder."""
        if not self.roots or not is_inside(name):
            return None
        folder = self.roots[0].resolve()
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder) else None


def check_filter(
    which: Filter, color_names: Sequence[str], type_names: Sequence[str], source: object
) -> None:
    """Refuse a colour or type that the model does not know, which nothing would match.

    Raises:
        ConfigError: It names the nearest known one.
    """
    for flag, given, known in (
        ("--color", which.color, color_names),
        ("--type", which.type, type_names),
    ):
        if given and not known:
            raise ConfigError(f"{source} has no predictions to filter by; leave {flag} out")
        for name in given:
            if name not in known:
                near = nearest(name, known)
                hint = f"did you mean {near}? " if near else ""
                raise ConfigError(f"{flag} {name}: {hint}known are {', '.join(known)}")


def find_in_run(
    gallery: RunGallery,
    query: Query,
    which: Filter = ALL,
    *,
    top: int = 20,
    same_camera: bool = False,
    threshold: Threshold | None = None,
    crops: CropSource | None = None,
) -> SearchResult:
    """Candidates from the gallery of a run.

    Args:
        gallery: That of the run that the query was embedded for.
        query: What is searched for.
        which: Colours and types are labels where they are known, else predictions.
        top: Answers wanted.
        same_camera: Keep images of the query's own camera.
        threshold: Cuts the answers.
        crops: Where the run's crops lie, to know the same image under another name.

    Raises:
        ConfigError: A filter for which a run has no values.
    """
    check_filter(which, COLOR_NAMES, TYPE_NAMES, gallery.run.path)
    if which.after or which.before or which.track:
        raise ConfigError(
            f"{gallery.run.path} is a run, whose images have no times or tracks; make a gallery "
            "that has with `mtn embed`, or leave --after and --before out"
        )
    rows, left_out = _kept_rows(gallery, which)
    if not same_camera and not set(which.camera) & set(query.cameras):
        own = np.isin(gallery.labels["camids"], [int(c) for c in query.cameras if c.isdigit()])
        left_out += _own_camera(query, int((rows & own).sum()))
        rows &= ~own
    same = rows & _same_names(gallery, query)
    while True:
        rows &= ~same
        result = search(
            gallery,
            embedding=query.features,
            asked=query.asked,
            top=top,
            threshold=threshold,
            rows=None if rows.all() else rows,
        )
        found = _same_files(result, query, crops)
        if not found:
            break
        same[found] = True
    if same.any():
        left_out.append(f"the same image ({_images(same.sum())})")
    return dataclasses.replace(result, left_out=tuple(left_out))


def find_in_store(
    gallery: Gallery,
    query: Query,
    which: Filter = ALL,
    *,
    top: int = 20,
    same_camera: bool = False,
    threshold: Threshold | None = None,
    approximate: bool = False,
) -> SearchResult:
    """Candidates from a gallery.

    Args:
        gallery: Of the model that has embedded the query.
        query: What is searched for.
        which: Colours and types are predictions.
        top: Answers wanted.
        same_camera: Keep sightings of the query's own camera.
        threshold: Cuts the answers; by default the gallery's own.
        approximate: Ask the gallery's index; its recall is measured under the same filter.

    Raises:
        ConfigError: A filter for which the gallery has no values.
        DataError: It is damaged, or has no index.
    """
    info = gallery.info
    check_filter(which, info.color_names, info.type_names, gallery.path)
    itself = gallery.sightings([short_id(sha) for sha in query.image_sha256])
    query = query.taken_by([sighting.camera for sighting in itself])
    left_out = _describe_filter(which)
    kept = dataclasses.replace(which, not_image=(*which.not_image, *query.image_sha256))
    if not same_camera and not set(which.camera) & set(query.cameras):
        own = dataclasses.replace(which, camera=query.cameras)
        count = gallery.count(own) if query.cameras and not which.camera else 0
        left_out += _own_camera(query, count)
        kept = dataclasses.replace(kept, not_camera=(*which.not_camera, *query.cameras))
    if itself:
        left_out.append(f"the same image ({_images(len(itself))})")
    if threshold is None and info.threshold is not None:
        threshold = Threshold(info.threshold)
    recall = measure_recall(gallery, kept, top) if approximate else None
    (sightings,) = gallery.search(query.features, kept, top, approximate=approximate)
    return SearchResult(
        asked=query.asked,
        run=str(gallery.path),
        metric=info.metric,
        exact=not approximate,
        num_gallery=info.count,
        num_compared=gallery.count(kept),
        threshold=threshold,
        hits=make_hits([_hit(sighting) for sighting in sightings], threshold),
        left_out=tuple(left_out),
        recall=recall,
    )


def measure_recall(gallery: Gallery, which: Filter, top: int, sample: int = 10) -> float:
    """Share of the exact answers that come through a gallery's index, under a filter.

    Args:
        gallery: With an index.
        which: The filter; the more it leaves out, the more an index misses.
        top: Answers a query.
        sample: Sightings that are searched for.

    Returns:
        0..1; 1 where the filter leaves nothing.

    Raises:
        DataError: There is no index.
    """
    if not gallery.backend.has_index():
        raise DataError(
            f"{gallery.path} has no index; `mtn gallery index {gallery.path}` makes one, and "
            "without --approximate every sighting is compared"
        )
    step = max(1, gallery.count() // sample)
    picked = [gallery.backend.rows(ALL, 1, i * step) for i in range(sample)]
    queries = np.concatenate([found.vectors for found in picked])
    exact = gallery.search(queries, which, top)
    near = gallery.search(queries, which, top, approximate=True)
    pairs = [({s.id for s in a}, {s.id for s in b}) for a, b in zip(exact, near, strict=True)]
    wanted = sum(len(a) for a, _ in pairs)
    return sum(len(a & b) for a, b in pairs) / wanted if wanted else 1.0


def _hit(sighting: Sighting) -> dict[str, Any]:
    values = dataclasses.asdict(sighting)
    del values["image_sha256"]
    return values


def _kept_rows(gallery: RunGallery, which: Filter) -> tuple[np.ndarray, list[str]]:
    rows = np.ones(len(gallery), bool)
    cameras = np.array([str(c) if c else "" for c in gallery.labels["camids"].tolist()])
    if which.camera:
        rows &= np.isin(cameras, which.camera)
    rows &= ~np.isin(cameras, which.not_camera)
    for kind in ("color", "type"):
        wanted = getattr(which, kind)
        if wanted:
            rows &= np.isin(gallery.attribute(kind)[0], wanted)
    if which.vehicle:
        rows &= np.isin(gallery.labels["pids"].astype(str), which.vehicle)
    return rows, _describe_filter(which)


def _same_names(gallery: RunGallery, query: Query) -> np.ndarray:
    """The query's rows of the run's own data set; a name of another one means nothing."""
    roots = {root.resolve() for root in RunFolder(gallery.run.path).data_roots()}
    names = [
        name
        for label in query.labelled
        if not roots or label.root.resolve() in roots
        for name in label.frame["name"]
    ]
    return np.isin(gallery.labels["names"], names)


def _same_files(result: SearchResult, query: Query, crops: CropSource | None) -> list[int]:
    """Rows of the answer whose file is one of the query's, under whatever name."""
    if crops is None:
        return []
    paths = [crops.path("gallery", name) for name in result.hits["name"]]
    return [
        int(row)
        for row, path in zip(result.hits["row"], paths, strict=True)
        if path is not None and path.is_file() and _sha256(path) in query.image_sha256
    ]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _own_camera(query: Query, count: int) -> list[str]:
    if not query.cameras:
        return ["no camera, as the query's own is not known; --image_camera says which it is"]
    names = ", ".join(query.cameras)
    return [f"camera {names}, the query's own ({_images(count)}); --same_camera keeps it"]


def _images(count: int) -> str:
    return f"{count} image" + ("" if count == 1 else "s")


def _describe_filter(which: Filter) -> list[str]:
    said = [
        f"{name.replace('not_camera', 'outside of camera')} {' or '.join(values)}"
        for name in ("camera", "not_camera", "color", "type", "vehicle", "track")
        if (values := getattr(which, name))
    ]
    said += [f"{name} {value}" for name in ("after", "before") if (value := getattr(which, name))]
    return [f"whatever is not {'; '.join(said)}"] if said else []
