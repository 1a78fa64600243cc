"""Ranks of chosen entries by counting the smaller ones, without ordering what is ranked."""

import numpy as np

COUNT_DIRECTLY = 12  # up to this many entries a row, a pass over the row for each is cheapest
NEARER_PART = 0.15  # picking out a larger part of a row costs more than it saves


def match_ranks(
    keys: np.ndarray, row: np.ndarray, column: np.ndarray, scratch: np.ndarray | None = None
) -> np.ndarray:
    """Ranks, from 1, of some entries within their rows; equal keys rank by column.

    Args:
        keys: ``(num_rows, num_gallery)`` float32 or float64, not negative, infinite where a column
            is ignored.
        row: ``(M,)`` integers, ascending: the rows of the entries asked for.
        column: ``(M,)`` integers: their columns, in any order (ascending keys are quickest).
        scratch: An array like ``keys`` to overwrite.

    Returns:
        ``(M,)`` int64: for each entry, one more than the number of entries before it.
    """
    if len(row) <= COUNT_DIRECTLY * len(keys):
        pairs = zip(row.tolist(), column.tolist(), strict=True)
        return np.array([_count_before(keys[r], c) for r, c in pairs], np.int64) + 1
    # With many matches in a row it is cheaper to count for all of them at once: look them up among
    # the values up to the last of them, in ascending order.
    bits = _as_integers(keys)
    matches = bits[row, column]
    counts = np.bincount(row, minlength=len(keys))
    rows = np.flatnonzero(counts)
    values, begin = _values_up_to_last(bits, matches, rows, counts, scratch)
    begins, ends = begin[:-1].tolist(), begin[1:].tolist()
    parts = np.split(matches, np.cumsum(counts[rows])[:-1])
    before = np.concatenate(
        [values[b:e].searchsorted(m) for b, e, m in zip(begins, ends, parts, strict=True)]
    )
    # An equal value behind it means that the position decides.
    position = np.repeat(begin[:-1], counts[rows]) + before + 1
    tied = values.take(position, mode="clip") == matches
    tied &= position < np.repeat(begin[1:], counts[rows])
    for i in np.flatnonzero(tied).tolist():
        before[i] = _count_before(keys[row[i]], column[i])
    return before + 1


def _as_integers(keys: np.ndarray) -> np.ndarray:
    """A view of non-negative floats as integers, which are in the same order and sort quicker."""
    return keys.view(np.int32 if keys.dtype == np.float32 else np.int64)


def _values_up_to_last(
    bits: np.ndarray,
    matches: np.ndarray,
    rows: np.ndarray,
    counts: np.ndarray,
    scratch: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """For each row with matches, at least its values up to its last match, ascending.

    Returns:
        The values of all those rows one after the other, and where each row begins (one more entry
        than rows: where the last one ends).
    """
    if len(rows) < len(bits):
        bits = bits[rows]
    counts = counts[rows]
    last = np.maximum.reduceat(matches, np.cumsum(counts) - counts)
    nearer = bits <= last[:, None]
    if np.count_nonzero(nearer) < NEARER_PART * nearer.size:
        parts = [line[mask] for line, mask in zip(bits, nearer, strict=True)]
        for part in parts:
            part.sort()
        return np.concatenate(parts), np.cumsum([0] + [len(part) for part in parts])
    if scratch is None:
        ascending = bits.copy()
    else:
        ascending = _as_integers(scratch[: len(bits)])
        np.copyto(ascending, bits)
    ascending.sort(axis=1)
    return ascending.reshape(-1), np.arange(len(bits) + 1) * bits.shape[1]


def _count_before(keys: np.ndarray, column: int) -> int:
    key = keys[column]
    return np.count_nonzero(keys[:column] <= key) + np.count_nonzero(keys[column + 1 :] < key)
