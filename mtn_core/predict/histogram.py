"""Retrieval without a network, as a back end: what a result must beat to mean anything."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from mtn_core.config import ModelConfig
from mtn_core.predict.backend import Outputs

_BINS = (8, 8, 8)
_SIZE = 64
# Half the border of a crop is road; the middle is mostly the vehicle.
_MARGIN = 0.15


def color_histogram(image: np.ndarray) -> np.ndarray:
    """Hellinger-normalised RGB histogram of the middle of a crop.

    Args:
        image: ``(64, 64, 3)`` uint8 RGB.

    Returns:
        ``(512,)`` float32 of length 1: square roots of the shares of 8 x 8 x 8 bins, so that the
        Euclidean distance of two is the Hellinger distance (times the square root of 2).
    """
    height, width = image.shape[:2]
    y, x = int(_MARGIN * height), int(_MARGIN * width)
    middle = np.ascontiguousarray(image[y : height - y, x : width - x])
    counts = cv2.calcHist([middle], [0, 1, 2], None, _BINS, [0, 256] * 3)
    return np.sqrt(counts.ravel() / counts.sum()).astype(np.float32)


class HistogramBackend:
    """The colour histogram of a crop as its embedding."""

    model = ModelConfig(image_size=_SIZE, keypoints=False, attributes=False)
    metric = "euclidean"
    recipe: str | None = None
    rank, rank_size = 0, 1

    def __init__(self) -> None:
        self.provenance: Mapping[str, Any] = {"backend": "colour histogram"}

    def embed(self, batch: Mapping[str, np.ndarray]) -> Outputs:
        """See :class:`mtn_core.predict.backend.Backend`."""
        return Outputs(np.stack([color_histogram(image) for image in batch["image"]]))

    def gather(self, values: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.predict.backend.Backend`; every rank does all."""
        return values
