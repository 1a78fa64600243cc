"""From which side a vehicle is seen, estimated from its keypoints."""

import numpy as np

from mtn_core.errors import DataError
from mtn_core.vehicle import NUM_KEYPOINTS

# In the order in which a walk around the car passes them; left is the car's own left.
VIEWPOINT_NAMES = (
    "front",
    "front left",
    "left",
    "rear left",
    "rear",
    "rear right",
    "right",
    "front right",
)
UNKNOWN_VIEWPOINT = "unknown"

_MIN_KEYPOINTS = 4
_MIN_CONFIDENCE = 0.3
# How far along the car each keypoint of a side lies, in wheelbases from the rear wheel: the median
# of VeRi's annotated side views.
_ALONG = np.array(
    [
        *(0, 1, 1.15, 1.11, 0.89, 0.85, 0.15, 0.10, -0.10),
        *(-0.15, -0.26, -0.24, -0.14, 0.06, 0.62, 0.88, 1.21, 1.22),
    ]
)
_HALF_WIDTH = 0.32  # of a car, in wheelbases
_RIDGE = 0.01


def estimate_azimuths(keypoints: np.ndarray) -> np.ndarray:
    """Direction from which each vehicle is seen.

    The x coordinates of a car's keypoints are, but for perspective, a linear function of their
    place along and across the car: seen from the front, the car's left is to the right of the
    image; seen from its left, its front is to the left. Both slopes are fitted by least squares
    weighted with the confidences, with a slight pull to zero for what cannot be seen (how far apart
    the sides are, when only one is in view).

    Args:
        keypoints: ``(N, 36, 3)`` x, y and confidence; any unit, the same for all of a crop.

    Returns:
        ``(N,)`` float64 degrees, 0..360: 0 the front, 90 the car's left side, 180 the rear; nan
        where fewer than four keypoints have a confidence of at least 0.3.

    Raises:
        DataError: Another shape.
    """
    keypoints = np.asarray(keypoints, np.float64)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (NUM_KEYPOINTS, 3):
        raise DataError(
            f"`keypoints` must be (number, {NUM_KEYPOINTS}, 3); got shape {keypoints.shape}"
        )
    along = np.concatenate([_ALONG, _ALONG])
    across = np.repeat([_HALF_WIDTH, -_HALF_WIDTH], NUM_KEYPOINTS // 2)
    place = np.stack([along, across], axis=1)
    weight = np.where(keypoints[..., 2] >= _MIN_CONFIDENCE, keypoints[..., 2].clip(0, 1), 0.0)
    enough = (weight > 0).sum(axis=1) >= _MIN_KEYPOINTS
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
    x = np.where(weight > 0, keypoints[..., 0], 0.0)
    # Around the weighted means, the constant term drops out.
    place = place - (weight @ place)[:, None, :]
    x = x - (weight * x).sum(axis=1, keepdims=True)
    normal = np.einsum("nk,nki,nkj->nij", weight, place, place) + _RIDGE * np.eye(2)
    moment = np.einsum("nk,nki,nk->ni", weight, place, x)
    slope = np.linalg.solve(normal, moment[..., None])[..., 0]
    azimuth = np.degrees(np.arctan2(-slope[:, 0], slope[:, 1])) % 360
    return np.where(enough & (np.abs(slope).sum(axis=1) > 0), azimuth, np.nan)


def viewpoint_names(azimuths: np.ndarray) -> np.ndarray:
    """Nearest of the eight :data:`VIEWPOINT_NAMES`, ``unknown`` for nan; ``(N,)`` str."""
    azimuths = np.asarray(azimuths, np.float64)
    nearest = np.round(np.nan_to_num(azimuths) / 45).astype(int) % len(VIEWPOINT_NAMES)
    return np.where(np.isnan(azimuths), UNKNOWN_VIEWPOINT, np.array(VIEWPOINT_NAMES)[nearest])


def estimate_viewpoint(keypoints: np.ndarray) -> np.ndarray:
    """Name the side from which each vehicle is seen, an eighth of a turn each.

    Args:
        keypoints: As for :func:`estimate_azimuths`.

    Returns:
        ``(N,)`` str, one of :data:`VIEWPOINT_NAMES` or ``unknown``.
    """
    return viewpoint_names(estimate_azimuths(keypoints))
