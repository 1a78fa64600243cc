"""Ranks of chosen entries by counting the smaller ones, without ordering what is ranked."""

import numpy as np

COUNT_DIRECTLY = 12  # up to this many entries a row, a pass over the row for each is cheapest


def match_ranks(
    keys: np.ndarray, row: np.ndarray, column: np.ndarray, scratch: np.ndarray | None = None
) -> np.ndarray:
    """Ranks, from 1, of some entries within their rows; equal keys rank by column.

    Args:
        keys: ``(num_rows, num_gallery)`` float32 or float64, not negative, infinite where a column
            is ignored.
        row: ``(M,)`` integers, ascending: the rows of the entries asked for.
        column: ``(M,)`` integers: their columns, ascending within a row.
        scratch: An array like ``keys`` to overwrite.

    Returns:
        ``(M,)`` int64: one more than the number of entries before each; rows as in ``row``,
        ascending within a row.
    """
    if len(row) <= COUNT_DIRECTLY * len(keys):
        pairs = zip(row.tolist(), column.tolist(), strict=True)
        ranks = np.array([_count_before(keys[r], c) for r, c in pairs], np.int64) + 1
        return _sort_within_rows(row, ranks)
    # With many matches in a row it is cheaper to count for all of them at once: look them up among
    # the row's values in ascending order, for which all that lie behind the last match are made one
    # (sorting equal values costs next to nothing).
    bits = _as_integers(keys)
    matches = _sort_within_rows(row, bits[row, column])
    counts = np.bincount(row, minlength=len(keys))
    rows = np.flatnonzero(counts)
    counts = counts[rows]
    ends = np.cumsum(counts)
    begins = (ends - counts).tolist()
    behind_last = matches[ends - 1, None] + 1
    ascending = np.empty_like(bits) if scratch is None else _as_integers(scratch)
    ascending = ascending[: len(rows)]
    np.minimum(bits if len(rows) == len(bits) else bits[rows], behind_last, out=ascending)
    ascending.sort(axis=1)
    before = np.concatenate(
        [
            values.searchsorted(matches[begin:end])
            for values, begin, end in zip(ascending, begins, ends.tolist(), strict=True)
        ]
    )
    # Where an equal value stands behind a match, the position decides.
    behind = np.minimum(before + 1, keys.shape[1] - 1)
    tied = ascending[np.repeat(np.arange(len(rows)), counts), behind] == matches
    tied &= behind > before
    if tied.any():
        bounds = dict(zip(rows.tolist(), zip(begins, ends.tolist(), strict=True), strict=True))
        _settle_ties(bits, row, column, matches, np.flatnonzero(tied), bounds, before)
    return before + 1


def _settle_ties(
    bits: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    matches: np.ndarray,
    tied: np.ndarray,
    bounds: dict[int, tuple[int, int]],
    before: np.ndarray,
) -> None:
    """Add to ``before`` of tied matches the equal values at lower columns.

    ``matches`` ascend within a row, so that equal ones stand together: they take, one after the
    other, the columns where they were found.
    """
    rows, values = row[tied].tolist(), matches[tied].tolist()
    given, nth, last = bits[row, column], 0, None
    for i, r, value in zip(tied.tolist(), rows, values, strict=True):
        nth = nth + 1 if last == (r, value) else 0
        last = (r, value)
        begin, end = bounds[r]
        where = (given[begin:end] == value).nonzero()[0][nth]
        before[i] += np.count_nonzero(bits[r, : column[begin + where]] == value)


def _sort_within_rows(row: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values, not negative, in ascending order within each row."""
    if values.itemsize == 4:  # row and value fit one integer, which sorts quickest
        joined = row.astype(np.int64) << 32
        joined |= values
        joined.sort()
        return joined.astype(np.int32)
    return values[np.lexsort((values, row))]


def _as_integers(keys: np.ndarray) -> np.ndarray:
    """A view of non-negative floats as integers, which are in the same order and sort quicker."""
    return keys.view(np.int32 if keys.dtype == np.float32 else np.int64)


def _count_before(keys: np.ndarray, column: int) -> int:
    key = keys[column]
    return np.count_nonzero(keys[:column] <= key) + np.count_nonzero(keys[column + 1 :] < key)
