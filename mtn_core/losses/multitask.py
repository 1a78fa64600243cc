"""The weighted sum that MultiTaskNet is trained on."""

import mindspore as ms
from mindspore import nn, ops

from mtn_core.config import LossConfig
from mtn_core.losses.center import CenterLoss
from mtn_core.losses.cross_entropy import SmoothedCrossEntropy
from mtn_core.losses.pairs import CircleLoss, SupervisedContrastive
from mtn_core.losses.parts import CovisibleTriplet
from mtn_core.losses.triplet import BatchHardTriplet
from mtn_core.metrics.covisible import PART_SIZE
from mtn_core.vehicle import NUM_PARTS

_EMBEDDING_SIZE = 1024  # of the global vector, as MultiTaskNet has it
_TAIL = NUM_PARTS * PART_SIZE + NUM_PARTS  # of an embedding with parts
LOSS_PARTS = (
    "loss_id",
    "loss_triplet",
    "loss_color",
    "loss_type",
    "active_triplets",
    "positive_distance",
    "negative_distance",
)


PART_LOSS_PARTS = ("loss_part_triplet", "loss_part_id")
# On the embedding, beside the triplet loss; each has a weight in the configuration.
EXTRA_LOSSES = ("circle", "contrastive", "center")


def loss_parts(config: LossConfig, pools_parts: bool) -> tuple[str, ...]:
    """Names of what :class:`MultiTaskLoss` gives beside the loss, in order."""
    extra = tuple(f"loss_{name}" for name in EXTRA_LOSSES if getattr(config, f"{name}_weight"))
    return LOSS_PARTS + extra + PART_LOSS_PARTS * pools_parts


class MultiTaskLoss(nn.Cell):
    """Identity, triplet, colour and type loss with the weights of the configuration.

    Args:
        config: The weights, and which triplet loss.
        pools_parts: The network has parts: two losses on them are added.
        num_ids: Identities that the centre loss keeps centres of.

    Source: PAMTRI, ICCV 2019, eq. 4: weights 1, 1, 0.125, 0.125.
    """

    def __init__(self, config: LossConfig, pools_parts: bool = False, num_ids: int = 0):
        super().__init__()
        self.pools_parts = pools_parts
        self.circle_weight = config.circle_weight
        self.contrastive_weight = config.contrastive_weight
        self.center_weight = config.center_weight
        self.circle = CircleLoss(config.circle_margin, config.circle_scale)
        self.contrastive = SupervisedContrastive(config.contrastive_temperature)
        if config.center_weight:
            self.center = CenterLoss(num_ids, _EMBEDDING_SIZE)
        self.part_triplet_weight = config.part_triplet_weight
        self.part_id_weight = config.part_id_weight
        self.part_triplet = CovisibleTriplet(config.margin, config.triplet == "soft")
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
        part_logits: ms.Tensor | None = None,
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """Scalar loss, and float32 values named by :func:`loss_parts`."""
        whole = embedding
        if self.pools_parts:
            embedding = whole[:, :-_TAIL]
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
        parts: tuple[ms.Tensor, ...] = (
            loss_id,
            loss_triplet,
            loss_color,
            loss_type,
            active,
            positive,
            negative,
        )
        if self.circle_weight:
            loss_circle = self.circle(embedding, pid_index)
            loss = loss + self.circle_weight * loss_circle
            parts += (loss_circle,)
        if self.contrastive_weight:
            loss_contrastive = self.contrastive(embedding, pid_index)
            loss = loss + self.contrastive_weight * loss_contrastive
            parts += (loss_contrastive,)
        if self.center_weight:
            loss_center = self.center(embedding, pid_index)
            loss = loss + self.center_weight * loss_center
            parts += (loss_center,)
        if self.pools_parts and part_logits is not None:
            vectors, areas = whole[:, -_TAIL:-NUM_PARTS], whole[:, -NUM_PARTS:]
            loss_part_triplet = self.part_triplet(vectors, areas, pid_index)
            loss_part_id = self.cross_entropy(part_logits, pid_index)
            loss = loss + self.part_triplet_weight * loss_part_triplet
            loss = loss + self.part_id_weight * loss_part_id
            parts += (loss_part_triplet, loss_part_id)
        return loss, ops.stack(parts)
