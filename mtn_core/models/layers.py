"""Cells that DenseNet and PoseEstNet build on."""

from mindspore import nn
from mindspore.common.initializer import HeNormal


def convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> nn.Conv2d:
    """A convolution without bias, padded to keep the size at stride 1, with He's initial weights.

    Shape: ``(N, in_channels, H, W)`` to ``(N, out_channels, H / stride, W / stride)``.
    """
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        pad_mode="pad",
        padding=kernel_size // 2,
        weight_init=HeNormal(mode="fan_in", nonlinearity="relu"),
    )
