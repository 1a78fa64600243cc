"""What a gallery's answers are worth where the truth is known, and what they cost as it grows."""

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.data.images import decode_image, read_bytes
from mtn_core.data.split import Split
from mtn_core.errors import MissingFileError
from mtn_core.gallery.crops import Crop
from mtn_core.gallery.embedder import Embedder
from mtn_core.gallery.find import find_in_store
from mtn_core.gallery.query import Query
from mtn_core.gallery.records import Batch, Filter, GalleryInfo, camera_name
from mtn_core.gallery.store import ALL, Gallery
from mtn_core.results.answer import Asked, SearchResult
from mtn_core.runs import RunFolder

START = datetime(2024, 5, 1)  # when frame 0 was, of data that have frame numbers alone
_FRAME = re.compile(r"_c\d+_(\d+)")
_MOST_FRAMES = 10**10
_BATCH = 10_000


def find_models(run_dir: str | Path) -> tuple[Path, Path | None]:
    """The model of a run and its PoseEstNet: exports where there are some, else checkpoints.

    Args:
        run_dir: Run folder; notebooks 05 and 07 leave an export and a PoseEstNet in it.

    Raises:
        MissingFileError: There is no model.
    """
    run = RunFolder(run_dir)
    models = sorted(run.export.glob("MultiTask*_pixels.onnx")) or [run.best_checkpoint]
    if not models[0].is_file():
        raise MissingFileError(
            f"{run.path} has neither an export nor {run.best_checkpoint.name}; train first "
            "(notebook 03)"
        )
    poses = [*sorted((run.pose / "export").glob("*.onnx")), RunFolder(run.pose).best_checkpoint]
    return models[0], next((path for path in poses if path.is_file()), None)


def crops_of_split(split: Split, frames_per_second: float = 10.0) -> list[Crop]:
    """A labelled split as crops of a gallery: camera, vehicle, and time from the frame number.

    Args:
        split: Of the VeRi layout.
        frames_per_second: Of its cameras.
    """
    return [
        Crop(
            path=split.image_path(row),
            name=name,
            camera=camera_name(camid) if camid else None,
            time=_time_of(name, frames_per_second),
            vehicle=str(pid),
        )
        for row, (name, camid, pid) in enumerate(
            split.frame[["name", "camid", "pid"]].itertuples(index=False, name=None)
        )
    ]


def queries_of_split(embedder: Embedder, split: Split) -> list[Query]:
    """Each crop of a split as a query of its own, from its pixels alone."""
    data = [read_bytes(split.image_path(row)) for row in range(len(split))]
    names = split.frame["name"].tolist()
    images = [decode_image(content, name) for content, name in zip(data, names, strict=True)]
    said = embedder.embed(images)
    colors, color_confidences = said.colors, said.color_confidences
    types, type_confidences = said.types, said.type_confidences
    queries = []
    for row in range(len(split)):
        asked = Asked(
            (str(split.image_path(row)),),
            color=None if colors is None else colors[row],
            color_confidence=None if color_confidences is None else float(color_confidences[row]),
            type=None if types is None else types[row],
            type_confidence=None if type_confidences is None else float(type_confidences[row]),
        )
        sha = hashlib.sha256(data[row]).hexdigest()
        camid = int(split.frame["camid"].iloc[row])
        query = Query(said.features[row], asked, (sha,))
        queries.append(query.taken_by([camera_name(camid) if camid else None]))
    return queries


