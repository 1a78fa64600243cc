"""VeRi's image-to-track protocol: the gallery is made of tracks, not of single images.

A track is one passage of a vehicle before a camera. Its distance to a query is that of its nearest
image, or that of its mean embedding, in which images that look like the rest of the track may weigh
more. Tracks of the query's vehicle at the query's camera are ignored.

Source: Liu et al., "PROVID: Progressive and Multimodal Vehicle Re-identification for Large-Scale
    Urban Surveillance", TMM 2018 (image-to-track search).
"""

import re
from dataclasses import dataclass

import numpy as np

from mtn_core.errors import DataError
from mtn_core.metrics.covisible import create_distances
from mtn_core.metrics.distance import KeyBlocks, check_pair
from mtn_core.metrics.labels import check_ids
from mtn_core.metrics.retrieval import RetrievalMetrics, evaluate_blocks

# With it, VeRi's gallery falls into 2,023 tracks; its authors count 2,021.
MAX_FRAME_GAP = 200
_FRAME = re.compile(r"_c\d+_(\d+)")
HOW = ("nearest", "mean", "weighted")
ALPHA = 3.0  # as for query expansion


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of a gallery.

    Attributes:
        index: ``(num_gallery,)`` int64, the track of each image.
        pids: ``(num_tracks,)`` int64.
        camids: ``(num_tracks,)`` int64.
    """

    index: np.ndarray
    pids: np.ndarray
    camids: np.ndarray

    def __len__(self) -> int:
        return len(self.pids)


def find_tracks(
    pids: np.ndarray,
    camids: np.ndarray,
    names: np.ndarray | None = None,
    *,
    max_frame_gap: int = MAX_FRAME_GAP,
) -> Tracks:
    """Group gallery images into tracks.

    Args:
        pids: ``(N,)`` identities.
        camids: ``(N,)`` cameras.
        names: ``(N,)`` file names; where all carry a frame number behind the camera
            (``0002_c002_00030600_0.jpg``), a vehicle's passages are told apart by a gap in it.
        max_frame_gap: Larger gaps begin a new track.
    """
    pids, camids = (check_ids(n, v, len(pids)) for n, v in (("pids", pids), ("camids", camids)))
    frames = np.zeros(len(pids), np.int64)
    found = [_FRAME.search(str(name)) for name in (names if names is not None else [])]
    numbers = [int(match[1]) for match in found if match]
    if len(found) == len(numbers) == len(pids):
        frames = np.array(numbers)
    order = np.lexsort((frames, camids, pids))
    new = np.ones(len(pids), bool)
    new[1:] = (
        (np.diff(pids[order]) != 0)
        | (np.diff(camids[order]) != 0)
        | (np.diff(frames[order]) > max_frame_gap)
    )
    index = np.empty(len(pids), np.int64)
    index[order] = np.cumsum(new) - 1
    return Tracks(index, pids[order][new], camids[order][new])


class TrackDistances(KeyBlocks):
    """Keys between queries and tracks: that of each track's nearest image.

    Args:
        query: ``(num_query, D)`` float32 or float64.
        gallery: ``(num_gallery, D)`` of the same type.
        index: ``(num_gallery,)`` track of each image; every number from 0 on occurs.
        metric: ``euclidean`` or ``cosine``.
    """

    def __init__(self, query: np.ndarray, gallery: np.ndarray, index: np.ndarray, metric: str):
        order = np.argsort(index, kind="stable")
        self._images = create_distances(query, gallery[order], metric)
        self._first = np.searchsorted(index[order], np.arange(index.max() + 1))
        self.metric, self.dtype = metric, self._images.dtype
        self.shape = (len(query), len(self._first))

    def block_rows(self) -> int:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`; images need more than tracks."""
        return self._images.block_rows()

    def begin(self, start: int, stop: int, out: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        keys = self._images.keys(start, stop)
        return np.minimum.reduceat(keys, self._first, axis=1, out=out[: stop - start])

    def finish(self, rows: np.ndarray, start: int) -> None:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`; nothing is left to do."""

    def to_distance(self, keys: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        return self._images.to_distance(keys)


def evaluate_tracks(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    q_pids: np.ndarray,
    q_camids: np.ndarray,
    tracks: Tracks,
    *,
    how: str = "nearest",
    metric: str = "euclidean",
    max_rank: int = 50,
) -> RetrievalMetrics:
    """Evaluate images against tracks; ranks and matches count tracks.

    Args:
        query_embeddings: ``(num_query, D)`` finite.
        gallery_embeddings: ``(num_gallery, D)`` finite.
        q_pids: ``(num_query,)`` integers.
        q_camids: ``(num_query,)`` integers.
        tracks: Of the gallery, from :func:`find_tracks`.
        how: ``nearest`` image of a track, or its ``mean`` or ``weighted`` embedding.
        metric: ``euclidean`` or ``cosine``.
        max_rank: Length of the CMC curve.

    Raises:
        DataError: Unknown ``how``, or tracks of another gallery.
    """
    query, gallery = check_pair(query_embeddings, gallery_embeddings)
    if how not in HOW:
        raise DataError(f"`how` must be one of {', '.join(HOW)}; got {how!r}")
    if tracks.index.shape != (len(gallery),):
        raise DataError(
            f"`tracks` must be of this gallery of {len(gallery)} images; got "
            f"{len(tracks.index)} images"
        )
    if how == "nearest":
        distances: KeyBlocks = TrackDistances(query, gallery, tracks.index, metric)
    else:
        alpha = ALPHA if how == "weighted" else 0
        distances = create_distances(query, mean_embeddings(gallery, tracks, alpha=alpha), metric)
    return evaluate_blocks(
        distances, q_pids, tracks.pids, q_camids, tracks.camids, max_rank=max_rank
    )


def mean_embeddings(gallery: np.ndarray, tracks: Tracks, *, alpha: float = 0) -> np.ndarray:
    """Mean embedding of each track.

    Args:
        gallery: ``(num_gallery, D)`` float32 or float64.
        tracks: Of the gallery.
        alpha: The weight of an image is its cosine similarity to the plain mean (none below 0) to
            this power, so that a blurred or occluded frame weighs less; with 0 all weigh the same.

    Returns:
        ``(num_tracks, D)`` of the type of ``gallery``.
    """
    order = np.argsort(tracks.index, kind="stable")
    first = np.searchsorted(tracks.index[order], np.arange(len(tracks)))
    sums = np.add.reduceat(gallery[order], first, axis=0, dtype=np.float64)
    means = sums / np.bincount(tracks.index)[:, None]
    if alpha:
        weights = _similarities(gallery, means, tracks.index).clip(0) ** alpha
        weighted = (weights[:, None] * gallery)[order]
        totals = np.bincount(tracks.index, weights)[:, None]
        sums = np.add.reduceat(weighted, first, axis=0, dtype=np.float64)
        means = np.divide(sums, totals, out=means, where=totals > 0)
    return means.astype(gallery.dtype)


def _similarities(gallery: np.ndarray, means: np.ndarray, index: np.ndarray) -> np.ndarray:
    """``(num_gallery,)`` float64 cosine of each image and its track's mean; 0 of zero vectors."""
    lengths = np.linalg.norm(gallery, axis=1) * np.linalg.norm(means, axis=1)[index]
    products = np.einsum("ij,ij->i", gallery, means[index], dtype=np.float64)
    return np.divide(products, lengths, out=np.zeros(len(gallery)), where=lengths > 0)
