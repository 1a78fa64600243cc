"""Transforms of an image together with its keypoints and pose maps.

What is done to one sample is drawn first (:func:`draw_augmentation`) and then applied to the image
at network size, to the maps at their native 64x64 and to the keypoints, in coordinates that are
fractions of width and height, so that all three stay aligned. Nothing is changed in place: the same
inputs give the same outputs however often they are used.

The random translation is that of the seed document's project: enlarge by 1/8, cut out at random.
"""

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np

from mtn_core.normalisation import IMAGE_MEAN
from mtn_core.vehicle import (
    KEYPOINT_FLIP,
    MAP_SIZE,
    SEGMENT_FLIP,
    SEGMENT_KEYPOINTS,
    SEGMENT_MIN_CONFIDENCE,
)

ENLARGEMENT = 1.125
ENLARGED_MAP_SIZE = round(MAP_SIZE * ENLARGEMENT)
_ERASED_AREA = (0.02, 0.2)  # share of the image, as in Zhong et al., Random Erasing, AAAI 2020
_ERASED_ASPECT = (0.3, 1 / 0.3)
# Erased with the mean, so that the network sees zeros there.
_ERASED_VALUE = tuple(round(255 * m) for m in IMAGE_MEAN)
_thread = threading.local()


class AugmentationConfig(Protocol):
    """The part of the data configuration that is read here."""

    @property
    def flip(self) -> float:
        """Share of samples that are mirrored."""

    @property
    def translation(self) -> float:
        """Share that is enlarged and cut."""

    @property
    def erasing(self) -> float:
        """Share of which a box is erased."""

    @property
    def color_jitter(self) -> float:
        """Strength of changes of brightness and contrast."""


@dataclass(frozen=True)
class Augmentation:
    """What happens to one sample; the default is nothing.

    Attributes:
        shift: Corner ``(x, y)`` of the cut in the image enlarged by 1/8, as fractions of the
            network size: multiples of 1/64 in 0..1/8. None leaves the image whole.
        flip: Mirror left and right, after the cut.
        lightness: Factors on the pixel values (brightness) and on their distance from the image's
            mean (contrast). Hue stays: a shift of it would turn a red car into an orange one.
        box: Erased box ``(left, top, right, bottom)`` as fractions, in the result.
    """

    shift: tuple[float, float] | None = None
    flip: bool = False
    lightness: tuple[float, float] = (1.0, 1.0)
    box: tuple[float, float, float, float] | None = None

    @property
    def moves(self) -> bool:
        """Whether pixels change their place."""
        return self.flip or self.shift is not None


NO_AUGMENTATION = Augmentation()


def draw_augmentation(rng: np.random.Generator, config: AugmentationConfig) -> Augmentation:
    """Draw what happens to one sample.

    The same number of random values is used whatever the configuration, so that turning one
    augmentation off leaves the others as they were.
    """
    draws = rng.random(11).tolist()
    shift = box = None
    if draws[0] < config.translation:
        # Whole pixels of the maps and, but for half a pixel at odd sizes, of the image: cutting
        # maps between their pixels would cost more than decoding the picture.
        steps = ENLARGED_MAP_SIZE - MAP_SIZE
        left, top = (int(d * (steps + 1)) / MAP_SIZE for d in draws[1:3])
        shift = left, top
    strength = config.color_jitter
    if draws[6] < config.erasing:
        box = _draw_box(*draws[7:])
    return Augmentation(
        shift=shift,
        flip=draws[3] < config.flip,
        lightness=tuple(1 + strength * (2 * d - 1) for d in draws[4:6]),
        box=box,
    )


