"""All tables of an evaluation at once, by name, as the run folder keeps them."""

from typing import Any

import numpy as np
import pandas as pd

from mtn_core.metrics import mistakes
from mtn_core.metrics.attributes import unique_rows
from mtn_core.metrics.breakdown import by_group, by_pair, by_quantile, rank_hits
from mtn_core.metrics.protocol import VERI, EvaluationProtocol
from mtn_core.metrics.statistics import Interval, bootstrap_mean, bootstrap_means, intervals_table
from mtn_core.metrics.verification import Verification, verify
from mtn_core.results.embeddings import Embeddings
from mtn_core.results.variants import compare_variants
from mtn_core.vehicle import color_name, type_name
from mtn_core.viewpoint import UNKNOWN_VIEWPOINT, VIEWPOINT_NAMES, estimate_viewpoint

FALSE_ACCEPT_RATES = (1e-2, 1e-3, 1e-4)


def make_tables(
    query: Embeddings,
    gallery: Embeddings,
    per_query: pd.DataFrame,
    metric: str,
    rule: EvaluationProtocol = VERI,
) -> dict[str, pd.DataFrame]:
    """Break a retrieval result down.

    Args:
        query: Embeddings of the queries.
        gallery: Embeddings of the gallery.
        per_query: ``RetrievalResult.per_query`` of the two.
        metric: Distance that ``per_query`` was made with.
        rule: The data set's protocol, likewise.

    Returns:
        DataFrames by name, empty where the data do not tell:
        ``intervals`` (mAP, Rank-k and attribute accuracy with 95% intervals),
        ``by_camera``, ``by_color``, ``by_type``, ``by_viewpoint``, ``by_size``,
        ``by_confidence`` (:func:`~mtn_core.metrics.breakdown.by_group`),
        ``by_camera_pair``, ``by_viewpoint_pair`` (:func:`~mtn_core.metrics.breakdown.by_pair`),
        ``hardest_ids``, ``confusions``, ``wrong_first_answers``, ``color_confusion``,
        ``type_confusion``, ``attributes_and_retrieval``, ``confidence_effect``
        (:mod:`mtn_core.metrics.mistakes`), ``verification`` (measure, value),
        ``verification_roc``, ``distance_histogram``
        and ``variants`` (:func:`~mtn_core.results.variants.compare_variants`).
    """
    pair: dict[str, Any] = {
        "query_embeddings": query.features,
        "gallery_embeddings": gallery.features,
        "q_pids": query.pids,
        "g_pids": gallery.pids,
        "metric": metric,
    }
    pair["q_camids"], pair["g_camids"] = rule.separate_cameras(query, gallery)
    verification = verify(**pair)
    return {
        "intervals": intervals_table(measure_intervals(query, gallery, per_query)),
        **_groups(per_query),
        "by_camera_pair": _known_pairs(pair, query.camids, gallery.camids, 0, "camid"),
        "by_viewpoint_pair": _known_pairs(
            pair,
            per_query["viewpoint"].to_numpy(str),
            estimate_viewpoint(gallery.keypoints),
            UNKNOWN_VIEWPOINT,
            "viewpoint",
        ),
        "hardest_ids": mistakes.hardest_ids(per_query),
        "confusions": mistakes.confusions(per_query),
        "wrong_first_answers": mistakes.wrong_first_answers(
            per_query, gallery.color_ids, gallery.type_ids
        ),
        "color_confusion": _confusion(query, gallery, "color", color_name),
        "type_confusion": _confusion(query, gallery, "type", type_name),
        "attributes_and_retrieval": mistakes.attributes_and_retrieval(per_query),
        "confidence_effect": mistakes.confidence_effect(per_query),
        "verification": verification_table(verification),
        "verification_roc": verification.roc_frame(),
        "distance_histogram": verification.to_frame(),
        "variants": compare_variants(query, gallery, metric, rule),
    }


