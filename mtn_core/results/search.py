"""Where was this vehicle seen: a new crop against the gallery of a run.

Exact up to 100,000 gallery images, where filters leave out more than half of them, and where faiss
is not installed; else through a faiss index that is kept beside the embeddings, looks into the
nearest eighth of its cells, and so may miss an answer: how many it finds is measured on a sample
when it is built. NumPy and pandas only.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mtn_core.errors import DataError, MissingFileError, MissingPackageError, RunFolderError
from mtn_core.files import why_no_file
from mtn_core.metrics.attributes import predict_ids, softmax
from mtn_core.metrics.covisible import (
    ALL_METRICS,
    COVISIBLE,
    create_distances,
    fit_width,
    global_part,
)
from mtn_core.metrics.distance import METRICS, check_finite, check_pair
from mtn_core.metrics.ranking import smallest
from mtn_core.results.answer import Asked, SearchResult, make_hits
from mtn_core.results.embeddings import load_arrays
from mtn_core.results.proof import check_hash
from mtn_core.results.retrieval import read_saved
from mtn_core.results.search_index import SearchIndex, open_index
from mtn_core.results.threshold import Threshold
from mtn_core.runs import RunFolder
from mtn_core.vehicle import UNKNOWN, color_name, type_name

FAISS_FROM = 100_000  # gallery images; below, exact search is quicker than reading an index
_LABELS = ("names", "pids", "camids", "color_ids", "type_ids")
_LOGITS = ("color_logits", "type_logits")


def search(
    run_dir: "str | Path | Gallery",
    image: str | Path | None = None,
    *,
    embedding: np.ndarray | None = None,
    embed: Callable[[Path], np.ndarray] | None = None,
    top: int = 20,
    metric: str | None = None,
    asked: Asked | None = None,
    rows: np.ndarray | None = None,
    left_out: Sequence[str] = (),
    threshold: Threshold | None = None,
) -> SearchResult:
    """Find the gallery images of a run that are nearest to a crop.

    Args:
        run_dir: Run folder with gallery embeddings, or its gallery that is open.
        image: The crop, embedded by ``embed``; with ``embedding``, only a name for the answer.
        embedding: ``(D,)`` or ``(1, D)``, made by the network of the run.
        embed: Turns an image file into such an embedding.
        top: Answers wanted; no more than there are gallery images.
        metric: By default the one that the run was evaluated with.
        asked: What is known of the crop, for the answer.
        rows: ``(N,) bool`` gallery images to compare with; all by default.
        left_out: What ``rows`` leaves out, for the answer.
        threshold: Cuts the answers into likely ones and others.

    Raises:
        RunFolderError: The run has no gallery embeddings.
        DataError: An embedding of another width, not finite, or neither it nor an image given.
        MissingFileError: The image does not exist.
    """
    if top < 1:
        raise DataError(f"`top` must be at least 1; got {top}")
    gallery = run_dir if isinstance(run_dir, Gallery) else Gallery.open(run_dir, metric)
    if embedding is None:
        if image is None or embed is None:
            raise DataError("give either `embedding`, or `image` with `embed` to embed it")
        if not Path(image).is_file():
            raise MissingFileError(f"image {image} {why_no_file(Path(image))}")
        embedding = embed(Path(image))
    embedding = np.atleast_2d(np.asarray(embedding, np.float32))
    count = len(gallery) if rows is None else int(np.count_nonzero(rows))
    index = gallery.index_for(rows)
    if count:
        found, distances = gallery.nearest(embedding, min(top, count), rows)
    else:
        found, distances = np.zeros(0, np.int64), np.zeros(0)
    pairs = zip(found.tolist(), distances.tolist(), strict=True)
    return SearchResult(
        asked=asked or Asked(() if image is None else (str(image),)),
        run=str(gallery.run.path),
        metric=gallery.metric,
        exact=not index,
        num_gallery=len(gallery),
        num_compared=count,
        threshold=threshold,
        hits=make_hits([gallery.describe(row, distance) for row, distance in pairs], threshold),
        left_out=tuple(left_out),
        recall=gallery.recall if index else None,
    )


class Gallery:
    """The gallery of a run, ready to be searched.

    Args:
        run: A run with embeddings.
        metric: ``euclidean``, ``cosine`` or ``covisible``.
        approximate: Whether an index is asked; by default only of more than ``FAISS_FROM`` images.
        drops_parts: The embeddings have parts, and ``metric`` compares their global vectors.

    Attributes:
        labels: ``names``, ``pids``, ``camids``, ``color_ids``, ``type_ids``, ``(N,)`` each.
    """

    def __init__(
        self, run: RunFolder, metric: str, approximate: bool = False, drops_parts: bool = False
    ):
        if metric not in ALL_METRICS:
            raise DataError(f"`metric` must be one of {', '.join(ALL_METRICS)}; got {metric!r}")
        self.run, self.metric, self.drops_parts = run, metric, drops_parts
        self.labels = load_arrays(run.gallery_embeddings, _LABELS)
        shapes = {name: array.shape for name, array in self.labels.items()}
        if any(shape != (len(self),) for shape in shapes.values()) or not len(self):
            raise DataError(
                f"{run.gallery_embeddings} is not usable: expected one value an image; got the "
                f"shapes {shapes}; evaluate again"
            )
        if approximate and metric == COVISIBLE:
            raise DataError(
                "an index cannot compare by what two images have in common; leave --approximate "
                "out, or compare the global vectors with --metric cosine"
            )
        has_faiss = find_spec("faiss") is not None
        if approximate and not has_faiss:
            raise MissingPackageError(
                "an approximate search needs the package faiss, which is not installed: "
                "pip install 'mtn_core[search]'; without --approximate all images are compared"
            )
        large = len(self) > FAISS_FROM and metric != COVISIBLE
        self.use_faiss = has_faiss and (approximate or large)

    @classmethod
    def open(
        cls, run_dir: str | Path, metric: str | None = None, *, approximate: bool = False
    ) -> "Gallery":
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
        own = saved.protocol.metric if saved else METRICS[0]
        metric = metric or own
        gallery = cls(run, metric, approximate, own == COVISIBLE != metric)
        if not gallery.use_faiss:
            gallery.features  # noqa: B018 - before a network is loaded for a gallery that is broken
        return gallery

    def __len__(self) -> int:
        return len(self.labels["names"])

    def attribute(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """What the gallery says of ``color`` or ``type``: labels, else predictions.

        Returns:
            ``(N,)`` names, ``unknown`` where neither is there, and ``(N,) float32`` confidences of
            predictions, nan for labels.
        """
        name_of = color_name if kind == "color" else type_name
        ids = self.labels[f"{kind}_ids"]
        probabilities = self._probabilities(kind)
        known = ids >= 1
        if probabilities is None:
            confidences = np.full(len(self), np.nan, np.float32)
        else:
            ids = np.where(known, ids, probabilities.argmax(axis=1) + 1)
            confidences = np.where(known, np.nan, probabilities.max(axis=1)).astype(np.float32)
        return np.array([name_of(i) for i in ids.tolist()]), confidences

    def describe(self, row: int, distance: float) -> dict[str, Any]:
        """A hit, as :func:`mtn_core.results.answer.make_hits` takes it."""
        labels, camid = self.labels, int(self.labels["camids"][row])
        hit: dict[str, Any] = {
            "distance": distance,
            "camera": str(camid) if camid else "",
            "time": None,
            "track": None,
            "vehicle": str(labels["pids"][row]),
            "name": str(labels["names"][row]),
            "pid": int(labels["pids"][row]),
            "camid": camid,
            "row": row,
        }
        for kind, (names, confidences) in self._attributes.items():
            hit[kind], hit[f"{kind}_confidence"] = str(names[row]), float(confidences[row])
        return hit

    def index_for(self, rows: np.ndarray | None) -> bool:
        """Whether an index answers, where only some rows are compared."""
        return self.use_faiss and (rows is None or rows.mean() >= 0.5)

    def nearest(
        self, embedding: np.ndarray, top: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """``(top,)`` gallery rows and float64 distances of a ``(1, D)`` embedding, nearest first.

        Args:
            embedding: The query.
            top: From 1 to the number of rows; an index may give fewer.
            rows: ``(N,) bool`` those to compare with; all by default.

        Raises:
            DataError: Another width than the gallery's, or not finite.
        """
        if self.index_for(rows):
            return self._nearest_by_faiss(embedding, top, rows)
        chosen = np.arange(len(self)) if rows is None else np.flatnonzero(rows)
        features = self.features if rows is None else self.features[chosen]
        pair = check_pair(fit_width(embedding, features.shape[1]), features)
        distances = create_distances(*pair, self.metric)
        found, keys = smallest(distances.keys(0, 1), top)
        return chosen[found[0]], distances.to_distance(keys[0])

    @property
    def recall(self) -> float:
        """Share of the exact answers that the index finds, measured on a sample."""
        return self._index.recall

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
        return global_part(features) if self.drops_parts else features

    @cached_property
    def _attributes(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {kind: self.attribute(kind) for kind in ("color", "type")}

    def _probabilities(self, kind: str) -> np.ndarray | None:
        """``(N, classes)``; None of a network without such a head."""
        logits = self._logits[f"{kind}_logits"]
        if logits.ndim != 2 or len(logits) != len(self):
            raise DataError(
                f"{self.run.gallery_embeddings} is not usable: {len(self)} images, but "
                f"{kind}_logits of shape {logits.shape}; evaluate again"
            )
        return softmax(logits) if predict_ids(logits)[0] != UNKNOWN else None

    @cached_property
    def _logits(self) -> dict[str, np.ndarray]:
        return load_arrays(self.run.gallery_embeddings, _LOGITS)

    def _nearest_by_faiss(
        self, embedding: np.ndarray, top: int, rows: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        embedding = fit_width(embedding, self._index.width)
        embedding, _ = check_pair(embedding, np.zeros((1, self._index.width), np.float32))
        found, distances = self._index.nearest(embedding, top, rows)
        kept = found[0] >= 0
        return found[0][kept], distances[0][kept]

    @cached_property
    def _index(self) -> SearchIndex:
        part = {"part": "global"} if self.drops_parts else {}
        return open_index(self.run, lambda: self.features, self.metric, part)
