"""Identities and cameras: which gallery rows match a query, and which the protocol ignores."""

import numpy as np

from mtn_core.errors import DataError


class LabelPairs:
    """Which gallery rows share a query's identity, and which of those its camera.

    Args:
        q_pids: ``(num_query,)`` integers; likewise the others.
        g_pids: ``(num_gallery,)``.
        q_camids: ``(num_query,)``.
        g_camids: ``(num_gallery,)``.
    """

    def __init__(
        self, q_pids: np.ndarray, g_pids: np.ndarray, q_camids: np.ndarray, g_camids: np.ndarray
    ):
        self._order = np.argsort(g_pids, kind="stable")
        ordered = g_pids[self._order]
        self._begin = np.searchsorted(ordered, q_pids, "left")
        self._length = np.searchsorted(ordered, q_pids, "right") - self._begin
        self._q_camids, self._g_camids = q_camids, g_camids

    def of(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of equal identity of the queries ``start`` to ``stop``.

        Returns:
            ``(row, column, ignored)``: query counted from ``start`` (ascending), gallery row
            (ascending within a query), and whether the pair also shares the camera.
        """
        length = self._length[start:stop]
        row = np.repeat(np.arange(stop - start), length)
        first = np.cumsum(length) - length
        within = np.arange(len(row)) - first[row]
        column = self._order[self._begin[start:stop][row] + within]
        ignored = self._q_camids[start:stop][row] == self._g_camids[column]
        return row, column, ignored


def separate_unknown_cameras(
    q_names: np.ndarray, q_camids: np.ndarray, g_names: np.ndarray, g_camids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give every image of an unknown camera (0) a camera of its own.

    An unknown camera must not make another image of the vehicle ignored, but the query's own image,
    which VeRi's gallery contains, must be: one name gets one (negative) camera.

    Returns:
        ``(q_camids, g_camids)`` int64, the known ones unchanged.
    """
    q_camids, g_camids = np.array(q_camids, np.int64), np.array(g_camids, np.int64)
    names = np.concatenate([np.asarray(q_names, str), np.asarray(g_names, str)])
    if (q_camids == 0).any() or (g_camids == 0).any():
        own = -1 - np.unique(names, return_inverse=True)[1].reshape(-1)
        q_camids = np.where(q_camids == 0, own[: len(q_camids)], q_camids)
        g_camids = np.where(g_camids == 0, own[len(q_camids) :], g_camids)
    return q_camids, g_camids


def check_ids(name: str, ids: np.ndarray, length: int) -> np.ndarray:
    """``ids`` as int64, or a :class:`DataError` unless they are ``length`` whole numbers.

    Args:
        name: What the error calls them.
        ids: ``(length,)``.
        length: How many there must be.
    """
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise DataError(f"`{name}` must be whole numbers, got an array of {ids.dtype}")
    if ids.shape != (length,):
        raise DataError(
            f"`{name}` must have one entry per embedding, shape ({length},); got {ids.shape}"
        )
    return ids.astype(np.int64, copy=False)
