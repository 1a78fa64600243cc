"""What keeps the rows of a gallery: LanceDB in its folder, or a server for a cluster."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from mtn_core.gallery.records import Batch, Filter, Sighting


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows near to one query, by the distances of the store, which has rounded the query.

    Attributes:
        sightings: With a distance of nan.
        vectors: ``(N, D) float32`` embeddings as they are kept, nearest first.
    """

    sightings: list[Sighting]
    vectors: np.ndarray


class Backend(Protocol):
    """Rows that are added, removed, counted and searched; embeddings are kept in float16."""

    def insert(self, batch: Batch) -> int:
        """Add the crops whose images are not there yet; when it returns, they are on disk."""

    def delete(self, which: Filter | Sequence[str]) -> int:
        """Remove by filter or by ids; returns how many."""

    def count(self, which: Filter) -> int:
        """Sightings that a filter keeps."""

    def known(self, image_sha256: Sequence[str]) -> set[str]:
        """Those of the images that are there."""

    def nearest(
        self, vector: np.ndarray, which: Filter, top: int, *, approximate: bool
    ) -> Candidates:
        """The nearest rows by Euclidean distance to ``(D,) float32``.

        Args:
            vector: What is searched for.
            which: Applied before the search, so that ``top`` rows come wherever there are so many.
            top: Rows wanted.
            approximate: Whether an index may be asked, where there is one.
        """

    def rows(self, which: Filter | Sequence[str], limit: int, offset: int = 0) -> Candidates:
        """Sightings by filter or ids, in no order."""

    def keypoints(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Predicted keypoints of sightings that have some, ``(36, 3) float32`` by id."""

    def tidy(self) -> None:
        """Make searches with a filter quick again, after much was added."""

    def build_index(self) -> None:
        """Make an approximate index of the embeddings, or make it anew."""

    def has_index(self) -> bool:
        """Whether there is one."""

    def overview(self) -> tuple[dict[str, int], tuple[datetime | None, datetime | None]]:
        """Sightings by camera, and the first and the last time."""

    def batches(self, model_sha256: str, pose_sha256: str | None) -> Iterator[Batch]:
        """All rows, a few thousand at a time."""

    def verify(self) -> int:
        """Check that what is kept is what was written; returns the number of files."""
