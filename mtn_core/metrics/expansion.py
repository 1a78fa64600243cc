"""Changes to embeddings before retrieval that need no labels but the camera.

Each gives another figure beside the plain one, see :mod:`mtn_core.results.variants`.
"""

import numpy as np

from mtn_core.errors import DataError
from mtn_core.metrics.distance import check_pair
from mtn_core.metrics.labels import check_ids
from mtn_core.metrics.ranking import nearest


def expand(
    embeddings: np.ndarray,
    among: np.ndarray | None = None,
    *,
    top: int = 5,
    alpha: float = 3.0,
    metric: str = "euclidean",
) -> np.ndarray:
    """Mean of each embedding and its nearest others, weighted by their similarity.

    Args:
        embeddings: ``(N, D)``.
        among: ``(M, D)`` where the others come from, as a rule the gallery; by default
            ``embeddings`` themselves (each without itself).
        top: How many others; fewer where there are fewer.
        alpha: The weight of another is its cosine similarity to this power (none below 0); with 0
            all weigh the same.
        metric: ``euclidean`` or ``cosine``; decides who is nearest. With ``cosine`` all embeddings
            are first brought to length 1.

    Returns:
        ``(N, D)`` of the type of ``embeddings`` (float32 or float64).

    Raises:
        DataError: Settings out of range, or bad embeddings.

    Source: Chum et al., "Total Recall", ICCV 2007 (average query expansion); Radenovic et al.,
        "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019 (weights).
    """
    if top < 1 or alpha < 0:
        raise DataError(f"`top` must be at least 1 and `alpha` not negative; got {top}, {alpha}")
    alone = among is None
    embeddings, among = check_pair(embeddings, embeddings if among is None else among)
    top = min(top, len(among) - alone)
    if top < 1:
        return embeddings.copy()
    rows, _ = nearest(embeddings, among, top + alone, metric=metric)
    if alone:
        rows = _without_itself(rows)
    mine, others = _unit(embeddings), _unit(among)
    if metric == "cosine":
        embeddings, among = mine, others
    result = embeddings.astype(np.float64)
    total = np.ones(len(embeddings))
    for column in rows.T:  # one neighbour of every row at a time keeps the memory at (N, D)
        weight = np.einsum("ij,ij->i", mine, others[column]).clip(0, 1).astype(np.float64) ** alpha
        result += weight[:, None] * among[column]
        total += weight
    return (result / total[:, None]).astype(embeddings.dtype)


def center_cameras(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    q_camids: np.ndarray,
    g_camids: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Take from every embedding the mean of its camera, which shows light and background.

    Means are those of the gallery. Cameras without gallery images, and the unknown camera 0, take
    the mean of the whole gallery.

    Returns:
        Both arrays centred, ``(num_query, D)`` and ``(num_gallery, D)``.

    Raises:
        DataError: Bad embeddings or camera ids.
    """
    query, gallery = check_pair(query_embeddings, gallery_embeddings)
    q_camids = check_ids("q_camids", q_camids, len(query))
    g_camids = check_ids("g_camids", g_camids, len(gallery))
    query, gallery = query.copy(), gallery.copy()
    overall = gallery.mean(axis=0, dtype=np.float64)
    means = {
        camid: gallery[g_camids == camid].mean(axis=0, dtype=np.float64)
        for camid in np.unique(g_camids).tolist()
        if camid != 0
    }
    for array, camids in ((query, q_camids), (gallery, g_camids)):
        for camid in np.unique(camids).tolist():
            array[camids == camid] -= means.get(camid, overall).astype(array.dtype)
    return query, gallery


def _without_itself(rows: np.ndarray) -> np.ndarray:
    """Drop from each row its own number, or the last entry where copies crowded it out."""
    own = rows == np.arange(len(rows))[:, None]
    own[~own.any(axis=1), -1] = True
    return rows[~own].reshape(len(rows), -1)


def _unit(array: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(array, axis=1, keepdims=True)
    return np.divide(array, length, out=np.zeros_like(array), where=length > 0)
