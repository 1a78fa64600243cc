"""Proof that exported files compute what the training network computes."""

from collections.abc import Mapping

import numpy as np

from mtn_core.errors import ParityError
from mtn_core.predict.model_json import (
    HEATMAPS,
    IMAGE,
    KEYPOINTS,
    OUTPUT_NAMES,
    SEGMENTS,
    ModelSpec,
)

TOLERANCE = 1e-4


def sample_batch(spec: ModelSpec, count: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """A loader-like batch that fills every input with all of its range.

    Returns:
        ``image (count, S, S, 3) uint8``, the maps in use ``uint8``, ``keypoints (count, 108)
        float32`` in -0.5..0.5.
    """
    rng = np.random.default_rng(seed)
    size, maps = spec.network.image_size, (spec.map_size, spec.map_size)
    batch = {IMAGE: rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)}
    for key in (HEATMAPS, SEGMENTS):
        if key in spec.pixel_inputs:
            shape = (count, int(spec.pixel_inputs[key].shape[1]), *maps)
            batch[key] = rng.integers(0, 256, shape, dtype=np.uint8)
    batch[KEYPOINTS] = rng.uniform(-0.5, 0.5, (count, spec.keypoint_values)).astype(np.float32)
    return batch


def differences(
    reference: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Largest absolute difference of every output; infinite where a shape or value is wrong."""
    result = {}
    for name in OUTPUT_NAMES:
        left, right = reference[name], outputs[name]
        if left.shape != right.shape or not np.isfinite(right).all():
            result[name] = float("inf")
        else:
            result[name] = float(np.abs(left.astype(np.float64) - right).max(initial=0))
    return result


def largest(parity: Mapping[str, float]) -> float:
    """Largest difference over all outputs."""
    return max(parity.values())


def check_parity(name: str, parity: Mapping[str, float], tolerance: float = TOLERANCE) -> None:
    """Refuse a file that differs too much.

    Raises:
        ParityError: An output differs by more than ``tolerance``.
    """
    worst = max(parity, key=lambda output: parity[output])
    if not parity[worst] <= tolerance:
        raise ParityError(
            f"{name} differs from the training network by {parity[worst]:.3g} in {worst}; at most "
            f"{tolerance:g} is allowed, so nothing was exported. Check the versions of mindspore, "
            "onnx and onnxruntime against requirements.txt"
        )
