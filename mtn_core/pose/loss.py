"""Gaussian targets and the weighted squared error between them and the predicted heatmaps."""

import math

import mindspore as ms
from mindspore import nn, ops

from mtn_core.pose.config import PoseLossConfig

POSE_LOSS_PARTS = ("loss_visible", "loss_hidden")
_EPSILON = 1e-6


class GaussianTargets(nn.Cell):
    """Draws target heatmaps on the device, from four numbers a keypoint.

    Args:
        heatmap_size: Side M of the maps.
        sigma: Standard deviation in heatmap pixels.

    Source: Sun et al., CVPR 2019, section 3: 2-D Gaussians centred on the keypoint. HRNet rounds
    the centre to a whole pixel; here it stays where it is.
    """

    def __init__(self, heatmap_size: int, sigma: float):
        super().__init__()
        self.grid = ops.arange(heatmap_size).astype(ms.float32).reshape((1, 1, 1, heatmap_size))
        self.exponent = -0.5 / sigma**2

    def construct(self, target: ms.Tensor) -> ms.Tensor:
        """``(N, K, 4)`` x, y, height, weight -> ``(N, K, M, M)`` float32 in 0..1."""
        distance = self.grid - ops.expand_dims(target[:, :, :2], 3)
        bell = ops.exp(distance * distance * self.exponent)  # (N, K, 2, M)
        across = bell[:, :, 0] * target[:, :, 2:3]
        return ops.expand_dims(bell[:, :, 1], 3) * ops.expand_dims(across, 2)


class PoseLoss(nn.Cell):
    """Weighted squared error, in units of the energy of one whole Gaussian.

    Without any heatmap a visible keypoint costs 1, with a perfect one 0. The mean over pixels that
    HRNet takes is the same but for a factor of M * M / (pi * sigma ** 2), about 326: at that size
    weight decay would pull harder than the data.

    Args:
        config: Sigma; weights and heights come with the targets.
        heatmap_size: Side M of the maps.
    """

    def __init__(self, config: PoseLossConfig, heatmap_size: int):
        super().__init__()
        self.targets = GaussianTargets(heatmap_size, config.sigma)
        self.energy = math.pi * config.sigma**2

    def construct(self, heatmaps: ms.Tensor, target: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """Sum up.

        Args:
            heatmaps: ``(N, K, M, M)``, any float type.
            target: ``(N, K, 4)`` float32: x, y in heatmap pixels, height, weight.

        Returns:
            The scalar loss, a sum over keypoints divided by N * K whatever their weights, so that
            ranks may be averaged; and ``(2,)``: mean error of a visible and of a hidden keypoint.
        """
        difference = ops.cast(heatmaps, ms.float32) - self.targets(target)
        error = (difference * difference).sum((2, 3)) / self.energy
        weight = target[:, :, 3]
        visible = ops.cast(weight >= 1, ms.float32)
        hidden = ops.cast(weight > 0, ms.float32) - visible
        parts = (
            (error * visible).sum() / (visible.sum() + _EPSILON),
            (error * hidden).sum() / (hidden.sum() + _EPSILON),
        )
        return (error * weight).mean(), ops.stack(parts)
