"""How sure a number is: bootstrap intervals over vehicles, and paired comparison of two runs.

Queries of one vehicle are not independent (same car, often the same cameras), so whole vehicles are
drawn, not queries. Drawing is vectorised: a draw is a vector of how often each vehicle was drawn,
and a mean under it is a ratio of two dot products.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile interval);
    Davison and Hinkley, "Bootstrap Methods and their Application", 1997 (resampling of clusters).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mtn_core.errors import DataError

NUM_DRAWS = 2000
LEVEL = 0.95
_DRAWS_AT_ONCE = 250


@dataclass(frozen=True)
class Interval:
    """A number and how far it may be off by the choice of the test vehicles.

    Attributes:
        estimate: The number on all data; nan where there are no data.
        low: Lower end of the interval; nan with fewer than two vehicles.
        high: Upper end.
        level: Share of intervals made like this that hold the true value, e.g. 0.95.
        num_groups: Vehicles it rests on.
        share_above_zero: Share of the draws above zero, those at zero counted half; tells, for a
            difference, how consistently it points one way.
    """

    estimate: float
    low: float
    high: float
    level: float
    num_groups: int
    share_above_zero: float


def bootstrap_mean(
    values: np.ndarray,
    groups: np.ndarray,
    *,
    num_draws: int = NUM_DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Interval of a mean over rows, drawing whole groups.

    Args:
        values: ``(N,)`` real; nan rows (queries without a match) are left out.
        groups: ``(N,)`` integers, as a rule the vehicle identity.
        num_draws: Bootstrap draws.
        level: Of the interval, between 0 and 1.
        seed: The same seed gives the same interval.

    Raises:
        DataError: Lengths that differ, or settings out of range.
    """
    return bootstrap_means({"value": values}, groups, num_draws=num_draws, level=level, seed=seed)[
        "value"
    ]


def bootstrap_means(
    columns: Mapping[str, np.ndarray],
    groups: np.ndarray,
    *,
    num_draws: int = NUM_DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Interval]:
    """:func:`bootstrap_mean` of several columns under the same draws.

    Args:
        columns: ``(N,)`` values by name.
        groups: ``(N,)``, see :func:`bootstrap_mean`.
        num_draws: Bootstrap samples.
        level: Of the interval.
        seed: Of the draws.
    """
    estimates, draws, num_groups = _draw_means(columns, groups, num_draws, level, seed)
    return {
        name: _interval(estimates[i], draws[:, i], level, int(num_groups[i]))
        for i, name in enumerate(columns)
    }


def bootstrap_contrast(
    values: np.ndarray,
    marked: np.ndarray,
    groups: np.ndarray,
    *,
    num_draws: int = NUM_DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Interval of (mean over the marked rows) - (mean over the others), drawing whole groups.

    Args:
        values: ``(N,)`` real; nan rows are left out.
        marked: ``(N,)`` bool.
        groups: ``(N,)`` vehicle identities.
        num_draws: As for :func:`bootstrap_mean`.
        level: Likewise.
        seed: Likewise.
    """
    values, marked = np.asarray(values, np.float64), np.asarray(marked, bool)
    columns = {
        "marked": np.where(marked, values, np.nan),
        "others": np.where(marked, np.nan, values),
    }
    estimates, draws, num_groups = _draw_means(columns, groups, num_draws, level, seed)
    return _interval(
        estimates[0] - estimates[1], draws[:, 0] - draws[:, 1], level, int(num_groups.min())
    )


def paired_difference(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, **settings
) -> Interval:
    """Interval of the mean of ``second - first`` over rows that are the same in both runs.

    Pairing removes what both runs share (hard vehicles are hard for both), so that it finds smaller
    differences than two intervals side by side. Rows that are nan in either run are left out.

    Args:
        first: ``(N,)`` values of the one run.
        second: ``(N,)`` values of the other.
        groups: ``(N,)`` vehicle identities.
        **settings: As for :func:`bootstrap_mean`.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise DataError(
            f"both runs must have the same queries; got {first.shape} and {second.shape} values"
        )
    return bootstrap_mean(second - first, groups, **settings)


def intervals_table(intervals: Mapping[str, Interval]) -> pd.DataFrame:
    """A row per number: measure, estimate, low, high, level, num_groups, share_above_zero."""
    return pd.DataFrame([{"measure": name, **vars(i)} for name, i in intervals.items()])


def _draw_means(
    columns: Mapping[str, np.ndarray], groups: np.ndarray, num_draws: int, level: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of the columns, ``(num_draws, num_columns)`` means under draws, groups with a value."""
    if num_draws < 1 or not 0 < level < 1:
        raise DataError(
            f"`num_draws` must be at least 1 and `level` between 0 and 1; got {num_draws}, {level}"
        )
    groups = np.asarray(groups)
    arrays = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    for name, values in arrays.items():
        if values.ndim != 1 or values.shape != groups.shape:
            raise DataError(
                f"`{name}` and `groups` must be of one length; got {values.shape}, {groups.shape}"
            )
    if not len(groups):
        nothing = np.full((num_draws, len(arrays)), np.nan)
        return nothing[0], nothing, np.zeros(len(arrays), int)
    index = np.unique(groups, return_inverse=True)[1].reshape(-1)
    num_groups = int(index.max()) + 1
    known = [~np.isnan(values) for values in arrays.values()]
    sums = np.stack(
        [
            np.bincount(index[k], values[k], num_groups)
            for k, values in zip(known, arrays.values(), strict=True)
        ],
        axis=1,
    )
    counts = np.stack([np.bincount(index[k], minlength=num_groups) for k in known], axis=1)
    draws = [
        _ratio(weights @ sums, weights @ counts)
        for weights in _draw_weights(num_groups, num_draws, seed)
    ]
    estimates = _ratio(sums.sum(axis=0), counts.sum(axis=0))
    return estimates, np.concatenate(draws), (counts > 0).sum(axis=0)


def _draw_weights(num_groups: int, num_draws: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for start in range(0, num_draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, num_draws - start)
        drawn = rng.integers(0, num_groups, (count, num_groups))
        flat = (drawn + np.arange(count)[:, None] * num_groups).ravel()
        weights = np.bincount(flat, minlength=count * num_groups).reshape(count, num_groups)
        yield weights.astype(np.float64)  # for BLAS


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _interval(estimate: float, draws: np.ndarray, level: float, num_groups: int) -> Interval:
    draws = draws[~np.isnan(draws)]
    if num_groups < 2 or not len(draws):
        low = high = above = float("nan")
    else:
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).tolist()
        above = float((draws > 0).mean() + (draws == 0).mean() / 2)
    return Interval(float(estimate), low, high, level, num_groups, above)
