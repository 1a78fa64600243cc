"""Rows of a gallery as Arrow tables, and filters in LanceDB's SQL."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from mtn_core.gallery.backend import Candidates
from mtn_core.gallery.records import Batch, Filter, Sighting, short_id
from mtn_core.vehicle import NUM_KEYPOINTS

SHOWN = (
    *("id", "name", "camera", "time", "track", "vehicle"),
    *("color", "color_confidence", "type", "type_confidence", "image_sha256"),
)


def row_schema(dimension: int) -> pa.Schema:
    """Columns of the table."""
    texts = ("id", "name", "camera", "track", "vehicle", "color", "type")
    numbers = ("color_confidence", "type_confidence")
    return pa.schema(
        [
            *(pa.field(name, pa.string()) for name in texts),
            *(pa.field(name, pa.float32()) for name in numbers),
            pa.field("time", pa.timestamp("us")),
            pa.field("image_sha256", pa.binary(32)),
            pa.field("keypoints", pa.list_(pa.float16())),
            pa.field("vector", pa.list_(pa.float16(), dimension)),
        ]
    )


def to_rows(batch: Batch, new: np.ndarray, dimension: int) -> pa.Table:
    """Rows of a batch as a table, those of a camera together, in the order of time.

    Args:
        batch: Crops.
        new: ``(N,)`` positions in it of those that are wanted.
        dimension: Of the embeddings.
    """
    cameras = batch.cameras or [None] * len(batch)
    times = batch.times or [None] * len(batch)
    order = sorted(
        new.tolist(), key=lambda row: (cameras[row] or "", times[row] or datetime.min, row)
    )

    def texts(values: Sequence[str | None] | None) -> pa.Array:
        chosen = [None] * len(order) if values is None else [values[row] or None for row in order]
        return pa.array(chosen, pa.string())

    def numbers(values: Sequence[float] | np.ndarray | None) -> pa.Array:
        if values is None:
            return pa.nulls(len(order), pa.float32())
        return pa.array(np.asarray(values, np.float32)[order], from_pandas=True)  # nan: null

    keypoints = pa.nulls(len(order), pa.list_(pa.float16()))
    if batch.keypoints is not None:
        flat = batch.keypoints[order].astype(np.float16).reshape(len(order), -1)
        offsets = np.arange(len(order) + 1, dtype=np.int32) * flat.shape[1]
        keypoints = pa.ListArray.from_arrays(offsets, pa.array(flat.reshape(-1)))
    vectors = np.ascontiguousarray(batch.features[order].astype(np.float16))
    hashes = [batch.image_sha256[row] for row in order]
    columns = {
        "id": pa.array([short_id(text) for text in hashes]),
        "name": texts(batch.names),
        "camera": texts(cameras),
        "track": texts(batch.tracks),
        "vehicle": texts(batch.vehicles),
        "color": texts(batch.colors),
        "type": texts(batch.types),
        "color_confidence": numbers(batch.color_confidences),
        "type_confidence": numbers(batch.type_confidences),
        "time": pa.array([times[row] for row in order], pa.timestamp("us")),
        "image_sha256": pa.array([bytes.fromhex(text) for text in hashes], pa.binary(32)),
        "keypoints": keypoints,
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dimension),
    }
    return pa.table(columns, schema=row_schema(dimension))


def to_batch(rows: pa.RecordBatch, model_sha256: str, pose_sha256: str | None) -> Batch:
    """Rows of a table as crops to be added."""
    columns = {name: rows.column(name) for name in rows.schema.names}
    plain = {
        name: columns[name].to_pylist()
        for name in ("name", "camera", "time", "track", "vehicle", "color", "type")
    }
    keypoints = columns["keypoints"]
    points = None
    if len(keypoints) and not keypoints.null_count:
        flat = keypoints.flatten().to_numpy(zero_copy_only=False)
        points = flat.astype(np.float32).reshape(len(keypoints), NUM_KEYPOINTS, 3)
    vectors = columns["vector"].flatten().to_numpy(zero_copy_only=False)
    return Batch(
        model_sha256=model_sha256,
        pose_sha256=pose_sha256,
        names=plain["name"],
        image_sha256=[value.hex() for value in columns["image_sha256"].to_pylist()],
        features=vectors.astype(np.float32).reshape(len(rows), -1),
        cameras=plain["camera"],
        times=plain["time"],
        tracks=plain["track"],
        vehicles=plain["vehicle"],
        colors=plain["color"],
        color_confidences=columns["color_confidence"].to_numpy(zero_copy_only=False),
        types=plain["type"],
        type_confidences=columns["type_confidence"].to_numpy(zero_copy_only=False),
        keypoints=points,
    )


def to_candidates(table: pa.Table, dimension: int) -> Candidates:
    """Rows that were found, in their order."""
    rows = table.select(list(SHOWN)).to_pylist()
    sightings = [
        Sighting(
            **{
                **row,
                "camera": row["camera"] or "",
                "image_sha256": row["image_sha256"].hex(),
                "distance": float("nan"),
            }
        )
        for row in rows
    ]
    vectors = table["vector"].combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return Candidates(sightings, flat.reshape(len(sightings), dimension))


def as_bytes(hashes: Sequence[str]) -> np.ndarray:
    """``(N,)`` 32 bytes each, of hex SHA-256."""
    return np.array([bytes.fromhex(text) for text in hashes], "V32")


def hashes_of(column: pa.ChunkedArray) -> np.ndarray:
    """The same of a column of the table, without a copy of each chunk."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], "V32", len(chunk), chunk.offset * 32)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.empty(0, "V32")


def condition(which: Filter | Sequence[str]) -> str | None:
    """The condition in LanceDB's SQL; None for all."""
    if not isinstance(which, Filter):
        return f"id IN ({_listed(which)})" if len(which) else "false"
    parts = [
        f"{name} IN ({_listed(values)})"
        for name in ("camera", "color", "type", "vehicle", "track")
        if (values := getattr(which, name))
    ]
    if which.not_camera:
        parts.append(f"(camera IS NULL OR camera NOT IN ({_listed(which.not_camera)}))")
    if which.after:
        parts.append(f"time >= timestamp '{which.after.isoformat(sep=' ')}'")
    if which.before:
        parts.append(f"time < timestamp '{which.before.isoformat(sep=' ')}'")
    if which.not_image:
        parts.append(f"id NOT IN ({_listed([short_id(text) for text in which.not_image])})")
    return " AND ".join(parts) or None


def _listed(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)
