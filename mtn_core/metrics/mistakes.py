"""What goes wrong, by name: hardest vehicles, who is mistaken for whom, attribute mistakes."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from mtn_core.metrics.attributes import unique_rows
from mtn_core.metrics.breakdown import rank_hits
from mtn_core.metrics.statistics import bootstrap_contrast, bootstrap_mean

_NUM_DRAWS = 1000


def hardest_ids(per_query: pd.DataFrame) -> pd.DataFrame:
    """The vehicles, hardest first.

    Returns:
        A row per vehicle that has a query with a match: pid, color_id, type_id, num_query, mAP,
        rank1, median_first_match_rank, worst_query (name), mistaken_for (the vehicle that most
        often stands first in its place; -1 where none does) and mistaken_count.
    """
    rows = []
    wrong = _wrong_first(per_query)
    for pid, part in per_query[per_query["ap"].notna()].groupby("pid", sort=True):
        others = wrong.loc[wrong["pid"] == pid, "top1_pid"].value_counts(sort=False).sort_index()
        rows.append(
            {
                "pid": pid,
                "color_id": part["color_id"].iloc[0],
                "type_id": part["type_id"].iloc[0],
                "num_query": len(part),
                "mAP": part["ap"].mean(),
                "rank1": (part["first_match_rank"] == 1).mean(),
                "median_first_match_rank": part["first_match_rank"].median(),
                "worst_query": part.loc[part["ap"].idxmin(), "name"],
                "mistaken_for": int(others.idxmax()) if len(others) else -1,
                "mistaken_count": int(others.max()) if len(others) else 0,
            }
        )
    columns = ["pid", "color_id", "type_id", "num_query", "mAP", "rank1"]
    columns += ["median_first_match_rank", "worst_query", "mistaken_for", "mistaken_count"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["mAP", "pid"], ignore_index=True)


def confusions(per_query: pd.DataFrame) -> pd.DataFrame:
    """Which vehicle stands first in place of which, most frequent first.

    Only queries that have a match count.

    Returns:
        A row per ordered pair: pid, mistaken_for, count, num_query (queries of ``pid`` with a
        match), share, and an example, the nearest such pair of crops: query_name, gallery_name,
        distance.
    """
    wrong = _wrong_first(per_query).sort_values("top1_distance", kind="stable")
    groups = wrong.groupby(["pid", "top1_pid"], sort=True)
    table = groups.agg(
        count=("name", "size"),
        query_name=("name", "first"),
        gallery_name=("top1_name", "first"),
        distance=("top1_distance", "first"),
    ).reset_index()
    table = table.rename(columns={"top1_pid": "mistaken_for"})
    queries = per_query.loc[per_query["ap"].notna(), "pid"].value_counts()
    table.insert(3, "num_query", table["pid"].map(queries).astype(np.int64))
    table.insert(4, "share", table["count"] / table["num_query"])
    return table.sort_values(
        ["count", "distance"], ascending=[False, True], kind="stable", ignore_index=True
    )


def wrong_first_answers(
    per_query: pd.DataFrame, g_color_ids: np.ndarray, g_type_ids: np.ndarray
) -> pd.DataFrame:
    """How much the wrong vehicles at rank 1 look like the query.

    Args:
        per_query: ``RetrievalResult.per_query``.
        g_color_ids: ``(num_gallery,)`` true colours, -1 unknown.
        g_type_ids: ``(num_gallery,)`` true types, -1 unknown.

    Returns:
        Rows for same colour, same type, both, same camera: share_of, count, num_known, share.
        Pairs of which one side is unknown are not counted.
    """
    wrong = _wrong_first(per_query)
    rows = wrong["top1_row"].to_numpy()
    color, type_ = wrong["color_id"].to_numpy(), wrong["type_id"].to_numpy()
    other_color, other_type = np.asarray(g_color_ids)[rows], np.asarray(g_type_ids)[rows]
    camera, other_camera = wrong["camid"].to_numpy(), wrong["top1_camid"].to_numpy()
    color_known, type_known = (color > 0) & (other_color > 0), (type_ > 0) & (other_type > 0)
    cases = {
        "same colour": (color == other_color, color_known),
        "same type": (type_ == other_type, type_known),
        "same colour and type": (
            (color == other_color) & (type_ == other_type),
            color_known & type_known,
        ),
        "same camera": (camera == other_camera, (camera > 0) & (other_camera > 0)),
    }
    return pd.DataFrame(
        [
            {
                "share_of": name,
                "count": int((same & known).sum()),
                "num_known": int(known.sum()),
                "share": (same & known).sum() / known.sum() if known.any() else np.nan,
            }
            for name, (same, known) in cases.items()
        ]
    )


def attribute_confusion(
    names: np.ndarray,
    true_ids: np.ndarray,
    logits: np.ndarray,
    predicted_ids: np.ndarray,
    name_of: Callable[[int], str],
) -> pd.DataFrame:
    """Confusion matrix of one attribute in long form, each image once, with examples.

    Args:
        names: ``(N,)`` image names; an image that stands twice counts once.
        true_ids: ``(N,)`` from 1, -1 unknown.
        logits: ``(N, C)`` scores.
        predicted_ids: ``(N,)`` from 1, -1 where nothing was predicted.
        name_of: Gives an id its name.

    Returns:
        A row per pair that occurs: true_id, predicted_id, true, predicted, count, share (of the
        images of that true class), example (the image about which the network is surest) and
        example_confidence (0..1).
    """
    names, true_ids, predicted_ids = map(np.asarray, (names, true_ids, predicted_ids))
    use = unique_rows(names) & (true_ids >= 1) & (predicted_ids >= 1)
    scores = np.asarray(logits, np.float64)[use]
    if len(scores):
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        surest = scores.max(axis=1) / scores.sum(axis=1)
    else:
        surest = np.empty(0)
    frame = pd.DataFrame(
        {
            "true_id": true_ids[use],
            "predicted_id": predicted_ids[use],
            "example": names[use].tolist(),
            "example_confidence": surest,
        }
    ).sort_values("example_confidence", ascending=False, kind="stable")
    groups = frame.groupby(["true_id", "predicted_id"], sort=True)
    table = groups.agg(
        count=("example", "size"),
        example=("example", "first"),
        example_confidence=("example_confidence", "first"),
    ).reset_index()
    share = table["count"] / table.groupby("true_id")["count"].transform("sum")
    table.insert(2, "true", [name_of(i) for i in table["true_id"]])
    table.insert(3, "predicted", [name_of(i) for i in table["predicted_id"]])
    table.insert(5, "share", share)
    return table


def attributes_and_retrieval(per_query: pd.DataFrame) -> pd.DataFrame:
    """Do attribute mistakes and retrieval mistakes come together?

    Returns:
        A row per attribute with known labels: attribute, num_right, num_wrong (queries by their
        predicted attribute), rank1_if_right, rank1_if_wrong, difference (wrong minus right) with
        the ends of its 95% interval (vehicles drawn), mAP_if_right, mAP_if_wrong.
    """
    rows = []
    rank1 = rank_hits(per_query, 1)
    ap = per_query["ap"].to_numpy(np.float64)
    for kind in ("color", "type"):
        true, predicted = per_query[f"{kind}_id"], per_query[f"{kind}_pred"]
        use = ((true >= 1) & (predicted >= 1)).to_numpy() & ~np.isnan(ap)
        if not use.any():
            continue
        wrong = (true != predicted).to_numpy()[use]
        pids = per_query["pid"].to_numpy()[use]
        contrast = bootstrap_contrast(rank1[use], wrong, pids, num_draws=_NUM_DRAWS)
        rows.append(
            {
                "attribute": kind,
                "num_right": int((~wrong).sum()),
                "num_wrong": int(wrong.sum()),
                "rank1_if_right": _mean(rank1[use][~wrong]),
                "rank1_if_wrong": _mean(rank1[use][wrong]),
                "difference": contrast.estimate,
                "difference_low": contrast.low,
                "difference_high": contrast.high,
                "mAP_if_right": _mean(ap[use][~wrong]),
                "mAP_if_wrong": _mean(ap[use][wrong]),
            }
        )
    columns = ["attribute", "num_right", "num_wrong", "rank1_if_right", "rank1_if_wrong"]
    columns += ["difference", "difference_low", "difference_high", "mAP_if_right", "mAP_if_wrong"]
    return pd.DataFrame(rows, columns=columns)


def confidence_effect(per_query: pd.DataFrame) -> pd.DataFrame:
    """Does the confidence of a query's keypoints go with its average precision?

    Returns:
        One row: num_query, spearman (-1..1, rank correlation of confidence and AP) with the ends of
        its 95% interval (vehicles drawn); no row where no query has keypoints.
    """
    columns = ["num_query", "spearman", "low", "high"]
    use = per_query["ap"].notna().to_numpy()
    confidence = per_query["confidence"].to_numpy(np.float64)[use]
    ap = per_query["ap"].to_numpy(np.float64)[use]
    if len(ap) < 3 or np.ptp(confidence) == 0 or np.ptp(ap) == 0:
        return pd.DataFrame(columns=columns)
    # The correlation of ranks is a mean of products of standardised ranks, up to the changes of
    # the standardisation between draws, which are small beside its spread.
    ranks = [rankdata(values) for values in (confidence, ap)]
    standard = [(r - r.mean()) / r.std() for r in ranks]
    interval = bootstrap_mean(
        standard[0] * standard[1], per_query["pid"].to_numpy()[use], num_draws=_NUM_DRAWS
    )
    row = (len(ap), interval.estimate, max(-1.0, interval.low), min(1.0, interval.high))
    return pd.DataFrame([row], columns=columns)


def _wrong_first(per_query: pd.DataFrame) -> pd.DataFrame:
    """Queries that have a match, but another vehicle at rank 1."""
    return per_query[per_query["ap"].notna() & (per_query["first_match_rank"] > 1)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
