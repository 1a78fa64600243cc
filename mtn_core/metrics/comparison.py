"""Two evaluations on the same queries, side by side: differences and how sure they are."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from mtn_core.errors import DataError
from mtn_core.metrics.breakdown import rank_hits
from mtn_core.metrics.statistics import Interval, paired_difference

# Results compare where these parts of their protocols agree; the CMC's length need not.
COMPARED = {
    "name": "the data set's protocol",
    "ap_ranks": "the ranks that count in average precision",
    "ignored": "the gallery rows that are ignored",
    "ties": "the order of ties",
    "metric": "the distance",
    "query_sha256": "the queries",
    "gallery_sha256": "the gallery",
}


_BEFORE_NAMES = {"name": "VeRi"}  # results of before protocols had one


class Result(Protocol):
    """The part of a ``RetrievalResult`` that is compared."""

    @property
    def per_query(self) -> pd.DataFrame:
        """A row per query."""

    @property
    def protocol(self) -> Mapping[str, Any]:
        """How it was measured."""


def check_comparable(first: Result, second: Result, *, metric: bool = True) -> None:
    """Refuse results that were measured by different protocols or on different images.

    Args:
        first: A result.
        second: Another.
        metric: Whether the distance must be the same, too.

    Raises:
        DataError: Says what differs and what to do.
    """
    keys = [key for key in COMPARED if metric or key != "metric"]
    one, two = ({**_BEFORE_NAMES, **result.protocol} for result in (first, second))
    different = [k for k in keys if one.get(k) != two.get(k)]
    if different:
        values = ", ".join(
            f"{COMPARED[k]} ({_short(one.get(k))} and {_short(two.get(k))})" for k in different
        )
        raise DataError(
            f"these results cannot be compared, they differ in {values}; evaluate both on the same "
            "data with the same settings"
        )


def difference_table(first: pd.DataFrame, second: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Differences of two results with 95% intervals, paired by query, vehicles drawn.

    Args:
        first: ``per_query`` of a result.
        second: Of another with the same queries, see :func:`check_comparable`.
        seed: Of the draws.

    Returns:
        A row for mAP, mINP, Rank-1, Rank-5 and Rank-10 each: measure, first, second, difference
        (second minus first), low, high, share_above_zero.

    Raises:
        DataError: Other queries, or another order.
    """
    if first["name"].tolist() != second["name"].tolist():
        raise DataError("both tables must have the same queries in the same order")
    rows = []
    for name, of in _MEASURES.items():
        one, two = of(first), of(second)
        interval: Interval = paired_difference(one, two, first["pid"].to_numpy(), seed=seed)
        rows.append(
            {
                "measure": name,
                "first": _mean(one),
                "second": _mean(two),
                "difference": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "share_above_zero": interval.share_above_zero,
            }
        )
    return pd.DataFrame(rows)


_MEASURES = {
    "mAP": lambda frame: frame["ap"].to_numpy(np.float64),
    "mINP": lambda frame: frame["inp"].to_numpy(np.float64),
    "Rank-1": lambda frame: rank_hits(frame, 1),
    "Rank-5": lambda frame: rank_hits(frame, 5),
    "Rank-10": lambda frame: rank_hits(frame, 10),
}


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "…"
