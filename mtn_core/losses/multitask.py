"""The weighted sum that MultiTaskNet is trained on."""

import mindspore as ms
from mindspore import nn, ops

from mtn_core.config import LossConfig
from mtn_core.losses.cross_entropy import SmoothedCrossEntropy
from mtn_core.losses.triplet import BatchHardTriplet

LOSS_PARTS = (
    "loss_id",
    "loss_triplet",
    "loss_color",
    "loss_type",
    "active_triplets",
    "positive_distance",
    "negative_distance",
)


class MultiTaskLoss(nn.Cell):
    """Identity, triplet, colour and type loss with the weights of the configuration.

    Source: PAMTRI, ICCV 2019, eq. 4: weights 1, 1, 0.125, 0.125.
    """

    def __init__(self, config: LossConfig):
        super().__init__()
        self.id_weight = config.id_weight
        self.triplet_weight = config.triplet_weight
        self.color_weight = config.color_weight
        self.type_weight = config.type_weight
        self.cross_entropy = SmoothedCrossEntropy(config.label_smoothing)
        self.triplet = BatchHardTriplet(
            config.margin, config.triplet == "soft", config.distance == "cosine"
        )

    def construct(
        self,
        id_logits: ms.Tensor,
        color_logits: ms.Tensor,
        type_logits: ms.Tensor,
        embedding: ms.Tensor,
        pid_index: ms.Tensor,
        color_index: ms.Tensor,
        type_index: ms.Tensor,
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """Scalar loss, and ``(7,)`` float32 with the values named in ``LOSS_PARTS``."""
        loss_id = self.cross_entropy(id_logits, pid_index)
        loss_triplet, active, positive, negative = self.triplet(embedding, pid_index)
        loss_color = self.cross_entropy(color_logits, color_index)
        loss_type = self.cross_entropy(type_logits, type_index)
        loss = (
            self.id_weight * loss_id
            + self.triplet_weight * loss_triplet
            + self.color_weight * loss_color
            + self.type_weight * loss_type
        )
        parts = (loss_id, loss_triplet, loss_color, loss_type, active, positive, negative)
        return loss, ops.stack(parts)
