"""Two-dimensional maps of embeddings: which images the network holds for neighbours."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from mtn_core.errors import DataError, MissingPackageError
from mtn_core.viz.style import OKABE_ITO

Method = Literal["pca", "tsne", "umap"]
METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_TSNE_STEPS = 500
_PCA_WIDTH = 50  # what t-SNE and UMAP are given; more only slows them down


def project_embeddings(
    features: np.ndarray, method: Method = "pca", *, seed: int = 0
) -> np.ndarray:
    """Project embeddings to two dimensions.

    PCA keeps large distances, t-SNE and UMAP keep neighbourhoods: there, distances between groups
    mean nothing.

    Args:
        features: ``(N, D)`` finite numbers, N at least 3.
        method: ``pca``, ``tsne`` (scikit-learn) or ``umap`` (umap-learn, an optional package).
        seed: Of the random start.

    Returns:
        ``(N, 2)`` float64.

    Raises:
        DataError: Too few rows, or an unknown method.
        MissingPackageError: ``umap`` without umap-learn.

    Source: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008; McInnes et al.,
        "UMAP", 2018.
    """
    if method not in METHODS:
        raise DataError(f"`method` must be one of {', '.join(METHODS)}; got {method!r}")
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 3:
        raise DataError(f"`features` must be (N, D) with N at least 3; got {features.shape}")
    from sklearn.decomposition import PCA

    width = min(2 if method == "pca" else _PCA_WIDTH, *features.shape)
    reduced = PCA(width, random_state=seed).fit_transform(features)
    if method == "pca":
        return np.pad(reduced, ((0, 0), (0, 2 - reduced.shape[1])))
    if method == "umap":
        return _project_umap(reduced, seed)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(features) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, max_iter=_TSNE_STEPS)
    # Its steps are short: on a busy machine several threads wait for each other most of the time.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(reduced).astype(np.float64)


def _project_umap(features: np.ndarray, seed: int) -> np.ndarray:
    try:
        import umap
    except ImportError:
        raise MissingPackageError(
            "method umap needs the package umap-learn: pip install umap-learn; or use tsne"
        ) from None
    neighbours = min(15, len(features) - 1)
    return umap.UMAP(n_neighbors=neighbours, random_state=seed).fit_transform(features)


def plot_embedding_map(
    ax: Axes,
    points: np.ndarray,
    pids: np.ndarray,
    *,
    highlight: Sequence[int] = (),
    thumbnails: Callable[[int], np.ndarray] | None = None,
    max_thumbnails: int = 60,
    title: str = "Embedding map",
) -> Axes:
    """Draw a map; images of the highlighted vehicles in colour and mark, the others grey.

    Args:
        ax: Where to draw.
        points: ``(N, 2)``, see :func:`project_embeddings`.
        pids: ``(N,)`` vehicle identities.
        highlight: Identities to colour, at most seven.
        thumbnails: Gives the picture ``(h, w, 3)`` uint8 of a row; drawn where they do not overlap.
        max_thumbnails: At most so many pictures.
        title: The number of images and vehicles is added.
    """
    points, pids = np.asarray(points, dtype=float), np.asarray(pids)
    shown = list(dict.fromkeys(highlight))[:7]
    x, y = points[~np.isin(pids, shown)].T
    ax.scatter(x, y, s=7, color="0.65", alpha=0.6, linewidths=0)
    colors = [color for name, color in OKABE_ITO.items() if name not in ("black", "yellow")]
    for k, pid in enumerate(shown):
        rows = pids == pid
        x, y = points[rows].T
        ax.scatter(
            x,
            y,
            s=24,
            marker="os^DvP*"[k],
            color=colors[k % len(colors)],
            edgecolors="white",
            linewidths=0.4,
            zorder=3,
            label=f"vehicle {pid} ({rows.sum()})",
        )
    if shown:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    ax.margins(0.06)
    if thumbnails is not None:
        for row in spread_rows(points, max_thumbnails):
            picture = thumbnails(row)
            zoom = 26 / max(picture.shape[:2])
            box = AnnotationBbox(
                OffsetImage(picture, zoom=zoom), points[row], pad=0.08, frameon=True, zorder=2
            )
            box.patch.set(linewidth=0.4, edgecolor="0.4")
            ax.add_artist(box)
    ax.set_title(f"{title}: {len(points)} images of {len(np.unique(pids))} vehicles")
    return ax


def spread_rows(points: np.ndarray, num: int) -> list[int]:
    """Rows that lie far apart, so that pictures of them do not cover each other.

    Args:
        points: ``(N, 2)``.
        num: At most so many rows.

    Returns:
        Rows in the order of a farthest-point walk that starts in the middle.
    """
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1)
    chosen = [int(np.argmin(((scaled - 0.5) ** 2).sum(axis=1)))]
    nearest = ((scaled - scaled[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(num, len(points)):
        row = int(nearest.argmax())
        if nearest[row] <= 0.005:  # closer than about a picture's width
            break
        chosen.append(row)
        nearest = np.minimum(nearest, ((scaled - scaled[row]) ** 2).sum(axis=1))
    return chosen
