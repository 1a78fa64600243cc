"""Triplet loss on the hardest positive and negative of every anchor in the batch."""

import mindspore as ms
from mindspore import nn, ops

# Finite stand-ins for infinity: masked entries must lose every comparison without making inf - inf.
# They must also lie beyond any distance that overflowing activations can lead to.
_FAR = 1e30
_EPSILON = 1e-12


class BatchHardTriplet(nn.Cell):
    """Batch-hard triplet loss (Hermans et al., "In Defense of the Triplet Loss", 2017, eq. 5).

    Args:
        margin: Margin between the hardest positive and the hardest negative distance.
        soft: Use ``log(1 + exp(d_pos - d_neg))`` in place of the margin.
        cosine: Compare on the unit sphere: ``1 - cosine``; otherwise Euclidean distance.
    """

    def __init__(self, margin: float = 0.3, soft: bool = False, cosine: bool = False):
        super().__init__()
        self.margin = margin
        self.soft = soft
        self.cosine = cosine

    def construct(
        self, embedding: ms.Tensor, labels: ms.Tensor
    ) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor, ms.Tensor]:
        """Mine and sum up.

        Args:
            embedding: ``(N, D)``, any float type; distances are computed in float32.
            labels: ``(N,)`` int32 identities; -1 is unknown, and such a row is neither anchor nor
                positive nor negative.

        Returns:
            Scalars: loss, share of anchors with a loss above zero (margin: d_pos + margin > d_neg;
            soft: d_pos > d_neg), mean hardest positive and mean hardest negative distance. Anchors
            without a positive or a negative in the batch are left out.
        """
        distances = self.pairwise(ops.cast(embedding, ms.float32))
        every = ops.ones_like(distances)
        return mine_hardest(distances, labels, every, self.margin, self.soft)

    def pairwise(self, embedding: ms.Tensor) -> ms.Tensor:
        """(N, D) float32 -> (N, N) float32 distances, not negative."""
        if self.cosine:
            norm = ops.sqrt(
                ops.maximum((embedding * embedding).sum(axis=1, keepdims=True), _EPSILON)
            )
            embedding = embedding / norm
            return ops.maximum(1 - ops.matmul(embedding, embedding.T), 0.0)
        squares = (embedding * embedding).sum(axis=1, keepdims=True)
        squared = squares + squares.T - 2 * ops.matmul(embedding, embedding.T)
        # The root has an infinite slope at zero.
        return ops.sqrt(ops.maximum(squared, _EPSILON))


def mine_hardest(
    distances: ms.Tensor, labels: ms.Tensor, usable: ms.Tensor, margin: float, soft: bool
) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor, ms.Tensor]:
    """Batch-hard triplet loss on given distances; see :class:`BatchHardTriplet`.

    Args:
        distances: ``(N, N)`` float32, not negative.
        labels: ``(N,)`` int32 identities; -1 is unknown.
        usable: ``(N, N)`` float32, 1 for pairs that may be mined, else 0.
        margin: Between the hardest positive and the hardest negative.
        soft: ``log(1 + exp(d_pos - d_neg))`` in place of the margin.

    Returns:
        As :meth:`BatchHardTriplet.construct`.
    """
    known = ops.cast(labels >= 0, ms.float32)
    known = usable * known.reshape((-1, 1)) * known.reshape((1, -1))
    same = ops.cast(labels.reshape((-1, 1)) == labels.reshape((1, -1)), ms.float32)
    negative = known * (1 - same)
    positive = known * (same - ops.eye(labels.shape[0], labels.shape[0], ms.float32))
    hardest_positive = (distances * positive - _FAR * (1 - positive)).max(axis=1)
    hardest_negative = (distances * negative + _FAR * (1 - negative)).min(axis=1)
    valid = ops.cast(positive.sum(axis=1) > 0, ms.float32)
    valid = valid * ops.cast(negative.sum(axis=1) > 0, ms.float32)
    hardest_positive = hardest_positive * valid
    hardest_negative = hardest_negative * valid
    difference = hardest_positive - hardest_negative
    count = ops.maximum(valid.sum(), 1.0)
    if soft:
        # log(1 + exp(x)), written so that exp never overflows.
        loss = ops.maximum(difference, 0.0) + ops.log1p(ops.exp(-ops.abs(difference)))
        active = ops.cast(difference > 0, ms.float32)
    else:
        loss = ops.maximum(difference + margin, 0.0)
        active = ops.cast(loss > 0, ms.float32)
    return (
        (loss * valid).sum() / count,
        (active * valid).sum() / count,
        hardest_positive.sum() / count,
        hardest_negative.sum() / count,
    )
