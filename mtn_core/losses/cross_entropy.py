"""Cross entropy with label smoothing that leaves unknown labels out."""

import mindspore as ms
from mindspore import nn, ops


class SmoothedCrossEntropy(nn.Cell):
    """Cross entropy against ``(1 - s) * one_hot + s / num_classes``.

    Rows whose label is -1 count neither in the sum nor in the mean; a batch of unknown labels only
    has loss 0 and gradient 0.

    Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7.
    """

    def __init__(self, smoothing: float = 0.1):
        super().__init__()
        self.smoothing = smoothing

    def construct(self, logits: ms.Tensor, labels: ms.Tensor) -> ms.Tensor:
        """(N, C) logits and (N,) int32 labels -> scalar float32, mean over the known rows."""
        log_probabilities = ops.log_softmax(ops.cast(logits, ms.float32), axis=1)
        known = ops.cast(labels >= 0, ms.float32)
        safe = ops.maximum(labels, 0).reshape((-1, 1))
        true_class = ops.gather_d(log_probabilities, 1, safe).reshape((-1,))
        uniform = log_probabilities.mean(axis=1)
        loss = -((1 - self.smoothing) * true_class + self.smoothing * uniform)
        return (loss * known).sum() / ops.maximum(known.sum(), 1.0)
