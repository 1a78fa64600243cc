"""Confidence of keypoints: near 1 in sight, low on the side that is turned away or covered."""

import numpy as np

from mtn_core.synthveri.bodywork import Solid
from mtn_core.synthveri.cameras import View

_STEPS = np.concatenate([np.linspace(0.06, 0.5, 6), np.linspace(0.7, 3.0, 10)])


def keypoint_visibility(keypoints: np.ndarray, solid: Solid, view: View) -> np.ndarray:
    """Share of the way to the camera on which the vehicle itself leaves each keypoint free.

    Args:
        keypoints: (36, 3) in the car's frame.
        solid: The vehicle's solid.
        view: Camera and place.

    Returns:
        (36,) float: 1 in sight, 0 well behind the body; between for a point just past the edge.
    """
    rays = view.eye - keypoints
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    samples = keypoints[:, None] + rays[:, None] * _STEPS[:, None]
    hidden = solid.contains(samples).sum(axis=1)
    return np.clip(1.0 - hidden / 3.0, 0.0, 1.0)


def keypoint_confidence(
    visibility: np.ndarray, covered: np.ndarray, inside: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Turn sight into a pose estimator's confidence.

    Args:
        visibility: (36,) 0..1, from ``keypoint_visibility``.
        covered: (36,) 0..1, how much something in front of the vehicle hides the point.
        inside: (36,) bool, the point lies in the crop.
        rng: Small noise, and how sure the estimator is of what it cannot see.

    Returns:
        (36,) float32 in 0..1; exactly 0 outside the crop.
    """
    seen = rng.uniform(0.82, 1.0, 36)
    guessed = rng.uniform(0.08, 0.40, 36)
    free = visibility * (1 - 0.75 * covered)
    confidence = guessed + (seen - guessed) * free
    return np.where(inside, confidence.clip(0, 1), 0.0).astype(np.float32)
