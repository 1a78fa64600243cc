"""Triplet loss on the parts that two images both show."""

import mindspore as ms
from mindspore import nn, ops

from mtn_core.losses.triplet import mine_hardest
from mtn_core.metrics.covisible import PART_SIZE
from mtn_core.vehicle import NUM_PARTS

_EPSILON = 1e-12
# Two images whose parts share less than this of a crop are neither positive nor negative.
SMALLEST_COMMON_AREA = 0.02


class CovisibleTriplet(nn.Cell):
    """Batch-hard triplet loss with the distance of the parts, weighted by what both images show.

    The distance is the mean of the parts' Euclidean distances, each with the weight
    ``sqrt(area_i * area_j)``; pairs that show next to nothing in common are left out.

    Args:
        margin: As for :class:`mtn_core.losses.BatchHardTriplet`.
        soft: Likewise.

    Source: the idea of Meng et al., PVEN, CVPR 2020, section 3.3 (common-visible triplet).
    """

    def __init__(self, margin: float = 0.3, soft: bool = False):
        super().__init__()
        self.margin = margin
        self.soft = soft

    def construct(self, parts: ms.Tensor, areas: ms.Tensor, labels: ms.Tensor) -> ms.Tensor:
        """``(N, 5 * 256)`` part vectors, ``(N, 5)`` areas, ``(N,)`` identities -> scalar loss."""
        distances, common = self.pairwise(parts, areas)
        usable = ops.cast(common > SMALLEST_COMMON_AREA, ms.float32)
        return mine_hardest(distances, labels, usable, self.margin, self.soft)[0]

    def pairwise(self, parts: ms.Tensor, areas: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """``(N, N)`` distances, and ``(N, N)`` sums of the weights."""
        # A root whose slope at an area of zero is finite.
        weights = ops.sqrt(ops.maximum(areas, _EPSILON))
        total = ops.matmul(weights, weights.T)
        mean = ops.zeros_like(total)
        for part in range(NUM_PARTS):
            vectors = parts[:, part * PART_SIZE : (part + 1) * PART_SIZE]
            squares = (vectors * vectors).sum(axis=1, keepdims=True)
            squared = squares + squares.T - 2 * ops.matmul(vectors, vectors.T)
            weight = weights[:, part : part + 1]
            mean = mean + weight * weight.T * ops.sqrt(ops.maximum(squared, _EPSILON))
        return mean / total, total