def judge_answers(
    gallery: Gallery, queries: Sequence[Query], vehicles: Sequence[object]
) -> pd.DataFrame:
    """Every sighting that a query is compared with, and whether it is of its vehicle.

    Args:
        gallery: Whose sightings know their vehicles.
        queries: What is searched for.
        vehicles: Their identities.

    Returns:
        A row a pair: query, name, distance, match.
    """
    count = max(1, gallery.count())
    parts = []
    for number, (query, vehicle) in enumerate(zip(queries, vehicles, strict=True)):
        hits = find_in_store(gallery, query, top=count).hits
        parts.append(
            pd.DataFrame(
                {
                    "query": number,
                    "name": hits["name"],
                    "distance": hits["distance"],
                    "match": (hits["vehicle"] == str(vehicle)).astype(bool),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def precision_curve(pairs: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall at every distance that occurs.

    Args:
        pairs: Of :func:`judge_answers`.

    Returns:
        Rows by threshold, ascending: threshold, num_accepted, precision, recall. A pair is
        accepted whose distance is at most the threshold; recall is nan without any match.
    """
    ordered = pairs.sort_values("distance", kind="stable")
    right, count = ordered["match"].cumsum().to_numpy(), np.arange(1, len(ordered) + 1)
    last = np.append(np.diff(ordered["distance"]) > 0, True)[: len(ordered)]  # of equal distances
    total = int(ordered["match"].sum())
    frame = pd.DataFrame(
        {
            "threshold": ordered["distance"].to_numpy(),
            "num_accepted": count,
            "precision": right / count,
            "recall": right / total if total else np.nan,
        }
    )
    return frame[last].reset_index(drop=True)


def at_threshold(pairs: pd.DataFrame, threshold: float) -> pd.Series:
    """What a threshold gives: accepted, right, precision, recall, queries_answered, strangers.

    Args:
        pairs: Of :func:`judge_answers`.
        threshold: Distances below it are accepted.
    """
    accepted = pairs[pairs["distance"] < threshold]
    right, total = int(accepted["match"].sum()), int(pairs["match"].sum())
    strangers = int((~pairs["match"]).sum())
    return pd.Series(
        {
            "accepted": len(accepted),
            "right": right,
            "precision": right / len(accepted) if len(accepted) else np.nan,
            "recall": right / total if total else np.nan,
            "queries answered": accepted["query"].nunique() / max(1, pairs["query"].nunique()),
            "false accepts": (len(accepted) - right) / strangers if strangers else np.nan,
        }
    )


def compare_filters(
    gallery: Gallery,
    queries: Sequence[Query],
    vehicles: Sequence[object],
    filters: Mapping[str, Filter],
) -> pd.DataFrame:
    """What filters do to the answers of the same queries.

    Args:
        gallery: Is searched.
        queries: What is searched for.
        vehicles: Their identities.
        filters: By name.

    Returns:
        A row a filter: compared (images a query, mean), first right (share of queries whose
        nearest answer is their vehicle, of those with an answer), found (share of queries that
        have their vehicle among the answers), ms (median).
    """
    rows = {}
    for name, which in filters.items():
        answers: list[SearchResult] = []
        milliseconds = []
        for query in queries:
            started = time.perf_counter()
            answers.append(find_in_store(gallery, query, which, top=max(1, gallery.count())))
            milliseconds.append(1e3 * (time.perf_counter() - started))
        pairs = list(zip(answers, vehicles, strict=True))
        first = [a.hits["vehicle"].iloc[0] == str(v) for a, v in pairs if len(a.hits)]
        rows[name] = {
            "compared": np.mean([a.num_compared for a in answers]),
            "first right": np.mean(first) if first else np.nan,
            "found": np.mean([(a.hits["vehicle"] == str(v)).any() for a, v in pairs]),
            "ms": np.median(milliseconds),
        }
    return pd.DataFrame(rows).T


def measure_cost(
    folder: Path, like: Gallery, sizes: Sequence[int], *, num_queries: int = 10, seed: int = 0
) -> pd.DataFrame:
    """Grow a made-up gallery and search it at each size.

    Args:
        folder: Where it is made; the caller removes it.
        like: Embeddings are drawn around its own.
        sizes: Numbers of sightings, ascending.
        num_queries: Searches at each size.
        seed: Of what is drawn.

    Returns:
        A row a size: sightings, MB (on disk), adding s (from the size before), opening ms, all ms
        and filtered ms (median search without a filter, and with one that keeps 1 %).
    """
    rng = np.random.default_rng(seed)
    own = like.backend.rows(ALL, 2000).vectors
    info: GalleryInfo = like.info
    gallery = Gallery.create(folder / "grown", info)
    rows, done = [], 0
    for size in sizes:
        started = time.perf_counter()
        for first in range(done, size, _BATCH):
            gallery.add(_made_up(rng, own, info, range(first, min(first + _BATCH, size))))
        adding, done = time.perf_counter() - started, size
        started = time.perf_counter()
        gallery = Gallery.open(folder / "grown")
        opening = time.perf_counter() - started
        queries = own[rng.integers(0, len(own), num_queries)]
        files = [p for p in gallery.path.rglob("*") if p.is_file()]
        rows.append(
            {
                "sightings": size,
                "MB": sum(p.stat().st_size for p in files) / 1e6,
                "adding s": adding,
                "opening ms": 1e3 * opening,
                "all ms": _median_ms(gallery, queries, ALL),
                "filtered ms": _median_ms(gallery, queries, Filter(camera=("7",))),
            }
        )
    return pd.DataFrame(rows)


def _made_up(rng: np.random.Generator, own: np.ndarray, info: GalleryInfo, numbers: range) -> Batch:
    features = own[rng.integers(0, len(own), len(numbers))]
    noise = rng.standard_normal(features.shape, np.float32) * own.std(axis=0)
    return Batch(
        model_sha256=info.model_sha256,
        pose_sha256=info.input.pose_sha256,
        names=[f"{i}.jpg" for i in numbers],
        image_sha256=[hashlib.sha256(str(i).encode()).hexdigest() for i in numbers],
        features=features + 0.3 * noise,
        cameras=[str(i % 100) for i in numbers],
        times=[START + timedelta(seconds=i) for i in numbers],
    )


def _median_ms(gallery: Gallery, queries: np.ndarray, which: Filter) -> float:
    gallery.search(queries[0], which)  # the first one reads what the others find in memory
    milliseconds = []
    for query in queries:
        started = time.perf_counter()
        gallery.search(query, which)
        milliseconds.append(1e3 * (time.perf_counter() - started))
    return float(np.median(milliseconds))


def _time_of(name: str, frames_per_second: float) -> datetime | None:
    found = _FRAME.search(name)
    frame = int(found.group(1)) if found else _MOST_FRAMES
    return START + timedelta(seconds=frame / frames_per_second) if frame < _MOST_FRAMES else None
