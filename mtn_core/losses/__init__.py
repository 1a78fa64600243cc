"""Losses of the multi-task training, all computed in float32."""

from mtn_core.losses.center import CenterLoss
from mtn_core.losses.cross_entropy import SmoothedCrossEntropy
from mtn_core.losses.multitask import LOSS_PARTS, MultiTaskLoss, loss_parts
from mtn_core.losses.pairs import CircleLoss, SupervisedContrastive
from mtn_core.losses.parts import CovisibleTriplet
from mtn_core.losses.triplet import BatchHardTriplet

__all__ = [
    "LOSS_PARTS",
    "BatchHardTriplet",
    "CenterLoss",
    "CircleLoss",
    "CovisibleTriplet",
    "MultiTaskLoss",
    "SmoothedCrossEntropy",
    "SupervisedContrastive",
    "loss_parts",
]
