"""The network's input made on the host with NumPy: what a client without MindSpore does."""

from collections.abc import Mapping

import cv2
import numpy as np

from mtn_core.predict.model_json import HEATMAPS, IMAGE, KEYPOINTS, SEGMENTS, ModelSpec


def image_stack(batch: Mapping[str, np.ndarray], spec: ModelSpec) -> np.ndarray:
    """Normalise the pixels, upsample the maps, join the channels.

    The same as :class:`mtn_core.models.preprocess.InputStack` on the device, to 3e-5.

    Args:
        batch: ``image (N, S, S, 3) uint8`` RGB and, where the model uses them, ``heatmaps`` and
            ``segments`` ``(N, maps, 64, 64) uint8``.
        spec: Of the exported model.

    Returns:
        ``(N, channels, S, S) float32``.
    """
    image = batch[IMAGE]
    channels, height, width = spec.stack_shape
    stack = np.empty((len(image), channels, height, width), np.float32)
    scale = np.float32(1) / (255 * np.asarray(spec.image_std, np.float32))
    shift = np.asarray(spec.image_mean, np.float32) / np.asarray(spec.image_std, np.float32)
    for k in range(3):
        np.multiply(image[..., k], scale[k], out=stack[:, k])
        stack[:, k] -= shift[k]
    at = 3
    for key in map_keys(spec):
        for maps in batch[key].transpose(1, 0, 2, 3):
            for row, one in enumerate(maps):
                cv2.resize(
                    (one.astype(np.float32) / 255 - spec.map_mean) / spec.map_std,
                    (width, height),
                    dst=stack[row, at],
                    interpolation=cv2.INTER_LINEAR,
                )
            at += 1
    return stack


def map_keys(spec: ModelSpec) -> list[str]:
    """Names of the maps that the model uses, in channel order."""
    used = {HEATMAPS: spec.network.heatmaps, SEGMENTS: spec.network.segments}
    return [key for key, value in used.items() if value]


def model_inputs(
    batch: Mapping[str, np.ndarray], spec: ModelSpec, *, pixels: bool
) -> dict[str, np.ndarray]:
    """A loader's batch as the inputs of a model file, by name, C-contiguous."""
    keypoints = np.ascontiguousarray(batch[KEYPOINTS], dtype=np.float32)
    if pixels:
        used = {key: np.ascontiguousarray(batch[key]) for key in (IMAGE, *map_keys(spec))}
        return {**used, KEYPOINTS: keypoints}
    return {IMAGE: image_stack(batch, spec), KEYPOINTS: keypoints}
