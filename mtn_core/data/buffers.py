"""Arrays that are used again once nobody holds them."""

import sys
import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import DTypeLike

Specification = Mapping[str, tuple[tuple[int, ...], DTypeLike]]


class RecycledArrays:
    """Hands out sets of arrays, and hands a set out again when no one refers to it any more.

    A batch is megabytes that the system would map and clear anew each time, which takes longer than
    filling it. Whoever keeps a batch, or a view of one of its arrays, keeps it from being used
    again, just as if it had been allocated for them alone.

    Args:
        specification: Shape and type of each array by name.
    """

    def __init__(self, specification: Specification):
        self._specification = dict(specification)
        self._sets: list[dict[str, np.ndarray]] = []
        self._lock = threading.Lock()

    def take(self) -> dict[str, np.ndarray]:
        """A set of arrays with arbitrary content, in a dict of its own."""
        with self._lock:
            for arrays in self._sets:
                if _count_references(arrays) == _ONLY_OURS:
                    return dict(arrays)
            arrays = {
                name: np.empty(shape, dtype) for name, (shape, dtype) in self._specification.items()
            }
            self._sets.append(arrays)
            return dict(arrays)

    def clear(self) -> None:
        """Forget all sets; those that are still in use stay with their users."""
        with self._lock:
            self._sets = []

    def __len__(self) -> int:
        """Sets that exist."""
        return len(self._sets)


def _count_references(arrays: dict[str, np.ndarray]) -> int:
    return max(sys.getrefcount(array) for array in arrays.values())


# What an array that stands in a set alone counts, with the references of the counting itself.
_ONLY_OURS = _count_references({"": np.empty(0)})
