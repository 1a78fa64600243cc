"""The nearest gallery rows of each query, in the stable order that the metrics use."""

import numpy as np

from mtn_core.errors import DataError
from mtn_core.metrics.covisible import create_distances
from mtn_core.metrics.distance import check_pair


def smallest(keys: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``top`` smallest entries of each row; equal ones by column, the lower column first.

    Args:
        keys: ``(num_rows, num_columns)`` real, without nan.
        top: From 1 to ``num_columns``.

    Returns:
        ``(columns, values)``, both ``(num_rows, top)``, ascending.

    Raises:
        DataError: ``top`` out of range.
    """
    if not 1 <= top <= keys.shape[1]:
        raise DataError(f"`top` must be from 1 to {keys.shape[1]}; got {top}")
    columns = np.empty((len(keys), top), np.int64)
    for i, row in enumerate(keys):
        limit = np.partition(row, top - 1)[top - 1]
        near = np.flatnonzero(row <= limit)  # more than `top` only where values tie at the limit
        columns[i] = near[np.argsort(row[near], kind="stable")[:top]]
    return columns, np.take_along_axis(keys, columns, axis=1)


def nearest(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    top: int,
    *,
    metric: str = "euclidean",
) -> tuple[np.ndarray, np.ndarray]:
    """The ``top`` nearest gallery rows of each query.

    Args:
        query_embeddings: ``(num_query, D)`` finite.
        gallery_embeddings: ``(num_gallery, D)`` finite.
        top: From 1 to ``num_gallery``.
        metric: ``euclidean`` or ``cosine``.

    Returns:
        ``(rows, distances)``, both ``(num_query, top)``, int64 and float64, nearest first; equal
        distances in gallery order.

    Raises:
        DataError: As :func:`mtn_core.metrics.distance.check_pair`, or ``top`` out of range.
    """
    query, gallery = check_pair(query_embeddings, gallery_embeddings)
    distances = create_distances(query, gallery, metric)
    rows = np.empty((len(query), top), np.int64)
    keys = np.empty((len(query), top))
    for start, block in distances.blocks():
        stop = start + len(block)
        rows[start:stop], keys[start:stop] = smallest(block, top)
    return rows, distances.to_distance(keys)
