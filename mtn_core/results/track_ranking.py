"""The gallery's tracks in the order of their distance to a query, for people to look at."""

from dataclasses import dataclass

import numpy as np

from mtn_core.metrics.tracks import find_tracks
from mtn_core.results.ranking import Ranker, Verdict


@dataclass(frozen=True)
class TrackEntry:
    """One passage of a vehicle before a camera.

    Attributes:
        row: Gallery row of its nearest image.
        num_images: Images of the track.
        distance: Of its nearest image to the query.
        verdict: ``right``, ``wrong`` or ``ignored``, as for images.
        rank: From 1 among the tracks that count; None for an ignored one.
    """

    row: int
    num_images: int
    distance: float
    verdict: Verdict
    rank: int | None


class TrackRanker:
    """Ranks tracks instead of images, by VeRi's image-to-track protocol with the nearest image.

    Args:
        ranker: Ranks the images.

    Attributes:
        gallery: What is ranked.
        is_known: Whether the gallery has cameras; without them there are no tracks.
    """

    def __init__(self, ranker: Ranker):
        self._ranker = ranker
        self.gallery = gallery = ranker.gallery
        self.is_known = bool((gallery.camids > 0).any())
        self._tracks = find_tracks(gallery.pids, gallery.camids, gallery.names)
        self._order = np.argsort(self._tracks.index, kind="stable")
        self._sizes = np.bincount(self._tracks.index)
        self._first = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])

    def rank(self, row: int, *, top_k: int = 10) -> list[TrackEntry]:
        """The nearest tracks of one query; up to two ignored ones stand among them.

        Args:
            row: Row of the query split.
            top_k: Tracks that count to keep.
        """
        query = self._ranker.query
        distances = self._ranker.distances(row)[self._order]
        nearest = np.minimum.reduceat(distances, self._first)
        same = self._tracks.pids == query.pids[row]
        ignored = same & (self._tracks.camids == query.camids[row]) & (query.camids[row] > 0)
        found: list[TrackEntry] = []
        rank, num_ignored = 0, 0
        for track in np.argsort(nearest, kind="stable").tolist():
            if ignored[track]:
                num_ignored += 1
                if num_ignored > 2:
                    continue
            else:
                rank += 1
            begin, size = int(self._first[track]), int(self._sizes[track])
            image = begin + int(distances[begin : begin + size].argmin())
            found.append(
                TrackEntry(
                    row=int(self._order[image]),
                    num_images=size,
                    distance=float(nearest[track]),
                    verdict="ignored" if ignored[track] else "right" if same[track] else "wrong",
                    rank=None if ignored[track] else rank,
                )
            )
            if rank == top_k:
                break
        return found
