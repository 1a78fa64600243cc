"""Geometry between a crop, the network's square input and its heatmaps, with augmentation.

The whole crop is stretched to a square. Positions are continuous: the centre of pixel (i, j) is at
(j + 0.5, i + 0.5), a keypoint at x in a crop of width w is at x / w of the square, and the centre
of heatmap pixel j at (j + 0.5) / M. A mirror image is then exactly x -> 1 - x at every size, and
the flip test needs no shift by a pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from mtn_core.pose.config import PoseDataConfig, PoseLossConfig
from mtn_core.pose.sources import VISIBLE_CONFIDENCE, is_labelled
from mtn_core.vehicle import KEYPOINT_FLIP

_NEUTRAL = (124, 116, 104)  # ImageNet's mean: zero after normalisation


@dataclass(frozen=True)
class PoseAugmentation:
    """What happens to one sample; the default is nothing.

    Attributes:
        scale: Factor about the centre.
        angle: Degrees, counter-clockwise as seen, in the crop's own proportions.
        flip: Mirror left and right, after the rotation.
        gains: Factor on each colour channel.
        offset: Added to every channel, in grey levels.
    """

    scale: float = 1.0
    angle: float = 0.0
    flip: bool = False
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: float = 0.0


NO_AUGMENTATION = PoseAugmentation()


def draw_pose_augmentation(rng: np.random.Generator, config: PoseDataConfig) -> PoseAugmentation:
    """Draw what happens to one sample, always with the same number of random values.

    Scale and angle are normal with half their limit as deviation, cut at the limit, as in HRNet.
    """
    scale, angle = np.clip(rng.standard_normal(2) / 2, -1, 1)
    draws = rng.random(6)
    jitter = config.color_jitter
    gains = (1 + jitter * (2 * draws[2:5] - 1)).tolist()
    return PoseAugmentation(
        scale=float(1 + scale * config.scale),
        angle=float(angle * config.rotation) if draws[0] < config.rotation_share else 0.0,
        flip=bool(draws[1] < config.flip),
        gains=(gains[0], gains[1], gains[2]),
        offset=float(64 * jitter * (2 * draws[5] - 1)),
    )


def crop_matrix(width: int, height: int, augmentation: PoseAugmentation) -> np.ndarray:
    """``(2, 3) float64``: from continuous crop positions to fractions of the square (x right)."""
    radians = np.deg2rad(augmentation.angle)
    cos, sin = augmentation.scale * np.cos(radians), augmentation.scale * np.sin(radians)
    # y points down, so a counter-clockwise turn has its minus sign below.
    turn = np.array([[cos, sin], [-sin, cos]])
    centre = np.array([width, height]) / 2
    stretch = np.diag([1 / width, 1 / height])
    matrix = np.column_stack([stretch @ turn, stretch @ (centre - turn @ centre)])
    if augmentation.flip:
        matrix[0] = -matrix[0]
        matrix[0, 2] += 1
    return matrix


def transform_crop(
    image: np.ndarray, size: int, augmentation: PoseAugmentation = NO_AUGMENTATION
) -> np.ndarray:
    """Stretch a crop to the network's input and augment it.

    Args:
        image: ``(H, W, 3) uint8`` RGB.
        size: Side S of the input.
        augmentation: What to do.

    Returns:
        ``(S, S, 3) uint8``; what lies outside the crop has ImageNet's mean colour.
    """
    height, width = image.shape[:2]
    moved = augmentation.scale != 1 or augmentation.angle != 0
    shrinks = min(height, width) > size
    if shrinks or not moved:
        # Area averaging first: an affine warp that shrinks would turn fine detail into noise.
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(image, (size, size), interpolation=method)
    if moved:
        matrix = crop_matrix(width, height, augmentation) * size
        matrix[:, :2] *= np.divide([width, height], image.shape[1::-1])
        # From pixel indices to positions and back: half a pixel on either side.
        matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
        result = cv2.warpAffine(
            image,
            matrix,
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=_NEUTRAL,
        )
    else:
        result = image[:, ::-1] if augmentation.flip else image
    if augmentation.gains != (1.0, 1.0, 1.0) or augmentation.offset:
        levels = np.arange(256)[:, None] * np.array(augmentation.gains) + augmentation.offset
        table = np.clip(levels + 0.5, 0, 255).astype(np.uint8)[None]
        result = cv2.LUT(np.ascontiguousarray(result), table)
    return np.ascontiguousarray(result)


def transform_points(
    keypoints: np.ndarray,
    width: int,
    height: int,
    augmentation: PoseAugmentation = NO_AUGMENTATION,
) -> np.ndarray:
    """Keypoints as fractions of the square, after the same transform as the image.

    Args:
        keypoints: ``(36, 3)``: x and y in pixels of the crop, confidence.
        width: Width of the crop.
        height: Height of the crop.
        augmentation: What happens to the image; a flip swaps the two sides of the car.

    Returns:
        ``(36, 3) float32``: fractions, confidence unchanged; an unlabelled keypoint is nan.
    """
    matrix = crop_matrix(width, height, augmentation)
    result = np.array(keypoints, dtype=np.float64)
    result[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    result[~is_labelled(keypoints)] = np.nan
    result = result[KEYPOINT_FLIP] if augmentation.flip else result
    return result.astype(np.float32)


def make_targets(points: np.ndarray, config: PoseLossConfig, heatmap_size: int) -> np.ndarray:
    """What the loss needs to know of each keypoint, four numbers in place of a whole map.

    Args:
        points: ``(..., 36, 3)``: fractions of the square, confidence; nan where unlabelled.
        config: Weight and height of hidden keypoints.
        heatmap_size: Side M of the heatmaps.

    Returns:
        ``(..., 36, 4) float32``: x and y in heatmap pixels (pixel centres at whole numbers), height
        and weight of the target.
    """
    labelled = np.isfinite(points).all(axis=-1)
    safe = np.where(labelled[..., None], points, 0)
    inside = labelled & (safe[..., :2] >= 0).all(axis=-1) & (safe[..., :2] <= 1).all(axis=-1)
    confidence = np.clip(safe[..., 2], 0, 1)
    visible = inside & (confidence >= VISIBLE_CONFIDENCE)
    targets = np.empty((*points.shape[:-1], 4), np.float32)
    # A keypoint far outside must not overflow the exponential; its height is 0 anyway.
    targets[..., :2] = np.clip(safe[..., :2], -1, 2) * heatmap_size - 0.5
    targets[..., 2] = np.where(visible, confidence, np.where(inside, config.hidden_height, 0))
    targets[..., 3] = np.where(visible, 1, np.where(labelled, config.hidden_weight, 0))
    return targets
