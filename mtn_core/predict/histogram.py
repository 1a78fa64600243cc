"""Retrieval without a network: what a result must beat to mean anything."""

import cv2
import numpy as np

from mtn_core.data.images import read_image
from mtn_core.data.split import Split
from mtn_core.results import Embeddings, RetrievalResult

_BINS = (8, 8, 8)
_SIZE = 64
# Half the border of a crop is road; the middle is mostly the vehicle.
_MARGIN = 0.15


def color_histogram(image: np.ndarray) -> np.ndarray:
    """Hellinger-normalised RGB histogram of the middle of a crop.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.

    Returns:
        ``(512,)`` float32 of length 1: square roots of the shares of 8 x 8 x 8 bins, so that the
        Euclidean distance of two is the Hellinger distance (times the square root of 2).
    """
    small = cv2.resize(image, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    edge = int(_MARGIN * _SIZE)
    middle = small[edge : _SIZE - edge, edge : _SIZE - edge]
    counts = cv2.calcHist([middle], [0, 1, 2], None, _BINS, [0, 256] * 3)
    return np.sqrt(counts.ravel() / counts.sum()).astype(np.float32)


def color_histogram_result(query: Split, gallery: Split, *, max_rank: int = 50) -> RetrievalResult:
    """Retrieval by colour histogram alone.

    Raises:
        DataError: An image cannot be read.
    """
    embeddings = [_embed(split) for split in (query, gallery)]
    return RetrievalResult.from_embeddings(*embeddings, metric="euclidean", max_rank=max_rank)


def _embed(split: Split) -> Embeddings:
    images = (read_image(split.image_path(row)) for row in range(len(split)))
    pairs = [(color_histogram(image), image.shape[1::-1]) for image in images]
    features, sizes = zip(*pairs, strict=True)
    return Embeddings.of_split(
        split,
        features=np.stack(features),
        color_logits=None,
        type_logits=None,
        sizes=np.array(sizes),
    )
