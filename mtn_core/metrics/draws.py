"""VehicleID's protocol: one image of each vehicle is the gallery, drawn again and again."""

from dataclasses import dataclass

import numpy as np

from mtn_core.errors import DataError
from mtn_core.metrics.retrieval import evaluate

RANKS = (1, 5)


@dataclass(frozen=True, eq=False)
class DrawnResults:
    """Figures of every draw.

    Attributes:
        mAP: ``(num_draws,)`` float64; with one true match for a query it is the mean reciprocal
            rank.
        rank1: ``(num_draws,)`` float64.
        rank5: ``(num_draws,)`` float64.
    """

    mAP: np.ndarray
    rank1: np.ndarray
    rank5: np.ndarray

    def to_dict(self) -> dict[str, object]:
        """``{"count": 10, "mAP": {"mean": .., "std": .., "values": [..]}, ...}``.

        The spread is the standard deviation of the draws (with ``N - 1``), 0 of one draw.
        """
        found: dict[str, object] = {"count": len(self.mAP)}
        for name in ("mAP", "rank1", "rank5"):
            values = getattr(self, name)
            spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            found[name] = {"mean": float(values.mean()), "std": spread, "values": values.tolist()}
        return found


def draw_galleries(pids: np.ndarray, draws: int, seed: int) -> list[np.ndarray]:
    """Draw one image of each vehicle, several times.

    Args:
        pids: ``(N,)`` integer identities of the pool.
        draws: How often.
        seed: The same seed gives the same draws, and the first of ten is the one of one.

    Returns:
        ``(num_ids,)`` int64 rows of the pool for each draw, ascending by identity.

    Raises:
        DataError: No images, or none drawn.
    """
    pids = np.asarray(pids)
    if not len(pids) or draws < 1:
        raise DataError(f"a draw needs images, and one draw at least; got {len(pids)} and {draws}")
    order = np.argsort(pids, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(pids[order]) != 0])
    length = np.diff(np.r_[first, len(order)])
    rng = np.random.default_rng(seed)
    return [order[first + rng.integers(0, length)] for _ in range(draws)]


def evaluate_draws(
    features: np.ndarray,
    pids: np.ndarray,
    *,
    draws: int = 10,
    seed: int = 0,
    metric: str = "euclidean",
) -> DrawnResults:
    """Evaluate each draw: its images are the gallery, all others queries.

    There is no rule about cameras. A vehicle of one image is in every gallery and never a query.

    Args:
        features: ``(N, D)`` finite embeddings of the pool.
        pids: ``(N,)`` integer identities.
        draws: How often.
        seed: Of the draws.
        metric: ``euclidean`` or ``cosine``.

    Raises:
        DataError: No vehicle has two images, or what :func:`evaluate` refuses.

    Source: Liu et al., "Deep Relative Distance Learning: Tell the Difference Between Similar
        Vehicles", CVPR 2016 (VehicleID and its protocol).
    """
    pids = np.asarray(pids)
    if len(np.unique(pids)) == len(pids):
        raise DataError("no vehicle of the pool has two images, so there is no query")
    found = []
    for gallery in draw_galleries(pids, draws, seed):
        others = np.ones(len(pids), bool)
        others[gallery] = False
        cameras = np.arange(len(pids))  # all different: nothing is ignored
        result = evaluate(
            features[others],
            features[gallery],
            pids[others],
            pids[gallery],
            cameras[others],
            cameras[gallery],
            metric=metric,
            max_rank=max(RANKS),
        )
        found.append((result.mAP, *(float(result.cmc[rank - 1]) for rank in RANKS)))
    return DrawnResults(*np.array(found, np.float64).T)
