"""A gallery: embeddings of crops with camera and time that grows, is filtered and searched.

On disk a folder: ``gallery.json`` says which model made the embeddings and how; the rows lie beside
it in LanceDB. Searching is exact, and its distances are those of NumPy in float32 to the embeddings
as they are kept, in float16.

>>> gallery = Gallery.open("city")  # doctest: +SKIP
>>> hits = gallery.search(vectors, Filter(not_camera=("3",)), top=20)  # doctest: +SKIP
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtn_core.errors import DataError, MissingFileError, RunFolderError, first_line
from mtn_core.files import new_folder, write_json
from mtn_core.gallery.backend import Backend, Candidates
from mtn_core.gallery.lance import LanceRows
from mtn_core.gallery.records import (
    Batch,
    Filter,
    GalleryInfo,
    ModelInput,
    Sighting,
    camera_name,
    is_inside,
)
from mtn_core.metrics.distance import check_finite

__all__ = [
    "Batch",
    "Filter",
    "Gallery",
    "GalleryInfo",
    "ModelInput",
    "Server",
    "Sighting",
    "unit_vectors",
]
INFO = "gallery.json"
_FORMAT = "mtn-gallery/1"
_MARGIN = 32  # rows beyond those wanted, for what the store's rounding may have put behind
_INDEXED_FROM = 5000
ALL = Filter()


@dataclass(frozen=True)
class Server:
    """Where a Milvus server keeps the rows of a gallery.

    Attributes:
        uri: ``http://host:19530``, or a file of milvus-lite.
        collection: Its name there.
    """

    uri: str
    collection: str


class Gallery:
    """A gallery that is open.

    Args:
        path: The folder.
        info: What it says of itself.
        backend: Its rows.
    """

    def __init__(self, path: Path, info: GalleryInfo, backend: Backend):
        self.path, self._info, self.backend = path, info, backend

    @classmethod
    def create(cls, path: str | Path, info: GalleryInfo, server: Server | None = None) -> "Gallery":
        """Make an empty gallery; its folder appears whole or not at all.

        Args:
            path: The folder.
            info: What it will hold.
            server: Milvus, which keeps the rows in place of the folder.

        Raises:
            RunFolderError: Something is there already.
            DiskError: The disk is full.
            DataError: The server cannot be reached.
        """
        path = Path(path)
        if (path / INFO).is_file():
            raise RunFolderError(f"{path} is a gallery already; choose another folder")
        with new_folder(path) as folder:
            if server is None:
                LanceRows.create(folder, info.dimension, path)
            else:
                from mtn_core.gallery.milvus import MilvusRows

                MilvusRows.create(server.uri, server.collection, info.dimension, info.model_sha256)
            kept = {"server": server and dataclasses.asdict(server)}
            write_json(folder / INFO, {"format": _FORMAT, **info.to_json_dict(), **kept})
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> "Gallery":
        """Open a gallery.

        Raises:
            MissingFileError: There is none.
            DataError: It is damaged.
        """
        path = Path(path)
        info, server = _read_info(path)
        if server is None:
            return cls(path, info, LanceRows(path, info.dimension))
        from mtn_core.gallery.milvus import MilvusRows

        rows = MilvusRows(server.uri, server.collection, info.dimension, info.model_sha256)
        return cls(path, info, rows)

    @staticmethod
    def is_gallery(path: str | Path) -> bool:
        """Whether a folder is one."""
        return (Path(path) / INFO).is_file()

    @property
    def info(self) -> GalleryInfo:
        """What the gallery holds, with the number of sightings at this moment."""
        return dataclasses.replace(self._info, count=self.backend.count(ALL))

    def __len__(self) -> int:
        return self.backend.count(ALL)

    def check_model(self, model_sha256: str, pose_sha256: str | None, source: object) -> None:
        """Refuse a model whose embeddings cannot be compared with those of the gallery.

        Args:
            model_sha256: Of its checkpoint.
            pose_sha256: Of the PoseEstNet before it.
            source: Its file; named in the error.

        Raises:
            DataError: It is another one.
        """
        if model_sha256 != self._info.model_sha256:
            raise DataError(
                f"{source} is of checkpoint {model_sha256[:12]}, but the embeddings of {self.path} "
                f"were made by {self._info.model_sha256[:12]} ({self._info.model_name}): their "
                "distances mean nothing. Give that model, or make a gallery of its own for this one"
            )
        expected = self._info.input.pose_sha256
        if pose_sha256 != expected:
            has = f"PoseEstNet {pose_sha256[:12]}" if pose_sha256 else "no pose"
            wants = f"PoseEstNet {expected[:12]}" if expected else "no pose"
            raise DataError(
                f"{source} was given {has}, but the embeddings of {self.path} were made with "
                f"{wants}; give the same with --pose_onnx or --pose_ckpt"
            )

    def add(self, batch: Batch) -> int:
        """Add crops; when it returns they are on disk, and nothing but a damaged disk loses them.

        Args:
            batch: With the embeddings as the model gives them.

        Returns:
            How many were added; the same image is never there twice.

        Raises:
            DataError: Another model's embeddings, of another width, or beyond float16.
            DiskError: The disk is full; nothing was added.
        """
        self.check_model(batch.model_sha256, batch.pose_sha256, "the batch")
        features = self._prepared(batch.features)
        largest = float(np.abs(features).max(initial=0))
        if largest > np.finfo(np.float16).max:
            raise DataError(
                f"`features` go up to {largest:.3g}, more than float16 holds (65504); is this a "
                "trained model?"
            )
        cameras = batch.cameras and [camera_name(camera) for camera in batch.cameras]
        return self.backend.insert(dataclasses.replace(batch, features=features, cameras=cameras))

    def tidy(self) -> None:
        """Bring indexes up to date; for the end of many additions.

        Raises:
            DiskError: The disk is full; the gallery is as it was.
        """
        self.backend.tidy()

    def remove(self, which: Filter | Sequence[str]) -> int:
        """Remove sightings by filter or by ids; images stay where they are.

        Returns:
            How many.

        Raises:
            DataError: An empty filter, which would mean all.
        """
        if not which:
            raise DataError("nothing says what to remove; give a filter or ids")
        return self.backend.delete(which)

    def count(self, which: Filter = ALL) -> int:
        """Sightings that a filter keeps."""
        return self.backend.count(which)

    def known(self, image_sha256: Sequence[str]) -> set[str]:
        """Those of the images that are in the gallery."""
        return self.backend.known(image_sha256)

    def search(
        self,
        vectors: np.ndarray,
        which: Filter = ALL,
        top: int = 20,
        *,
        approximate: bool = False,
    ) -> list[list[Sighting]]:
        """Find the nearest sightings of each query.

        Args:
            vectors: ``(num_query, D) float32`` as the model gives them.
            which: Only sightings that it keeps are compared, all of them.
            top: Answers a query; fewer where the filter keeps fewer.
            approximate: Ask an index, where there is one, and compare only what it proposes; under
                a filter it may miss much.

        Returns:
            For each query its sightings, nearest first; at one distance by name.

        Raises:
            DataError: Vectors of another width, or not finite; or the gallery is damaged.
        """
        if top < 1:
            raise DataError(f"`top` must be at least 1; got {top}")
        vectors = self._prepared(np.atleast_2d(np.asarray(vectors, np.float32)))
        return [self._search_one(vector, which, top, approximate) for vector in vectors]

    def build_index(self, sample: int = 50, top: int = 20) -> float:
        """Make an approximate index, for galleries too large to compare every row.

        Rows that are added later are compared one by one until it is made anew.

        Args:
            sample: Sightings that are searched for, to see what the index misses.
            top: Answers each.

        Returns:
            Recall: share of the exact answers, without a filter, that come through the index.

        Raises:
            DataError: The gallery has too few sightings.
        """
        if len(self) < _INDEXED_FROM:
            raise DataError(
                f"{self.path} has {len(self)} sightings; an index needs {_INDEXED_FROM} and is of "
                "use from a million on"
            )
        self.backend.build_index()
        step = max(1, len(self) // sample)
        picked = [self.backend.rows(ALL, 1, i * step) for i in range(sample)]
        queries = np.concatenate([found.vectors for found in picked])
        exact = self.search(queries, top=top)
        near = self.search(queries, top=top, approximate=True)
        found = sum(
            len({s.id for s in a} & {s.id for s in b}) for a, b in zip(exact, near, strict=True)
        )
        return found / max(sum(len(hits) for hits in exact), 1)

    def sightings(self, which: Filter | Sequence[str] = ALL, limit: int = 1000) -> list[Sighting]:
        """Sightings by filter or ids, by camera and time, at most ``limit``."""
        found = self.backend.rows(which, limit).sightings
        return sorted(found, key=lambda s: (s.camera, s.time is None, s.time or 0, s.name))

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """``(N, D) float32`` embeddings of sightings, in the order of the ids.

        Raises:
            DataError: One is not there.
        """
        found = self.backend.rows(ids, max(len(ids), 1))
        by_id = {s.id: row for s, row in zip(found.sightings, found.vectors, strict=True)}
        missing = [id_ for id_ in ids if id_ not in by_id]
        if missing:
            raise DataError(f"{self.path} has no sighting {missing[0]}")
        return np.stack([by_id[id_] for id_ in ids])

    def image_path(self, sighting: Sighting) -> Path:
        """The file of a crop.

        Raises:
            DataError: The gallery has no images, or the name leads out of their folder.
            MissingFileError: It is not there any more.
        """
        if self._info.images is None:
            raise DataError(f"{self.path} knows no folder of images")
        folder = Path(self._info.images)
        path = folder / sighting.name
        if not is_inside(sighting.name) or not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{sighting.name!r} leads out of the gallery's image folder {folder}")
        if not path.is_file():
            raise MissingFileError(f"image {path} does not exist any more")
        return path

    def _prepared(self, features: np.ndarray) -> np.ndarray:
        if features.ndim != 2 or features.shape[1] != self._info.dimension:
            raise DataError(
                f"embeddings must be (number, {self._info.dimension}) as in {self.path}; got shape "
                f"{features.shape}: were they made by the same network?"
            )
        check_finite("embeddings", features)
        return unit_vectors(features) if self._info.metric == "cosine" else features

    def _search_one(
        self, vector: np.ndarray, which: Filter, top: int, approximate: bool
    ) -> list[Sighting]:
        """The store rounds the query to float16: take as many rows as make up for that."""
        error = float(np.linalg.norm(vector - vector.astype(np.float16).astype(np.float32)))
        wanted = top + _MARGIN
        while True:
            found = self.backend.nearest(vector, which, wanted, approximate=approximate)
            squares = _squares(vector, found.vectors)
            enough = len(squares) < wanted or approximate
            # Whatever did not come is at least as far as the last one, but for the rounding.
            if enough or np.sqrt(squares[-1]) - 2 * error > np.sqrt(np.sort(squares)[top - 1]):
                return self._ranked(found, squares)[:top]
            wanted *= 2

    def _ranked(self, found: Candidates, squares: np.ndarray) -> list[Sighting]:
        cosine = self._info.metric == "cosine"
        distances = squares / 2 if cosine else np.sqrt(squares)
        pairs = zip(found.sightings, distances.tolist(), strict=True)
        hits = [dataclasses.replace(sighting, distance=value) for sighting, value in pairs]
        return sorted(hits, key=lambda sighting: (sighting.distance, sighting.name))


def unit_vectors(features: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, length, out=np.zeros_like(features), where=length > 0)


def _squares(vector: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.square(vectors - vector).sum(axis=1, dtype=np.float64)


def _read_info(path: Path) -> tuple[GalleryInfo, Server | None]:
    file = path / INFO
    if not file.is_file():
        raise MissingFileError(
            f"{path} is no gallery (it has no {INFO}); `mtn embed` or `mtn gallery create` makes "
            "one"
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values.pop("format") != _FORMAT:
            raise ValueError(f"format is not {_FORMAT}")
        server = values.pop("server", None)
        return GalleryInfo.from_json_dict(values), server and Server(**server)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{file} does not describe a gallery ({first_line(error)}); put back a copy of it, or "
            "make the gallery anew"
        ) from error
