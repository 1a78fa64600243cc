"""A faiss index of a run's gallery, kept beside its embeddings, with its recall measured.

It looks into the nearest eighth of its cells and so may miss an answer.
"""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from mtn_core.errors import RunFolderError
from mtn_core.files import atomic_path, sha256_of, write_json
from mtn_core.metrics.ranking import nearest
from mtn_core.runs import RunFolder

_PROBED_SHARE = 1 / 8
_SAMPLE, _SAMPLE_TOP = 64, 10  # queries that measure it, and answers wanted of each
_LOG = logging.getLogger(__name__)


class SearchIndex:
    """An index that is ready.

    Args:
        index: Of faiss.
        metric: ``euclidean`` or ``cosine``.
        recall: Share of the exact answers that it finds, on a sample.
    """

    def __init__(self, index: Any, metric: str, recall: float = float("nan")):
        self.index, self.metric, self.recall = index, metric, recall

    @property
    def width(self) -> int:
        """Of the embeddings."""
        return self.index.d

    def nearest(
        self, queries: np.ndarray, top: int, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """``(Q, top)`` gallery rows, -1 where it finds no more, and float64 distances.

        Args:
            queries: ``(Q, D) float32``.
            top: Answers wanted of each.
            rows: ``(N,) bool`` those that may be an answer; all by default.
        """
        import faiss

        options: dict[str, Any] = {"nprobe": max(1, int(self.index.nlist * _PROBED_SHARE))}
        if rows is not None:
            options["sel"] = faiss.IDSelectorBatch(np.flatnonzero(rows))
        parameters = faiss.SearchParametersIVF(**options)
        queries = np.ascontiguousarray(_prepared(queries, self.metric))
        scores, found = self.index.search(queries, top, params=parameters)
        scores = scores.astype(np.float64)
        cosine = self.metric == "cosine"
        return found, np.maximum(1 - scores, 0) if cosine else np.sqrt(np.maximum(scores, 0))

    def measure(self, features: np.ndarray) -> float:
        """Share of the exact answers that it finds, of a sample of ``(N, D)`` as queries."""
        sample = np.random.default_rng(0).permutation(len(features))[:_SAMPLE]
        top = min(_SAMPLE_TOP + 1, len(features))
        wanted, _ = nearest(features[sample], features, top, metric=self.metric)
        found, _ = self.nearest(features[sample], top)
        # A query finds itself, whatever the index.
        pairs = [(set(w) - {q}, set(f)) for q, w, f in zip(sample, wanted, found, strict=True)]
        return sum(len(w & f) for w, f in pairs) / max(1, sum(len(w) for w, _ in pairs))


def open_index(
    run: RunFolder,
    features: Callable[[], np.ndarray],
    metric: str,
    more: Mapping[str, str] = MappingProxyType({}),
) -> SearchIndex:
    """Read a run's index, or build and keep it; one of other embeddings is not used.

    Args:
        run: The run folder.
        features: Gives the gallery's embeddings; called where an index is built.
        metric: ``euclidean`` or ``cosine``.
        more: What else the embeddings depend on.
    """
    import faiss

    embeddings = sha256_of(run.gallery_embeddings)
    key = {"embeddings_sha256": embeddings, "metric": metric, **more}
    try:
        saved = run.read_json(run.search_index_key)
        recall = saved.pop("recall", None)
        if saved == key and isinstance(recall, float):
            return SearchIndex(faiss.read_index(str(run.search_index)), metric, recall)
    except (RunFolderError, RuntimeError):
        pass  # no index yet, or a broken one: build it
    gallery = features()
    _LOG.info("building the search index of %d images, once", len(gallery))
    built = SearchIndex(_build(_prepared(gallery, metric), metric), metric)
    built.recall = built.measure(gallery)
    run.search_index_key.unlink(missing_ok=True)
    with atomic_path(run.search_index) as temporary:
        faiss.write_index(built.index, str(temporary))
    write_json(run.search_index_key, {**key, "recall": built.recall})
    return built


def _build(features: np.ndarray, metric: str) -> Any:
    import faiss

    width, cosine = features.shape[1], metric == "cosine"
    num_cells = max(1, int(4 * np.sqrt(len(features))))
    cells = faiss.IndexFlatIP(width) if cosine else faiss.IndexFlatL2(width)
    kind = faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2
    index = faiss.IndexIVFFlat(cells, width, num_cells, kind)
    sample = np.random.default_rng(0).permutation(len(features))[: 40 * num_cells]
    index.train(np.ascontiguousarray(features[np.sort(sample)]))
    index.add(features)
    return index


def _prepared(features: np.ndarray, metric: str) -> np.ndarray:
    """As the index compares them: of unit length for the cosine."""
    if metric != "cosine":
        return features
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, length, out=np.zeros_like(features), where=length > 0)
