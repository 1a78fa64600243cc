"""Where retrieval works and where it fails: mAP and Rank-1 by group, and by pair of groups."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mtn_core.errors import DataError
from mtn_core.metrics.retrieval import evaluate
from mtn_core.metrics.statistics import bootstrap_means

MIN_VEHICLES = 5  # an interval over fewer vehicles says less than it seems to
_NUM_DRAWS = 1000
_SUMMARY = ("num_query", "num_with_match", "num_vehicles", "mAP", "mAP_low", "mAP_high")


def by_group(per_query: pd.DataFrame, groups: Sequence | np.ndarray, name: str) -> pd.DataFrame:
    """Retrieval quality (mAP, Rank-1) of each group of queries.

    Args:
        per_query: ``RetrievalResult.per_query``.
        groups: ``(num_query,)`` group of each query, in any type that sorts; rows with None or nan
            are left out.
        name: Of the group column.

    Returns:
        A row per group, in ascending order: the group, num_query, num_with_match, num_vehicles,
        mAP with the ends of its 95% interval (vehicles drawn), rank1, rank5.

    Raises:
        DataError: Another number of groups than of queries.
    """
    series = pd.Series(groups)
    if len(series) != len(per_query):
        raise DataError(f"`groups` must have {len(per_query)} entries; got {len(series)}")
    series.index = per_query.index
    rows = []
    for group, part in per_query.groupby(series, sort=True, observed=True):
        rows.append({name: group, **_summarise(part)})
    return pd.DataFrame(rows, columns=[name, *_SUMMARY, "rank1", "rank5"])


def by_quantile(
    per_query: pd.DataFrame, values: np.ndarray, name: str, *, num_groups: int = 5, unit: str = ""
) -> pd.DataFrame:
    """Retrieval quality of groups of about equal size, ordered by a measured value.

    Args:
        per_query: ``RetrievalResult.per_query``.
        values: ``(num_query,)`` real; nan rows are left out.
        name: Of the value; the columns NAME (a readable range), low and high tell the group.
        num_groups: At most so many; equal values stay together.
        unit: Shown behind the range.

    Returns:
        As :func:`by_group`, groups in ascending order of the value.
    """
    values = np.asarray(values, np.float64)
    known = values[~np.isnan(values)]
    if not len(known):
        return pd.DataFrame(columns=[name, "low", "high", *_SUMMARY, "rank1", "rank5"])
    edges = np.unique(np.quantile(known, np.linspace(0, 1, num_groups + 1)[1:-1]))
    index = np.where(np.isnan(values), np.nan, np.searchsorted(edges, values, "left"))
    table = by_group(per_query, index, name)
    low = [values[index == g].min() for g in table[name]]
    high = [values[index == g].max() for g in table[name]]
    digits = 0 if max(abs(known.min()), abs(known.max())) >= 10 else 2
    table[name] = [
        f"{a:.{digits}f} to {b:.{digits}f} {unit}".strip() for a, b in zip(low, high, strict=True)
    ]
    table.insert(1, "low", low)
    table.insert(2, "high", high)
    return table


def by_pair(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    q_pids: np.ndarray,
    g_pids: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
    *,
    q_groups: np.ndarray,
    g_groups: np.ndarray,
    name: str,
    metric: str = "euclidean",
) -> pd.DataFrame:
    """Retrieval quality of the queries of one group against the gallery images of another.

    The gallery of a pair holds only the images of the pair's gallery group, so its numbers are
    higher than those of the whole gallery; they compare with each other.

    Args:
        query_embeddings: ``(num_query, D)``; with the labels as for
            :func:`mtn_core.metrics.retrieval.evaluate`.
        gallery_embeddings: ``(num_gallery, D)``.
        q_pids: ``(num_query,)``.
        g_pids: ``(num_gallery,)``.
        q_camids: ``(num_query,)``.
        g_camids: ``(num_gallery,)``.
        q_groups: ``(num_query,)`` groups, for example the cameras.
        g_groups: ``(num_gallery,)`` groups of the same kind.
        name: Of the group.
        metric: ``euclidean`` or ``cosine``.

    Returns:
        A row per pair that any query has a match in: query_NAME, gallery_NAME, num_query (those
        with a match), mAP, rank1.
    """
    q_groups, g_groups = np.asarray(q_groups), np.asarray(g_groups)
    g_pids, g_camids = np.asarray(g_pids), np.asarray(g_camids)
    rows = []
    for g_group in np.unique(g_groups):
        chosen = g_groups == g_group
        # A query whose vehicle never passes this part of the gallery adds nothing.
        queries = np.isin(q_pids, g_pids[chosen])
        if not queries.any():
            continue
        metrics = evaluate(
            query_embeddings[queries],
            gallery_embeddings[chosen],
            np.asarray(q_pids)[queries],
            g_pids[chosen],
            np.asarray(q_camids)[queries],
            g_camids[chosen],
            metric=metric,
            max_rank=1,
        )
        frame = pd.DataFrame(
            {
                "group": q_groups[queries],
                "ap": metrics.ap,
                "rank1": metrics.first_match_rank == 1,
            }
        )
        frame = frame[metrics.num_matches > 0]
        for q_group, part in frame.groupby("group", sort=True):
            rows.append((q_group, g_group, len(part), part["ap"].mean(), part["rank1"].mean()))
    columns = [f"query_{name}", f"gallery_{name}", "num_query", "mAP", "rank1"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(columns[:2], ignore_index=True)


def has_interval(num_vehicles: int) -> bool:
    """Whether a group has vehicles enough for an interval to mean anything.

    The interval draws vehicles anew; of one vehicle that gives no width at all, of two nearly none.
    """
    return num_vehicles >= MIN_VEHICLES


def describe_no_interval(num_vehicles: int) -> str:
    """``1 vehicle: no interval``."""
    return f"{num_vehicles} vehicle{'' if num_vehicles == 1 else 's'}: no interval"


def rank_hits(per_query: pd.DataFrame, rank: int) -> np.ndarray:
    """``(num_query,)`` float64: 1 where a match is at ``rank`` or better, nan without a match."""
    first = per_query["first_match_rank"].to_numpy()
    return np.where(first > 0, (first <= rank).astype(np.float64), np.nan)


def _summarise(part: pd.DataFrame) -> dict[str, float | int]:
    columns = {
        "mAP": part["ap"].to_numpy(np.float64),
        "rank1": rank_hits(part, 1),
        "rank5": rank_hits(part, 5),
    }
    intervals = bootstrap_means(columns, part["pid"].to_numpy(), num_draws=_NUM_DRAWS)
    return {
        "num_query": len(part),
        "num_with_match": int(part["ap"].notna().sum()),
        "num_vehicles": int(part["pid"].nunique()),
        "mAP": intervals["mAP"].estimate,
        "mAP_low": intervals["mAP"].low,
        "mAP_high": intervals["mAP"].high,
        "rank1": intervals["rank1"].estimate,
        "rank5": intervals["rank5"].estimate,
    }
