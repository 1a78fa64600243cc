"""Other programs' ids: words or numbers, from 0 or 1, as this package counts them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtn_core.errors import DataError, first_offenders
from mtn_core.vehicle import UNKNOWN

_LARGEST_ID = 2**53  # what a float, of which some tables are made, still holds exactly


def check_attribute(path: Path, name: str, ids: np.ndarray, most: int) -> np.ndarray:
    """Colours or types as int64 from 1, -1 unknown.

    Args:
        path: File that they are from, for the message.
        name: What the message calls them.
        ids: ``(N,)`` numbers, or text of numbers; an empty one is unknown.
        most: The largest that there is.

    Raises:
        DataError: Another number, or none.
    """
    whole = _as_whole(np.array([str(one).strip() or str(UNKNOWN) for one in ids.tolist()]))
    if whole is None or (whole == 0).any() or (whole > most).any():
        wrong = ids if whole is None else ids[(whole == 0) | (whole > most)]
        raise DataError(
            f"`{name}` of {path} must be VeRi's numbers 1 to {most}, or -1 where it is unknown; "
            f"got {first_offenders(sorted(set(wrong.tolist())))}"
        )
    return np.where(whole > 0, whole, UNKNOWN)


def number_ids(arrays: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """Vehicle ids of all splits as numbers, and their names where they were words.

    Args:
        arrays: ``(N,)`` of each split, numbers or text.

    Returns:
        ``(N,)`` int64 of each split, and the words in the order of their numbers from 1.

    Raises:
        DataError: An empty id, or a negative one.
    """
    whole = [_as_whole(array) for array in arrays]
    numbers = [array for array in whole if array is not None]
    if len(numbers) < len(arrays):
        words = [np.array([str(one).strip() for one in array.tolist()]) for array in arrays]
        if any((word == "").any() or (word == "nan").any() for word in words):
            raise DataError("every image needs a vehicle id; some are empty")
        names, index = np.unique(np.concatenate(words), return_inverse=True)
        ends = np.cumsum([len(word) for word in words])[:-1]
        return np.split(index.reshape(-1) + 1, ends), names.tolist()
    for array in numbers:
        if (array < 0).any() or (array > _LARGEST_ID).any():
            raise DataError(
                "vehicle ids must be 0 or more, and below 2^53; got "
                f"{array[(array < 0) | (array > _LARGEST_ID)][0]}. Images that belong to no "
                "vehicle (-1 in Market-1501 and its like) must be left out, embeddings too"
            )
    return numbers, []


def number_cameras(
    arrays: Sequence[np.ndarray | None],
) -> tuple[list[np.ndarray | None], list[str], bool]:
    """Cameras from 1 and 0 for unknown, their names where they were words, and whether 1 was added.

    Other toolboxes count cameras from 0, which stands for an unknown one here.

    Args:
        arrays: ``(N,)`` of each split, numbers or text, None where the file has none. A negative
            number, nan and an empty text are an unknown camera.

    Returns:
        ``(N,)`` int64 of each split; None for all of them where no camera is known.
    """
    texts = [
        None if one is None else np.array([_camera_text(v) for v in one.tolist()]) for one in arrays
    ]
    known = [text[text != ""] for text in texts if text is not None]
    if not known or not any(map(len, known)):
        return [None] * len(arrays), [], False
    together = np.concatenate(known)
    whole, names = _as_whole(together), []
    if whole is not None:
        shifted = bool((whole == 0).any())
        numbers = {str(t): int(n) + shifted for t, n in zip(together, whole, strict=True)}
    else:
        shifted, names = False, np.unique(together).tolist()
        numbers = {name: k for k, name in enumerate(names, 1)}
    numbers[""] = 0
    result = [
        None if text is None else np.array([numbers[str(t)] for t in text], np.int64)
        for text in texts
    ]
    return result, names, shifted


def _camera_text(value: object) -> str:
    """A camera as text; empty where it is unknown: nothing, nan or a negative number."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    text = text.strip()
    return "" if text.lower() == "nan" or text.startswith("-") else text


def _as_whole(array: np.ndarray) -> np.ndarray | None:
    """The array as int64 where all of it are whole numbers, also as text; else None."""
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    try:
        number = array.astype(np.float64)
    except ValueError:
        return None
    if not np.isfinite(number).all() or (number != np.round(number)).any():
        return None
    return number.astype(np.int64)
