"""From heatmaps to keypoints; NumPy only."""

import numpy as np

from mtn_core.vehicle import KEYPOINT_FLIP

_QUARTER = 0.25


def unflip_heatmaps(heatmaps: np.ndarray) -> np.ndarray:
    """Heatmaps of a mirrored crop as if it had not been mirrored: ``(N, 36, M, M)`` likewise."""
    return heatmaps[:, KEYPOINT_FLIP, :, ::-1]


def merge_flipped(heatmaps: np.ndarray, of_mirrored: np.ndarray) -> np.ndarray:
    """Flip test: the mean of the heatmaps of a crop and of its mirror image."""
    return (heatmaps + unflip_heatmaps(of_mirrored)) * np.float32(0.5)


def decode_heatmaps(heatmaps: np.ndarray, sizes: np.ndarray, *, refine: bool = True) -> np.ndarray:
    """Find the keypoints.

    Args:
        heatmaps: ``(N, K, M, M)`` float.
        sizes: ``(N, 2)`` width and height of the crops.
        refine: Move a quarter of a pixel towards the higher neighbour in each direction (Newell et
            al., "Stacked Hourglass Networks", ECCV 2016, section 4).

    Returns:
        ``(N, K, 3) float32``: x and y in pixels of the crop, confidence 0..1: the peak's height,
        and 0 where it is not a finite number.

    Raises:
        ValueError: The shapes do not fit.
    """
    if heatmaps.ndim != 4 or heatmaps.shape[2] != heatmaps.shape[3]:
        raise ValueError(f"`heatmaps` must be (N, K, M, M); got {heatmaps.shape}")
    count, num_keypoints, size, _ = heatmaps.shape
    if np.shape(sizes) != (count, 2):
        raise ValueError(f"`sizes` must be (N, 2) = ({count}, 2); got {np.shape(sizes)}")
    flat = heatmaps.reshape(count * num_keypoints, size * size)
    peak = flat.argmax(axis=1)
    height = flat[np.arange(len(flat)), peak]
    row, column = np.divmod(peak, size)
    x, y = column.astype(np.float64), row.astype(np.float64)
    if refine:
        x += _QUARTER * _slope(flat, peak, column, size, 1)
        y += _QUARTER * _slope(flat, peak, row, size, size)
    points = np.stack([x, y], axis=-1).reshape(count, num_keypoints, 2)
    result = np.empty((count, num_keypoints, 3), np.float32)
    result[..., :2] = (points + 0.5) / size * np.asarray(sizes)[:, None]
    finite = np.where(np.isfinite(height), height, 0).reshape(count, num_keypoints)
    result[..., 2] = np.clip(finite, 0, 1)
    return result


def _slope(
    flat: np.ndarray, peak: np.ndarray, position: np.ndarray, size: int, stride: int
) -> np.ndarray:
    """Which neighbour of the peak is the higher one: -1, 0 or 1; 0 at the border."""
    inner = (position > 0) & (position < size - 1)
    safe = np.where(inner, peak, size + 1)  # a pixel that has all its neighbours
    rows = np.arange(len(flat))
    with np.errstate(invalid="ignore"):
        sign = np.sign(flat[rows, safe + stride] - flat[rows, safe - stride])
    return np.where(inner, np.nan_to_num(sign), 0)


def to_maps(heatmaps: np.ndarray, map_size: int) -> np.ndarray:
    """Heatmaps as they are written: ``clip(255 h)``.

    Args:
        heatmaps: ``(N, K, M, M)`` float.
        map_size: Side of the result; another size than M is reached by linear interpolation.

    Returns:
        ``(N, K, map_size, map_size) uint8``.
    """
    if heatmaps.shape[-1] != map_size:
        heatmaps = _resize_linear(_resize_linear(heatmaps, map_size, 2), map_size, 3)
    scaled = np.clip(heatmaps, 0, 1) * np.float32(255)
    return (np.nan_to_num(scaled) + np.float32(0.5)).astype(np.uint8)


def _resize_linear(maps: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation along one axis with pixel centres at half integers."""
    old = maps.shape[axis]
    position = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(position.astype(np.int64), old - 2)
    shape = [1] * maps.ndim
    shape[axis] = size
    share = (position - low).astype(np.float32).reshape(shape)
    return np.take(maps, low, axis) * (1 - share) + np.take(maps, low + 1, axis) * share
