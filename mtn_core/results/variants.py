"""What re-ranking, expansion, centring and penalties would bring: each beside the plain figure.

None of them is the result of a run; they are other ways to use its embeddings, and need more than
one query at a time (the whole gallery, its cameras).
"""

import numpy as np
import pandas as pd

from mtn_core.metrics.covisible import COVISIBLE, create_distances, global_part
from mtn_core.metrics.expansion import center_cameras, expand
from mtn_core.metrics.penalty import PENALTY, PenalisedDistances
from mtn_core.metrics.protocol import VERI, EvaluationProtocol
from mtn_core.metrics.rerank import rerank
from mtn_core.metrics.retrieval import RetrievalMetrics, evaluate, evaluate_blocks
from mtn_core.metrics.statistics import paired_difference
from mtn_core.metrics.tracks import ALPHA, HOW, evaluate_tracks, find_tracks, mean_embeddings
from mtn_core.results.embeddings import Embeddings
from mtn_core.viewpoint import estimate_azimuths

MAX_IMAGES = 40_000  # beyond, variants that compare the gallery with itself are left out
PLAIN = "plain"


def compare_variants(
    query: Embeddings, gallery: Embeddings, metric: str, rule: EvaluationProtocol = VERI
) -> pd.DataFrame:
    """Evaluate every variant on the embeddings of a run.

    Args:
        query: Embeddings of the queries.
        gallery: Embeddings of the gallery.
        metric: ``euclidean``, ``cosine`` or ``covisible``.
        rule: The data set's protocol.

    Returns:
        A row per variant, the plain one first: variant, protocol (``image-to-image`` or
        ``image-to-track``), mAP, mINP, rank1, rank5, rank10, and, within the plain protocol,
        mAP_difference to the plain figure with the ends of its 95% interval, low and high.
        Variants that need cameras are absent where the gallery has none, penalties also where there
        are no keypoints or the metric is Euclidean, those that average embeddings where these have
        parts; then the global embedding alone is a variant.
    """
    q_camids, g_camids = rule.separate_cameras(query, gallery)
    ap_ranks = rule.ap_ranks
    ids = query.pids, gallery.pids, q_camids, g_camids
    q, g = query.features, gallery.features
    plain = evaluate(q, g, *ids, metric=metric, ap_ranks=ap_ranks)
    found = {PLAIN: plain}
    has_cameras = bool((gallery.camids > 0).any())
    # Neither a mean of cameras nor one of neighbours knows which parts it is of.
    has_parts = metric == COVISIBLE
    if has_parts:
        found["global embedding alone"] = evaluate(
            global_part(q), global_part(g), *ids, metric="cosine", ap_ranks=ap_ranks
        )
    takes_means = has_cameras and not has_parts
    centred = center_cameras(q, g, query.camids, gallery.camids) if takes_means else (q, g)
    if takes_means:
        found["camera means taken away"] = evaluate(
            *centred, *ids, metric=metric, ap_ranks=ap_ranks
        )
    if not has_parts:
        found["query expansion"] = evaluate(
            expand(q, g, metric=metric), g, *ids, metric=metric, ap_ranks=ap_ranks
        )
    if len(query) + len(gallery) <= MAX_IMAGES:
        found["k-reciprocal re-ranking"] = evaluate_blocks(
            rerank(q, g, metric=metric), *ids, ap_ranks=ap_ranks
        )
        if takes_means:
            found["camera means taken away, re-ranking"] = evaluate_blocks(
                rerank(*centred, metric=metric), *ids, ap_ranks=ap_ranks
            )
    for name, keys in _penalised(query, gallery, metric, has_cameras).items():
        found[name] = evaluate_blocks(keys, *ids, ap_ranks=ap_ranks)
    tracks = find_tracks(gallery.pids, g_camids, gallery.names)
    on_tracks = {
        f"tracks by {how} image" if how == "nearest" else f"tracks by {how} embedding": (
            evaluate_tracks(q, g, query.pids, q_camids, tracks, how=how, metric=metric)
        )
        for how in (HOW if has_cameras else ())
        if how == "nearest" or not has_parts
    }
    if takes_means and len(query) + len(tracks) <= MAX_IMAGES:
        on_tracks["tracks by weighted embedding, re-ranking"] = evaluate_blocks(
            rerank(q, mean_embeddings(g, tracks, alpha=ALPHA), metric=metric),
            *(query.pids, tracks.pids, q_camids, tracks.camids),
        )
    rows = [_row(name, "image-to-image", m) | _gain(plain, m, query) for name, m in found.items()]
    rows += [_row(name, "image-to-track", m) for name, m in on_tracks.items()]
    return pd.DataFrame(rows)


def _penalised(
    query: Embeddings, gallery: Embeddings, metric: str, has_cameras: bool
) -> dict[str, PenalisedDistances]:
    """Distances with the charges that the embeddings allow, by the variant's name."""
    if metric == "euclidean":
        return {}
    plain = create_distances(query.features, gallery.features, metric)
    azimuths = estimate_azimuths(query.keypoints), estimate_azimuths(gallery.keypoints)
    seen = all((e.keypoints[..., 2] > 0).any() for e in (query, gallery))
    possible = {
        "orientation penalty": (PENALTY, 0, seen),
        "camera penalty": (0, PENALTY, has_cameras),
        "orientation and camera penalty": (PENALTY, PENALTY, seen and has_cameras),
    }
    return {
        name: PenalisedDistances(
            plain, *azimuths, query.camids, gallery.camids, orientation=orientation, camera=camera
        )
        for name, (orientation, camera, able) in possible.items()
        if able
    }


def _row(name: str, protocol: str, metrics: RetrievalMetrics) -> dict[str, str | float]:
    return {
        "variant": name,
        "protocol": protocol,
        "mAP": metrics.mAP,
        "mINP": metrics.mINP,
        **{f"rank{k}": float(metrics.cmc[k - 1]) for k in (1, 5, 10)},
    }


def _gain(plain: RetrievalMetrics, metrics: RetrievalMetrics, query: Embeddings) -> dict:
    if metrics is plain:
        return dict.fromkeys(("mAP_difference", "low", "high"), np.nan)
    difference = paired_difference(plain.ap, metrics.ap, query.pids)
    return {
        "mAP_difference": difference.estimate,
        "low": difference.low,
        "high": difference.high,
    }
