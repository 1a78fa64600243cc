"""Losses on all pairs of a batch, by the cosine of their embeddings: circle, and contrastive."""

import mindspore as ms
from mindspore import nn, ops

_EPSILON = 1e-12
_FAR = 1e30  # a finite stand-in for infinity, see losses/triplet.py


class Pairs(nn.Cell):
    """Cosines of a batch, and which pairs are positive or negative."""

    def construct(
        self, embedding: ms.Tensor, labels: ms.Tensor
    ) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor]:
        """``(N, D)`` of any float type, ``(N,)`` int32 -> three ``(N, N)`` float32.

        Rows of the unknown identity -1 are in no pair, nor is a row with itself.
        """
        embedding = ops.cast(embedding, ms.float32)
        squares = (embedding * embedding).sum(axis=1, keepdims=True)
        unit = embedding / ops.sqrt(ops.maximum(squares, _EPSILON))
        known = ops.cast(labels >= 0, ms.float32)
        known = known.reshape((-1, 1)) * known.reshape((1, -1))
        same = ops.cast(labels.reshape((-1, 1)) == labels.reshape((1, -1)), ms.float32)
        positive = known * (same - ops.eye(labels.shape[0], labels.shape[0], ms.float32))
        return ops.matmul(unit, unit.T), ops.maximum(positive, 0.0), known * (1 - same)


class CircleLoss(nn.Cell):
    """Circle loss: each pair is pulled or pushed by how far it is from where it should be.

    Args:
        margin: Positive pairs should have a cosine above ``1 - margin``, negative ones below
            ``margin``.
        scale: Factor of the exponents.

    Source: Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization",
        CVPR 2020, eq. 6 with the self-paced weights of eq. 5 and the margins of section 3.2.
    """

    def __init__(self, margin: float = 0.25, scale: float = 64.0):
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.pairs = Pairs()

    def construct(self, embedding: ms.Tensor, labels: ms.Tensor) -> ms.Tensor:
        """``(N, D)``, ``(N,)`` int32 -> mean over the anchors with a positive and a negative."""
        cosine, positive, negative = self.pairs(embedding, labels)
        fixed = ops.stop_gradient(cosine)
        pull = ops.maximum(1 + self.margin - fixed, 0.0) * (cosine - (1 - self.margin))
        push = ops.maximum(fixed + self.margin, 0.0) * (cosine - self.margin)
        total = log_sum_exp(-self.scale * pull, positive) + log_sum_exp(self.scale * push, negative)
        valid = ops.cast((positive.sum(axis=1) > 0), ms.float32)
        valid = valid * ops.cast(negative.sum(axis=1) > 0, ms.float32)
        total = total * valid
        # log(1 + exp(x)), written so that exp never overflows.
        loss = ops.maximum(total, 0.0) + ops.log1p(ops.exp(-ops.abs(total)))
        return (loss * valid).sum() / ops.maximum(valid.sum(), 1.0)


class SupervisedContrastive(nn.Cell):
    """Every positive of an anchor against all others of the batch, by softmax.

    Args:
        temperature: Cosines are divided by it.

    Source: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, eq. 2 (the sum outside).
    """

    def __init__(self, temperature: float = 0.1):
        super().__init__()
        self.temperature = temperature
        self.pairs = Pairs()

    def construct(self, embedding: ms.Tensor, labels: ms.Tensor) -> ms.Tensor:
        """``(N, D)``, ``(N,)`` int32 -> mean over the anchors with a positive."""
        cosine, positive, negative = self.pairs(embedding, labels)
        logits = cosine / self.temperature
        others = positive + negative
        log_share = logits - log_sum_exp(logits, others).reshape((-1, 1))
        count = positive.sum(axis=1)
        valid = ops.cast(count > 0, ms.float32)
        # Masked before the product: an anchor without others has shares that are not finite.
        log_share = ops.select(positive > 0, log_share, ops.zeros_like(log_share))
        loss = -log_share.sum(axis=1) / ops.maximum(count, 1.0)
        return loss.sum() / ops.maximum(valid.sum(), 1.0)


def log_sum_exp(values: ms.Tensor, mask: ms.Tensor) -> ms.Tensor:
    """``(N,)`` log of the sums of the exponentials of ``(N, M)`` values where ``mask`` is 1.

    A row without any gives a large negative number.
    """
    masked = values * mask - _FAR * (1 - mask)
    largest = ops.stop_gradient(masked.max(axis=1, keepdims=True))
    total = (ops.exp(masked - largest) * mask).sum(axis=1)
    return ops.log(ops.maximum(total, _EPSILON)) + largest.reshape((-1,))
