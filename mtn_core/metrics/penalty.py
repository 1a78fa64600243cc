"""Distances that charge for what two images share without being one vehicle: side and camera.

Two vehicles seen from one side before one camera look alike for reasons that say nothing of who
they are. With the azimuths a of query and image and the cameras c, known ones only::

    key = plain key + orientation * (1 + cos(a_q - a_g)) / 2 + camera * (c_q == c_g)

The right matches at the query's own camera are ignored by VeRi's rule, so that the camera term can
only push wrong ones away: it says what knowing the camera is worth, not that the network is better.

Source: the idea of Zhu et al., "VOC-ReID: Vehicle Re-identification based on Vehicle-Orientation-
    Camera", CVPR Workshops 2020, who take both similarities from networks of their own; here they
    come from keypoints and labels.
"""

import numpy as np

from mtn_core.errors import DataError
from mtn_core.metrics.distance import KeyBlocks
from mtn_core.metrics.labels import check_ids

PENALTY = 0.1  # of both terms in that paper, where cosine similarities are compared


class PenalisedDistances(KeyBlocks):
    """Keys with a charge for the same side and the same camera; see above.

    Args:
        plain: Keys from 0 to 2, of ``cosine`` or ``covisible`` distance.
        q_azimuths: ``(num_query,)`` degrees, nan unknown.
        g_azimuths: ``(num_gallery,)`` likewise.
        q_camids: ``(num_query,)`` int, 0 unknown.
        g_camids: ``(num_gallery,)`` likewise.
        orientation: Charge for the same side, not negative.
        camera: Charge for the same camera, not negative.

    Raises:
        DataError: Euclidean keys, arrays of another length, or negative charges.
    """

    def __init__(
        self,
        plain: KeyBlocks,
        q_azimuths: np.ndarray,
        g_azimuths: np.ndarray,
        q_camids: np.ndarray,
        g_camids: np.ndarray,
        *,
        orientation: float = PENALTY,
        camera: float = PENALTY,
    ):
        if plain.metric == "euclidean":
            raise DataError(
                "penalties are parts of a cosine distance; got Euclidean distances, which have no "
                "scale to add them on"
            )
        if not (orientation >= 0 and camera >= 0):
            raise DataError(f"penalties must not be negative; got {orientation}, {camera}")
        self.metric = f"penalised {plain.metric}"
        self.shape, self.dtype = plain.shape, plain.dtype
        self._plain, self._orientation, self._camera = plain, orientation, camera
        num_query, num_gallery = plain.shape
        self._q_sides = _sides("q_azimuths", q_azimuths, num_query, plain.dtype)
        self._g_sides = _sides("g_azimuths", g_azimuths, num_gallery, plain.dtype)
        self._q_camids = check_ids("q_camids", q_camids, num_query)
        self._g_camids = check_ids("g_camids", g_camids, num_gallery)

    def block_rows(self) -> int:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        return self._plain.block_rows()

    def begin(self, start: int, stop: int, out: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        return self._plain.begin(start, stop, out)

    def finish(self, rows: np.ndarray, start: int) -> None:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        self._plain.finish(rows, start)
        kind = rows.dtype.type
        for row, i in zip(rows, range(start, start + len(rows)), strict=True):
            if self._orientation:
                known, cosine, sine = self._q_sides[i] * kind(self._orientation / 2)
                same = known * self._g_sides[:, 0]
                same += cosine * self._g_sides[:, 1]
                same += sine * self._g_sides[:, 2]
                np.add(row, same, out=row)
            if self._camera and self._q_camids[i] != 0:
                row[self._g_camids == self._q_camids[i]] += kind(self._camera)
        np.maximum(rows, 0, out=rows)

    def to_distance(self, keys: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.metrics.distance.KeyBlocks`."""
        return np.asarray(keys, np.float64)


def _sides(name: str, azimuths: np.ndarray, count: int, dtype: np.dtype) -> np.ndarray:
    """``(N, 3)``: 1, cosine and sine of each known azimuth, zeros of unknown ones."""
    azimuths = np.asarray(azimuths, np.float64)
    if azimuths.shape != (count,):
        raise DataError(f"`{name}` must have shape ({count},); got {azimuths.shape}")
    angle = np.radians(azimuths)
    sides = np.stack([np.ones(count), np.cos(angle), np.sin(angle)], axis=1)
    return np.where(np.isnan(azimuths)[:, None], 0, sides).astype(dtype)
