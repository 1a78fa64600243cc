"""Where was this vehicle seen: a new crop against the gallery of a run.

Exact up to 100,000 gallery images, and beyond where faiss is not installed; else through a faiss
index that is kept beside the embeddings, looks into the nearest eighth of its cells, and so may
miss a far answer. NumPy and pandas only.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.errors import DataError, MissingFileError, RunFolderError
from mtn_core.files import atomic_path, sha256_of, why_no_file, write_json
from mtn_core.metrics.distance import METRICS, BlockDistances, check_finite, check_pair
from mtn_core.metrics.ranking import smallest
from mtn_core.results.embeddings import load_arrays
from mtn_core.results.proof import check_hash
from mtn_core.results.retrieval import read_saved
from mtn_core.runs import RunFolder
from mtn_core.vehicle import color_name, type_name

FAISS_FROM = 100_000  # gallery images; below, exact search is quicker than reading an index
_PROBED_SHARE = 1 / 8
_LABELS = ("names", "pids", "camids", "color_ids", "type_ids")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The gallery images nearest to a crop.

    Attributes:
        image: What was searched for.
        run: The run folder.
        metric: ``euclidean`` or ``cosine``.
        exact: Whether all gallery images were compared.
        num_gallery: Images searched.
        hits: A row per answer, nearest first: rank, name, pid, camid (0 unknown), color, type (true
            labels, ``unknown`` where not known), distance, row (in the gallery).
    """

    image: str
    run: str
    metric: str
    exact: bool
    num_gallery: int
    hits: pd.DataFrame

    @property
    def sightings(self) -> pd.DataFrame:
        """The hits by vehicle and camera, nearest first: pid, camid, num_images, distance, name."""
        groups = self.hits.groupby(["pid", "camid"], sort=False)
        table = groups.agg(
            num_images=("name", "size"), distance=("distance", "first"), name=("name", "first")
        )
        return table.reset_index()

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values: image, run, metric, exact, num_gallery and a list of hits."""
        return {
            "image": self.image,
            "run": self.run,
            "metric": self.metric,
            "exact": self.exact,
            "num_gallery": self.num_gallery,
            "hits": json.loads(self.hits.drop(columns="row").to_json(orient="records")),
        }

    def format_table(self) -> str:
        """A table for a terminal, with a line on what was searched."""
        columns = ["rank", "distance", "pid", "camid", "color", "type", "name"]
        table = self.hits[columns].to_string(index=False, float_format="{:.4f}".format)
        how = "all compared" if self.exact else "nearest cells of a faiss index compared"
        return (
            f"{table}\n{self.image} against {self.num_gallery} gallery images of {self.run} "
            f"({self.metric} distance, {how})"
        )


def search(
    run_dir: str | Path,
    image: str | Path | None = None,
    *,
    embedding: np.ndarray | None = None,
    embed: Callable[[Path], np.ndarray] | None = None,
    top: int = 20,
    metric: str | None = None,
) -> SearchResult:
    """Find the gallery images of a run that are nearest to a crop.

    Args:
        run_dir: Run folder with gallery embeddings.
        image: The crop, embedded by ``embed``; with ``embedding``, only a name for the answer.
        embedding: ``(D,)`` or ``(1, D)``, made by the network of the run.
        embed: Turns an image file into such an embedding.
        top: Answers wanted; no more than there are gallery images.
        metric: By default the one that the run was evaluated with.

    Raises:
        RunFolderError: The run has no gallery embeddings.
        DataError: An embedding of another width, not finite, or neither it nor an image given.
        MissingFileError: The image does not exist.
    """
    if top < 1:
        raise DataError(f"`top` must be at least 1; got {top}")
    gallery = Gallery.open(run_dir, metric)
    if embedding is None:
        if image is None or embed is None:
            raise DataError("give either `embedding`, or `image` with `embed` to embed it")
        if not Path(image).is_file():
            raise MissingFileError(f"image {image} {why_no_file(Path(image))}")
        embedding = embed(Path(image))
    embedding = np.atleast_2d(np.asarray(embedding, np.float32))
    rows, distances = gallery.nearest(embedding, min(top, len(gallery)))
    labels = gallery.labels
    hits = pd.DataFrame(
        {
            "rank": np.arange(1, len(rows) + 1),
            "name": labels["names"][rows].tolist(),
            "pid": labels["pids"][rows],
            "camid": labels["camids"][rows],
            "color": [color_name(i) for i in labels["color_ids"][rows].tolist()],
            "type": [type_name(i) for i in labels["type_ids"][rows].tolist()],
            "distance": distances,
            "row": rows,
        }
    )
    return SearchResult(
        image="embedding" if image is None else str(image),
        run=str(run_dir),
        metric=gallery.metric,
        exact=not gallery.use_faiss,
        num_gallery=len(gallery),
        hits=hits,
    )


class Gallery:
    """The gallery of a run, ready to be searched.

    Args:
        run: A run with embeddings.
        metric: ``euclidean`` or ``cosine``.
    """

    def __init__(self, run: RunFolder, metric: str):
        if metric not in METRICS:
            raise DataError(f"`metric` must be one of {', '.join(METRICS)}; got {metric!r}")
        self.run, self.metric = run, metric
        self.labels = load_arrays(run.gallery_embeddings, _LABELS)
        shapes = {name: array.shape for name, array in self.labels.items()}
        if any(shape != (len(self),) for shape in shapes.values()) or not len(self):
            raise DataError(
                f"{run.gallery_embeddings} is not usable: expected one value an image; got the "
                f"shapes {shapes}; evaluate again"
            )
        self.use_faiss = len(self) > FAISS_FROM and find_spec("faiss") is not None

    @classmethod
    def open(cls, run_dir: str | Path, metric: str | None = None) -> "Gallery":
        """The gallery of a run folder, by default with the metric of its evaluation.

        Raises:
            RunFolderError: There is none.
        """
        run = RunFolder(run_dir)
        if not run.gallery_embeddings.is_file():
            raise RunFolderError(
                f"{run.path} has no {run.gallery_embeddings.name} to search in; "
                f"`mtn eval --out {run.path}` makes it"
            )
        saved = read_saved(run) if run.results.is_file() else None
        if saved is not None:
            check_hash(run, run.gallery_embeddings, saved.sha256)
        gallery = cls(run, metric or (saved.protocol.metric if saved else METRICS[0]))
        if not gallery.use_faiss:
            gallery.features  # noqa: B018 - before a network is loaded for a gallery that is broken
        return gallery

    def __len__(self) -> int:
        return len(self.labels["names"])

    def nearest(self, embedding: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """``(top,)`` gallery rows and float64 distances of a ``(1, D)`` embedding, nearest first.

        Raises:
            DataError: Another width than the gallery's, or not finite.
        """
        if self.use_faiss:
            return self._nearest_by_faiss(embedding, top)
        pair = check_pair(embedding, self.features)
        distances = BlockDistances(*pair, self.metric)
        rows, keys = smallest(distances.keys(0, 1), top)
        return rows[0], distances.to_distance(keys[0])

    @cached_property
    def features(self) -> np.ndarray:
        """``(N, D)``; read when first used."""
        path = self.run.gallery_embeddings
        features = load_arrays(path, ["features"])["features"]
        if features.ndim != 2 or len(features) != len(self):
            raise DataError(
                f"{path} is not usable: {len(self)} images, but features of shape "
                f"{features.shape}; evaluate again"
            )
        check_finite(f"features of {path}", features)
        return features

    def _nearest_by_faiss(self, embedding: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        index = self._faiss_index()
        embedding, _ = check_pair(embedding, np.zeros((1, index.d), np.float32))
        if self.metric == "cosine":
            embedding = _normalised(embedding)
        index.nprobe = max(1, int(index.nlist * _PROBED_SHARE))
        scores, rows = index.search(np.ascontiguousarray(embedding), top)
        found = rows[0] >= 0
        scores, rows = scores[0][found].astype(np.float64), rows[0][found]
        if self.metric == "cosine":
            return rows, np.maximum(1 - scores, 0)
        return rows, np.sqrt(np.maximum(scores, 0))

    def _faiss_index(self):
        """Read the index, or build and keep it; one of other embeddings is not used."""
        import faiss

        embeddings = sha256_of(self.run.gallery_embeddings)
        key = {"embeddings_sha256": embeddings, "metric": self.metric}
        try:
            if self.run.read_json(self.run.search_index_key) == key:
                return faiss.read_index(str(self.run.search_index))
        except (RunFolderError, RuntimeError):
            pass  # no index yet, or a broken one: build it
        features = self.features
        _LOG.info("building the search index of %d images, once", len(features))
        cosine = self.metric == "cosine"
        features = _normalised(features) if cosine else features
        width = features.shape[1]
        num_cells = max(1, int(4 * np.sqrt(len(features))))
        cells = faiss.IndexFlatIP(width) if cosine else faiss.IndexFlatL2(width)
        kind = faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2
        index = faiss.IndexIVFFlat(cells, width, num_cells, kind)
        sample = np.random.default_rng(0).permutation(len(features))[: 40 * num_cells]
        index.train(np.ascontiguousarray(features[np.sort(sample)]))
        index.add(features)
        self.run.search_index_key.unlink(missing_ok=True)
        with atomic_path(self.run.search_index) as temporary:
            faiss.write_index(index, str(temporary))
        write_json(self.run.search_index_key, key)
        return index


def _normalised(features: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, length, out=np.zeros_like(features), where=length > 0)
