"""Accuracy of colour and type, over images whose true label is known.

Protocol: the seed counts every row of query and gallery, so an image that is in both counts twice.
Here each image counts once; the seed's figure is given beside it, for comparison.
"""

from dataclasses import dataclass

import numpy as np

from mtn_core.errors import DataError
from mtn_core.vehicle import UNKNOWN


@dataclass(frozen=True)
class AttributeAccuracy:
    """Accuracy of one attribute.

    Attributes:
        accuracy: Share of right predictions, each image once; nan where no label is known or
            the network predicts no attributes.
        num_images: Images with a known label, each counted once.
        seed_protocol: The share over query and gallery rows, images in both counted twice.
        num_unknown: Images without a known label, which count nowhere.
    """

    accuracy: float
    num_images: int
    seed_protocol: float
    num_unknown: int


def predict_ids(logits: np.ndarray) -> np.ndarray:
    """``(N,)`` int64 VeRi ids (from 1) of ``(N, C)`` scores; -1 where a network gives none.

    A network without attribute heads answers zeros throughout, which is no prediction.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2:
        raise DataError(f"`logits` must be (number, classes); got shape {logits.shape}")
    if logits.shape[1] == 0 or not logits.any():
        return np.full(len(logits), UNKNOWN, np.int64)
    return logits.argmax(axis=1).astype(np.int64) + 1


def softmax(logits: np.ndarray) -> np.ndarray:
    """``(N, C) float32`` probabilities of ``(N, C)`` scores."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float32)
    return powers / powers.sum(axis=1, keepdims=True)


def attribute_accuracy(
    names: np.ndarray, true_ids: np.ndarray, predicted_ids: np.ndarray
) -> AttributeAccuracy:
    """Accuracy over the rows of query and gallery together.

    Args:
        names: ``(N,)`` image names; the first row of a name stands for the image.
        true_ids: ``(N,)`` integers, -1 unknown.
        predicted_ids: ``(N,)`` integers, -1 where nothing was predicted.

    Raises:
        DataError: Lengths that differ.
    """
    names, true_ids, predicted_ids = map(np.asarray, (names, true_ids, predicted_ids))
    if not names.shape == true_ids.shape == predicted_ids.shape or names.ndim != 1:
        raise DataError(
            "names, true and predicted ids must have one length; got shapes "
            f"{names.shape}, {true_ids.shape}, {predicted_ids.shape}"
        )
    first = unique_rows(names)
    known = true_ids >= 1
    right = predicted_ids == true_ids
    usable = bool((predicted_ids >= 1).any())

    def share(rows: np.ndarray) -> float:
        return float(right[rows].mean()) if usable and rows.any() else float("nan")

    return AttributeAccuracy(
        accuracy=share(known & first),
        num_images=int((known & first).sum()),
        seed_protocol=share(known),
        num_unknown=int((~known & first).sum()),
    )


def unique_rows(names: np.ndarray) -> np.ndarray:
    """``(N,)`` bool, true at the first row of every name."""
    first = np.zeros(len(names), bool)
    first[np.unique(np.asarray(names, str), return_index=True)[1]] = True
    return first
