"""k-reciprocal re-ranking in the dense form of the published program, to check the sparse one.

It holds several float32 matrices over all images, squared: 4 GB at the size of VeRi.

Source: Zhong, Zheng, Cao, Li: "Re-ranking Person Re-identification with k-reciprocal Encoding",
    CVPR 2017.
"""

import numpy as np

from mtn_core.metrics.distance import BlockDistances, check_pair


def rerank_dense(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    metric: str = "euclidean",
) -> np.ndarray:
    """``(num_query, num_gallery)`` re-ranked distances; arguments as for ``rerank.rerank``."""
    query, gallery = check_pair(query_embeddings, gallery_embeddings)
    joined = np.concatenate([query, gallery])
    count, num_query = len(joined), len(query)
    plain = BlockDistances(joined, joined, metric).keys(0, count)  # squared, as published
    plain /= plain.max(axis=1, keepdims=True)
    order = np.argsort(plain, axis=1, kind="stable").astype(np.int32)
    half = int(np.around(k1 / 2))
    weights = np.zeros_like(plain)
    for image in range(count):
        members = _reciprocal(order, image, k1)
        expanded = members
        for member in members:
            others = _reciprocal(order, member, half)
            if len(np.intersect1d(others, members)) > 2 / 3 * len(others):
                expanded = np.append(expanded, others)
        expanded = np.unique(expanded)
        weight = np.exp(-plain[image, expanded])
        weights[image, expanded] = weight / weight.sum()
    if k2 > 1:
        mean = np.zeros_like(weights)
        for image in range(count):
            mean[image] = weights[order[image, :k2]].mean(axis=0)
        weights = mean
    del order
    members_of = [np.flatnonzero(weights[:, image]) for image in range(count)]
    result = np.empty((num_query, len(gallery)), plain.dtype)
    for image in range(num_query):
        overlap = np.zeros(count, plain.dtype)
        for member in np.flatnonzero(weights[image]):
            images = members_of[member]
            overlap[images] += np.minimum(weights[image, member], weights[images, member])
        jaccard = 1 - overlap / (2 - overlap)
        mixed = (1 - lambda_value) * jaccard + lambda_value * plain[image]
        result[image] = mixed[num_query:]
    return result


def _reciprocal(order: np.ndarray, image: int, k: int) -> np.ndarray:
    forward = order[image, : k + 1]
    mutual = (order[forward, : k + 1] == image).any(axis=1)
    return forward[mutual]