def measure_intervals(
    query: Embeddings, gallery: Embeddings, per_query: pd.DataFrame
) -> dict[str, Interval]:
    """95% intervals of the headline numbers, vehicles drawn: mAP, mINP, Rank-k, accuracies.

    Attribute accuracies count each image of query and gallery once; they are absent where nothing
    is known or predicted.
    """
    columns = {"mAP": per_query["ap"].to_numpy(), "mINP": per_query["inp"].to_numpy()}
    columns |= {f"Rank-{k}": rank_hits(per_query, k) for k in (1, 5, 10)}
    intervals = bootstrap_means(columns, per_query["pid"].to_numpy())
    names = np.concatenate([query.names, gallery.names])
    pids = np.concatenate([query.pids, gallery.pids])
    first = unique_rows(names)
    for kind in ("color", "type"):
        true, predicted = (
            np.concatenate([getattr(e, f"{kind}_{what}") for e in (query, gallery)])
            for what in ("ids", "predictions")
        )
        known = first & (true >= 1)
        if known.any() and (predicted >= 1).any():
            right = (true == predicted)[known]
            intervals[f"{kind}_accuracy"] = bootstrap_mean(right, pids[known])
    return intervals


def verification_table(verification: Verification) -> pd.DataFrame:
    """The verification view in numbers: measure and value, a row each."""
    values = {
        "positive pairs": verification.num_positive,
        "negative pairs": verification.num_negative,
        "area under the ROC curve": verification.auc,
        "equal-error rate": verification.equal_error_rate,
        "equal-error threshold": verification.equal_error_threshold,
    }
    for rate in FALSE_ACCEPT_RATES:
        values[f"threshold at false-accept rate {rate:g}"] = verification.threshold_at(rate)
        values[f"true-accept rate at false-accept rate {rate:g}"] = (
            verification.true_accept_rate_at(rate)
        )
    return pd.DataFrame({"measure": list(values), "value": [float(v) for v in values.values()]})


def _groups(per_query: pd.DataFrame) -> dict[str, pd.DataFrame]:
    def known(column: str, name_of=None) -> pd.Series:
        values = per_query[column].where(per_query[column] >= 1)
        return values if name_of is None else values.map(lambda i: name_of(int(i)), "ignore")

    size = np.sqrt(per_query["width"].to_numpy(np.float64) * per_query["height"])
    confidence = per_query["confidence"].to_numpy(np.float64)
    return {
        "by_camera": by_group(per_query, known("camid").astype("Int64"), "camid"),
        "by_color": by_group(per_query, known("color_id", color_name), "color"),
        "by_type": by_group(per_query, known("type_id", type_name), "type"),
        "by_viewpoint": by_group(per_query, _viewpoints(per_query), "viewpoint"),
        "by_size": by_quantile(per_query, np.where(size > 0, size, np.nan), "size", unit="px"),
        "by_confidence": by_quantile(
            per_query, np.where(confidence > 0, confidence, np.nan), "confidence"
        ),
    }


def _viewpoints(per_query: pd.DataFrame) -> pd.Categorical:
    """Viewpoints in the order of a walk around the car; unknown ones are missing."""
    values = per_query["viewpoint"].where(per_query["viewpoint"] != UNKNOWN_VIEWPOINT)
    return pd.Categorical(values, categories=VIEWPOINT_NAMES, ordered=True)


def _known_pairs(
    pair: dict, q_groups: np.ndarray, g_groups: np.ndarray, unknown: object, name: str
) -> pd.DataFrame:
    q_known, g_known = q_groups != unknown, g_groups != unknown
    if not q_known.any() or not g_known.any():
        return pd.DataFrame(
            columns=[f"query_{name}", f"gallery_{name}", "num_query", "mAP", "rank1"]
        )
    chosen = {
        key: value if key == "metric" else value[q_known if key.startswith("q") else g_known]
        for key, value in pair.items()
    }
    return by_pair(**chosen, q_groups=q_groups[q_known], g_groups=g_groups[g_known], name=name)


def _confusion(query: Embeddings, gallery: Embeddings, kind: str, name_of) -> pd.DataFrame:
    def joined(field: str) -> np.ndarray:
        return np.concatenate([getattr(e, field) for e in (query, gallery)])

    return mistakes.attribute_confusion(
        joined("names"),
        joined(f"{kind}_ids"),
        joined(f"{kind}_logits"),
        joined(f"{kind}_predictions"),
        name_of,
    )
