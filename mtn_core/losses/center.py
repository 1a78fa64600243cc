"""Centre loss: embeddings of an identity are drawn to their moving centre."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops


class CenterLoss(nn.Cell):
    """Half the squared distance of every embedding to the centre of its identity.

    The centres are no weights of the network: they follow the embeddings while training, and
    belong to the training state. No gradient flows into them.

    Args:
        num_ids: Identities.
        width: Of an embedding.
        rate: How fast centres follow.

    Source: Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition",
        ECCV 2016, eq. 2, and eq. 4 for the centres.
    """

    def __init__(self, num_ids: int, width: int, rate: float = 0.5):
        super().__init__()
        self.rate = rate
        self.num_ids = num_ids
        zeros = ms.Tensor(np.zeros((num_ids, width), np.float32))
        self.centers = ms.Parameter(zeros, name="centers", requires_grad=False)

    def construct(self, embedding: ms.Tensor, labels: ms.Tensor) -> ms.Tensor:
        """``(N, D)``, ``(N,)`` int32, -1 unknown -> mean over the known rows."""
        embedding = ops.cast(embedding, ms.float32)
        member = ops.one_hot(labels, self.num_ids, ms.Tensor(1.0), ms.Tensor(0.0))
        known = ops.cast(labels >= 0, ms.float32)
        member = member * known.reshape((-1, 1))
        difference = embedding - ops.matmul(member, self.centers)
        squares = (difference * difference).sum(axis=1) * known
        loss = squares.sum() / ops.maximum(2 * known.sum(), 1.0)
        if self.training:
            fixed = ops.stop_gradient(difference)
            count = member.sum(axis=0).reshape((-1, 1))
            step = ops.matmul(member.T, fixed) / (1 + count)
            # A batch that overflows must not end in the centres.
            step = ops.select(ops.isfinite(step), step, ops.zeros_like(step))
            loss = ops.depend(loss, ops.assign_add(self.centers, self.rate * step))
        return loss
