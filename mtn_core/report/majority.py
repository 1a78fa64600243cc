"""What a guess reaches that looks at nothing: every image has the most frequent colour and type."""

from dataclasses import dataclass

import numpy as np

from mtn_core.metrics.attributes import unique_rows
from mtn_core.results import RetrievalResult
from mtn_core.vehicle import color_name, type_name


@dataclass(frozen=True)
class MajorityGuess:
    """The most frequent class of one attribute.

    Attributes:
        name: Of the class.
        share: Of the images that have it, each image once, unknown ones left out: the accuracy of
            a guess that always says it.
    """

    name: str
    share: float


def guess_majority(result: RetrievalResult) -> dict[str, MajorityGuess]:
    """The guess by ``Colour`` and ``Type``, over the images that the accuracies count."""
    found = {}
    first = unique_rows(_join(result, "names"))
    for heading, kind, name_of in (("Colour", "color", color_name), ("Type", "type", type_name)):
        ids = _join(result, f"{kind}_ids")
        known = ids[first & (ids >= 1)]
        if len(known):
            classes, counts = np.unique(known, return_counts=True)
            largest = int(counts.argmax())
            name = name_of(int(classes[largest]))
            found[heading] = MajorityGuess(name, float(counts[largest] / counts.sum()))
    return found


def _join(result: RetrievalResult, field: str) -> np.ndarray:
    return np.concatenate([getattr(split, field) for split in (result.query, result.gallery)])