def transform_image(
    image: np.ndarray,
    size: int,
    augmentation: Augmentation = NO_AUGMENTATION,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Resize and augment a crop.

    Args:
        image: ``(H, W, 3) uint8`` RGB.
        size: Network size S, a multiple of 8.
        augmentation: What to do.
        out: Where to write ``(S, S, 3) uint8``; by default a new array.

    Returns:
        ``(S, S, 3) uint8``.
    """
    out = np.empty((size, size, 3), np.uint8) if out is None else out
    shift = augmentation.shift
    if shift is None and not augmentation.flip and augmentation.lightness == (1, 1):
        _resize(image, size, out)
    else:
        large = size if shift is None else round(size * ENLARGEMENT)
        result = _resize(image, large, scratch("resized image", (large, large, 3)))
        if shift is not None:
            left, top = (round(s * size) for s in shift)
            result = result[top : top + size, left : left + size]
        if augmentation.lightness != (1, 1):
            result = cv2.LUT(result, _lightness_table(result, *augmentation.lightness))
        if augmentation.flip:
            cv2.flip(result, 1, dst=out)
        else:
            np.copyto(out, result)
    if augmentation.box is not None:
        left, top, right, bottom = (round(e * size) for e in augmentation.box)
        out[top:bottom, left:right] = _ERASED_VALUE
    return out


def transform_heatmaps(
    heatmaps: np.ndarray,
    augmentation: Augmentation = NO_AUGMENTATION,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Augment heatmaps; a flip swaps the two sides of the car.

    Args:
        heatmaps: ``(36, 64, 64) uint8``; or ``(36, 72, 72)`` from :func:`enlarge_maps`, which saves
            enlarging them here, where ``augmentation`` has a shift.
        augmentation: What to do.
        out: Where to write ``(36, 64, 64) uint8``; by default a new array. It may be ``heatmaps``
            where :attr:`Augmentation.moves` is false.
    """
    return _transform_maps(heatmaps, KEYPOINT_FLIP, augmentation, out)


def transform_segments(
    segments: np.ndarray,
    augmentation: Augmentation = NO_AUGMENTATION,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Augment 13 segments; see :func:`transform_heatmaps`."""
    return _transform_maps(segments, SEGMENT_FLIP, augmentation, out)


def enlarge_maps(maps: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Enlarge maps by 1/8, as an image is before the translation cuts it.

    Args:
        maps: ``(K, 64, 64) uint8``.
        out: Where to write; by default a new array.

    Returns:
        ``(K, 72, 72) uint8``.
    """
    count, size, _ = maps.shape
    large = ENLARGED_MAP_SIZE
    maps = np.ascontiguousarray(maps)
    out = np.empty((count, large, large), np.uint8) if out is None else out
    # One tall picture of all maps takes a fifth of the time of single maps.
    tall = out.reshape(count * large, large)
    cv2.resize(maps.reshape(count * size, size), (large, count * large), dst=tall)
    # Where two maps meet in it their edge rows were blended: put the edges right.
    for source, target in ((0, 0), (size - 1, large - 1)):
        out[:, target] = cv2.resize(np.ascontiguousarray(maps[:, source]), (large, count))
    return out


def transform_keypoints(
    keypoints: np.ndarray,
    width: int,
    height: int,
    augmentation: Augmentation = NO_AUGMENTATION,
) -> np.ndarray:
    """Keypoints of a crop as fractions of the network image.

    Args:
        keypoints: ``(36, 3)``: x, y in pixels of the crop, confidence.
        width: Width of the crop.
        height: Height of the crop.
        augmentation: What happens to the image.

    Returns:
        ``(36, 3) float32``: x and y as fractions (0..1 inside the image), confidence clipped to
        0..1 and 0 for a keypoint that is outside the image or erased.
    """
    result = np.empty(keypoints.shape, np.float32)
    x, y = keypoints[:, 0] / width, keypoints[:, 1] / height
    if augmentation.shift is not None:
        x = x * ENLARGEMENT - augmentation.shift[0]
        y = y * ENLARGEMENT - augmentation.shift[1]
    if augmentation.flip:
        x = 1 - x
    confidence = np.clip(keypoints[:, 2], 0, 1)
    confidence = np.where((x < 0) | (x > 1) | (y < 0) | (y > 1), 0, confidence)
    if augmentation.box is not None:
        left, top, right, bottom = augmentation.box
        confidence = np.where((x >= left) & (x < right) & (y >= top) & (y < bottom), 0, confidence)
    result[:, 0], result[:, 1], result[:, 2] = x, y, confidence
    return result[KEYPOINT_FLIP] if augmentation.flip else result


def keypoint_vector(keypoints: np.ndarray) -> np.ndarray:
    """``(36, 3)`` fractions to the network's ``(108,) float32``: x, y, confidence, each - 0.5."""
    return (keypoints - 0.5).astype(np.float32).reshape(-1)


def used_segments(keypoints: np.ndarray) -> np.ndarray:
    """Which of the 13 segments the network may see: all four keypoints at confidence 0.5 or more.

    The confidences are those of the label file: a surface that the translation cuts is still seen.
    """
    return (keypoints[:, 2][SEGMENT_KEYPOINTS] >= SEGMENT_MIN_CONFIDENCE).all(axis=1)


def _transform_maps(
    maps: np.ndarray, flip_order: np.ndarray, augmentation: Augmentation, out: np.ndarray | None
) -> np.ndarray:
    count = len(maps)
    out = np.empty((count, MAP_SIZE, MAP_SIZE), np.uint8) if out is None else out
    maps = np.ascontiguousarray(maps)
    if augmentation.shift is not None:
        large = (count, ENLARGED_MAP_SIZE, ENLARGED_MAP_SIZE)
        if maps.shape != large:
            maps = enlarge_maps(maps, scratch("enlarged maps", large))
        across, down = (round(s * MAP_SIZE) for s in augmentation.shift)
        if augmentation.flip:  # mirrored before the cut, where the image is mirrored after it
            maps = _flip_maps(maps, flip_order, scratch("flipped maps", large))
            across = ENLARGED_MAP_SIZE - MAP_SIZE - across
        np.copyto(out, maps[:, down : down + MAP_SIZE, across : across + MAP_SIZE])
    elif augmentation.flip:
        _flip_maps(maps, flip_order, out)
    elif maps is not out:
        np.copyto(out, maps)
    if augmentation.box is not None:
        left, top, right, bottom = (round(e * MAP_SIZE) for e in augmentation.box)
        out[:, top:bottom, left:right] = 0
    return out


def _flip_maps(maps: np.ndarray, order: np.ndarray, out: np.ndarray) -> np.ndarray:
    # Maps that stay neighbours are mirrored in one call, as one tall picture: numpy's own
    # reversal takes ten times as long.
    size = maps.shape[-1]
    for start, source, count in _runs(tuple(order.tolist())):
        cv2.flip(
            maps[source : source + count].reshape(count * size, size),
            1,
            dst=out[start : start + count].reshape(count * size, size),
        )
    return out


@lru_cache
def _runs(order: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """``(first, source, count)`` of the stretches of ``order`` that ascend by one."""
    runs: list[list[int]] = []
    for place, source in enumerate(order):
        if runs and source == runs[-1][1] + runs[-1][2]:
            runs[-1][2] += 1
        else:
            runs.append([place, source, 1])
    return [(first, source, count) for first, source, count in runs]


def scratch(purpose: str, shape: tuple[int, ...]) -> np.ndarray:
    """A uint8 array of this thread's that is used again and again.

    Arrays of this size are given back to the system whenever they are freed; having their pages
    mapped anew for every sample costs more than what is done with them.
    """
    arrays = _thread.__dict__
    if purpose not in arrays or arrays[purpose].shape != shape:
        arrays[purpose] = np.empty(shape, np.uint8)
    return arrays[purpose]


def _resize(image: np.ndarray, size: int, out: np.ndarray) -> np.ndarray:
    if image.shape[:2] == (size, size):
        np.copyto(out, image)
        return out
    # Area averaging where the crop shrinks, or fine detail turns into false patterns.
    shrinks = min(image.shape[:2]) > size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), dst=out, interpolation=interpolation)


def _lightness_table(image: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    mean = sum(cv2.mean(image)[:3]) / 3
    values = (np.arange(256) - mean) * contrast + mean
    return np.clip(values * brightness + 0.5, 0, 255).astype(np.uint8)


def _draw_box(
    area_draw: float, aspect_draw: float, left_draw: float, top_draw: float
) -> tuple[float, float, float, float]:
    area = _ERASED_AREA[0] + area_draw * (_ERASED_AREA[1] - _ERASED_AREA[0])
    low, high = np.log(_ERASED_ASPECT)
    aspect = float(np.exp(low + aspect_draw * (high - low)))
    width, height = min(1.0, (area * aspect) ** 0.5), min(1.0, (area / aspect) ** 0.5)
    left, top = left_draw * (1 - width), top_draw * (1 - height)
    return left, top, left + width, top + height
