"""Rows of a gallery in a Milvus server, for several machines that write and search at once.

Run here against milvus-lite 3.2, its file and its server; no cluster was at hand. As milvus-lite
has no float16, embeddings are rounded to it and sent as float32. The primary key is the hash of the
image, so that writers who race add an image once, without a lock.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from mtn_core.errors import ConfigError, DataError, DiskError, MtnError, first_line
from mtn_core.gallery.backend import Candidates
from mtn_core.gallery.records import Batch, Filter, Sighting, short_id
from mtn_core.vehicle import NUM_KEYPOINTS

TOKEN_VARIABLE = "MILVUS_TOKEN"
_MODEL = "mtn.model"
_MOST_ANSWERS = 16_384  # of a Milvus server
_AT_ONCE = 1000
_LONGEST_TEXT = 4096
_EPOCH = datetime(1970, 1, 1)
_TEXTS = ("name", "camera", "track", "vehicle", "color", "type")
_NUMBERS = ("color_confidence", "type_confidence")
_SHOWN = ["image_sha256", *_TEXTS, *_NUMBERS, "time"]


class MilvusRows:
    """See :class:`mtn_core.gallery.backend.Backend`.

    Args:
        uri: ``http://host:19530``, or a file of milvus-lite.
        collection: Its name there.
        dimension: Of the embeddings.
        model_sha256: Of the model whose embeddings it holds.

    Raises:
        DataError: The server cannot be reached, or has no such collection.
    """

    def __init__(self, uri: str, collection: str, dimension: int, model_sha256: str):
        self.uri, self.collection, self.dimension = uri, collection, dimension
        with self._explained():
            self._client = _connect(uri)
            if not self._client.has_collection(collection):
                raise DataError(
                    f"{uri} has no collection {collection}; was it dropped? Make the gallery anew "
                    "with `mtn gallery create --server`"
                )
            properties = self._client.describe_collection(collection)["properties"]
            found = properties.get(_MODEL, "unknown")
            if found != model_sha256:
                raise DataError(
                    f"the collection {collection} of {uri} holds embeddings of model {found[:12]}, "
                    f"the gallery says {model_sha256[:12]}; give the right one"
                )
            self._client.load_collection(collection)

    @classmethod
    def create(cls, uri: str, collection: str, dimension: int, model_sha256: str) -> None:
        """Make an empty collection.

        Raises:
            DataError: The server cannot be reached, or has one of this name.
        """
        from pymilvus import DataType

        with _explained_for(uri):
            client = _connect(uri)
            if client.has_collection(collection):
                raise DataError(
                    f"{uri} has a collection {collection} already; choose another --collection"
                )
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("image_sha256", DataType.VARCHAR, is_primary=True, max_length=64)
            schema.add_field("id", DataType.VARCHAR, max_length=16)
            for name in _TEXTS:
                schema.add_field(
                    name, DataType.VARCHAR, max_length=_LONGEST_TEXT, nullable=name != "name"
                )
            for name in _NUMBERS:
                schema.add_field(name, DataType.FLOAT, nullable=True)
            schema.add_field("time", DataType.INT64, nullable=True)
            schema.add_field("keypoints", DataType.JSON, nullable=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
            index = client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="L2")  # compares all
            client.create_collection(
                collection,
                schema=schema,
                index_params=index,
                consistency_level="Strong",
                properties={_MODEL: model_sha256},
            )

    def insert(self, batch: Batch) -> int:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        known = self.known(batch.image_sha256)
        first = {sha: row for row, sha in reversed(list(enumerate(batch.image_sha256)))}
        new = sorted(row for sha, row in first.items() if sha not in known)
        with self._explained():
            for start in range(0, len(new), _AT_ONCE):
                rows = [_to_row(batch, row) for row in new[start : start + _AT_ONCE]]
                self._client.upsert(self.collection, rows)
        return len(new)

    def delete(self, which: Filter | Sequence[str]) -> int:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            before = self._count(_expression(which))
            self._client.delete(self.collection, filter=_expression(which) or "id != ''")
            return before - self._count(_expression(which))

    def count(self, which: Filter) -> int:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            return self._count(_expression(which))

    def known(self, image_sha256: Sequence[str]) -> set[str]:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        found: set[str] = set()
        with self._explained():
            for start in range(0, len(image_sha256), _AT_ONCE):
                wanted = _listed(image_sha256[start : start + _AT_ONCE])
                rows = self._query(f"image_sha256 in {wanted}", ["image_sha256"])
                found |= {row["image_sha256"] for row in rows}
        return found

    def nearest(
        self, vector: np.ndarray, which: Filter, top: int, *, approximate: bool = False
    ) -> Candidates:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            (found,) = self._client.search(
                self.collection,
                [vector.tolist()],
                anns_field="vector",
                limit=min(top, _MOST_ANSWERS),
                filter=_expression(which),
                output_fields=[*_SHOWN, "vector"],
            )
        return self._candidates([hit["entity"] for hit in found])

    def rows(self, which: Filter | Sequence[str], limit: int, offset: int = 0) -> Candidates:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        wanted: list[dict] = []
        with self._explained():
            for rows in self._iterate(_expression(which), [*_SHOWN, "vector"]):
                wanted += rows
                if len(wanted) >= offset + limit:
                    break
        return self._candidates(wanted[offset : offset + limit])

    def keypoints(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        with self._explained():
            rows = self._query(_expression(ids), ["id", "keypoints"])
        return {
            row["id"]: np.array(row["keypoints"], np.float32).reshape(NUM_KEYPOINTS, 3)
            for row in rows
            if row["keypoints"]
        }

    def tidy(self) -> None:
        """A server does that by itself."""

    def build_index(self) -> None:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        raise ConfigError(
            f"{self.uri} keeps the rows; an index of them is made with Milvus' own tools"
        )

    def has_index(self) -> bool:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        return False

    def overview(self) -> tuple[dict[str, int], tuple[datetime | None, datetime | None]]:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        cameras: Counter[str] = Counter()
        times: list[int] = []
        with self._explained():
            for rows in self._iterate("", ["camera", "time"]):
                cameras.update(row["camera"] or "" for row in rows)
                known = [row["time"] for row in rows if row["time"] is not None]
                times = [min(times + known), max(times + known)] if times + known else []
        ends = (_to_time(times[0]), _to_time(times[1])) if times else (None, None)
        return dict(cameras), ends

    def batches(self, model_sha256: str, pose_sha256: str | None) -> Iterator[Batch]:
        """See :class:`mtn_core.gallery.backend.Backend`."""
        fields = [*_SHOWN, "keypoints", "vector"]
        with self._explained():
            for rows in self._iterate("", fields):
                yield _to_batch(rows, model_sha256, pose_sha256)

    def verify(self) -> int:
        """A server looks after its own files: none is read here."""
        return 0

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        with _explained_for(self.uri):
            yield

    def _count(self, expression: str) -> int:
        rows = self._client.query(self.collection, expression, output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def _query(self, expression: str, fields: list[str]) -> list[dict]:
        return list(
            self._client.query(
                self.collection, expression, output_fields=fields, limit=_MOST_ANSWERS
            )
        )

    def _iterate(self, expression: str, fields: list[str]) -> Iterator[list[dict]]:
        iterator = self._client.query_iterator(
            self.collection, batch_size=_AT_ONCE, filter=expression, output_fields=fields
        )
        try:
            while rows := iterator.next():
                yield rows
        finally:
            iterator.close()

    def _candidates(self, rows: Sequence[dict]) -> Candidates:
        vectors = np.array([row["vector"] for row in rows], np.float32)
        sightings = [
            Sighting(
                id=short_id(row["image_sha256"]),
                distance=float("nan"),
                **{name: row[name] for name in ("image_sha256", *_TEXTS, *_NUMBERS)}
                | {"camera": row["camera"] or "", "time": _to_time(row["time"])},
            )
            for row in rows
        ]
        return Candidates(sightings, vectors.reshape(len(rows), self.dimension))


def _connect(uri: str) -> Any:
    from pymilvus import MilvusClient

    return MilvusClient(uri, token=os.environ.get(TOKEN_VARIABLE, ""))


@contextlib.contextmanager
def _explained_for(uri: str) -> Iterator[None]:
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except MtnError:
        raise
    except MilvusException as error:
        said = first_line(error.message)
        if "No space left" in said or "disk quota" in said.lower():
            raise DiskError(f"the disk of {uri} is full: {said}; free space there") from error
        raise DataError(
            f"the Milvus server {uri} cannot do this ({said[:300]}); is it running, and is "
            f"{TOKEN_VARIABLE} right?"
        ) from error


def _to_row(batch: Batch, row: int) -> dict[str, Any]:
    def of(values: Sequence | np.ndarray | None) -> Any:
        return None if values is None else values[row]

    def number(values: Sequence | np.ndarray | None) -> float | None:
        value = of(values)
        return None if value is None or np.isnan(value) else float(value)

    time, sha = of(batch.times), batch.image_sha256[row]
    keypoints = of(batch.keypoints)
    return {
        "image_sha256": sha,
        "id": short_id(sha),
        "name": batch.names[row],
        "camera": of(batch.cameras) or None,
        "track": of(batch.tracks) or None,
        "vehicle": of(batch.vehicles) or None,
        "color": of(batch.colors) or None,
        "type": of(batch.types) or None,
        "color_confidence": number(batch.color_confidences),
        "type_confidence": number(batch.type_confidences),
        "time": None if time is None else _to_microseconds(time),
        "keypoints": None if keypoints is None else np.asarray(keypoints).reshape(-1).tolist(),
        "vector": batch.features[row].astype(np.float16).astype(np.float32).tolist(),
    }


def _to_batch(rows: Sequence[dict], model_sha256: str, pose_sha256: str | None) -> Batch:
    def numbers(name: str) -> list[float]:
        return [float("nan") if row[name] is None else row[name] for row in rows]

    keypoints = None
    if all(row["keypoints"] for row in rows):
        flat = np.array([row["keypoints"] for row in rows], np.float32)
        keypoints = flat.reshape(len(rows), NUM_KEYPOINTS, 3)
    return Batch(
        model_sha256=model_sha256,
        pose_sha256=pose_sha256,
        names=[row["name"] for row in rows],
        image_sha256=[row["image_sha256"] for row in rows],
        features=np.array([row["vector"] for row in rows], np.float32),
        cameras=[row["camera"] for row in rows],
        times=[_to_time(row["time"]) for row in rows],
        tracks=[row["track"] for row in rows],
        vehicles=[row["vehicle"] for row in rows],
        colors=[row["color"] for row in rows],
        color_confidences=numbers("color_confidence"),
        types=[row["type"] for row in rows],
        type_confidences=numbers("type_confidence"),
        keypoints=keypoints,
    )


def _to_microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _to_time(microseconds: int | None) -> datetime | None:
    if microseconds is None:
        return None
    return _EPOCH + timedelta(microseconds=microseconds)


def _expression(which: Filter | Sequence[str]) -> str:
    """The condition in Milvus' language; empty for all."""
    if not isinstance(which, Filter):
        return f"id in {_listed(which)}"
    parts = [
        f"{name} in {_listed(values)}"
        for name in ("camera", "color", "type", "vehicle", "track")
        if (values := getattr(which, name))
    ]
    if which.not_camera:
        parts.append(f"(camera is null or camera not in {_listed(which.not_camera)})")
    if which.after:
        parts.append(f"time >= {_to_microseconds(which.after)}")
    if which.before:
        parts.append(f"time < {_to_microseconds(which.before)}")
    if which.not_image:
        parts.append(f"image_sha256 not in {_listed(which.not_image)}")
    return " and ".join(parts)


def _listed(values: Sequence[str]) -> str:
    return json.dumps(list(values), ensure_ascii=False)
