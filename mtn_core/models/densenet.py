"""DenseNet-121 feature extractor (Huang et al., CVPR 2017) with any number of input channels."""

import mindspore as ms
from mindspore import nn, ops

from mtn_core.models.layers import convolution
from mtn_core.models.stem import RGB_CHANNELS, widened_stem

GROWTH_RATE = 32
BOTTLENECK_WIDTH = 4
BLOCK_LAYERS = (6, 12, 24, 16)
STEM_CHANNELS = 64
NUM_FEATURES = 1024


class DenseLayer(nn.Cell):
    """BN-ReLU-conv1x1-BN-ReLU-conv3x3; its output is joined to its input."""

    def __init__(self, in_channels: int):
        super().__init__()
        width = BOTTLENECK_WIDTH * GROWTH_RATE
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = convolution(in_channels, width, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, GROWTH_RATE, 3)
        self.relu = nn.ReLU()

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) -> (N, C + 32, H, W)."""
        y = self.conv1(self.relu(self.norm1(x)))
        y = self.conv2(self.relu(self.norm2(y)))
        return ops.cat((x, y), axis=1)


class Transition(nn.Cell):
    """BN-ReLU-conv1x1 and, at stride 2, 2x2 average pooling."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 2):
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        self.conv = convolution(in_channels, out_channels, 1)
        self.pool = nn.AvgPool2d(2, 2) if stride == 2 else nn.Identity()

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) -> (N, C / 2, H / stride, W / stride)."""
        return self.pool(self.conv(self.relu(self.norm(x))))


class DenseNet121(nn.Cell):
    """The convolutional part of DenseNet-121, up to the last batch norm.

    Args:
        in_channels: Channels of the input; 3 for RGB alone.
        last_stride: Stride of the last transition; 1 doubles the size of the final feature map
            (Luo et al., "Bag of Tricks", CVPRW 2019).
    """

    def __init__(self, in_channels: int = RGB_CHANNELS, last_stride: int = 2):
        super().__init__()
        self.conv0 = convolution(in_channels, STEM_CHANNELS, 7, stride=2)
        if in_channels > RGB_CHANNELS:
            self.conv0.weight.set_data(widened_stem(self.conv0.weight.shape))
        self.norm0 = nn.BatchNorm2d(STEM_CHANNELS)
        self.relu = nn.ReLU()
        # PyTorch pads one pixel on each side; "same" would pad at the end only and shift the map.
        # Zeros serve as -inf, since nothing is negative after ReLU.
        self.pad0 = nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.pool0 = nn.MaxPool2d(3, 2)
        channels = STEM_CHANNELS
        for block, num_layers in enumerate(BLOCK_LAYERS, start=1):
            layers = [DenseLayer(channels + i * GROWTH_RATE) for i in range(num_layers)]
            # Unlike insert_child_to_cell, an attribute puts its name before its parameters'.
            setattr(self, f"denseblock{block}", nn.SequentialCell(layers))
            channels += num_layers * GROWTH_RATE
            if block < len(BLOCK_LAYERS):
                stride = last_stride if block == len(BLOCK_LAYERS) - 1 else 2
                setattr(self, f"transition{block}", Transition(channels, channels // 2, stride))
                channels //= 2
        self.norm5 = nn.BatchNorm2d(channels)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, in_channels, H, W) -> (N, 1024, H / 32, W / 32); H / 16 at last_stride 1."""
        x = self.pool0(self.pad0(self.relu(self.norm0(self.conv0(x)))))
        x = self.transition1(self.denseblock1(x))
        x = self.transition2(self.denseblock2(x))
        x = self.transition3(self.denseblock3(x))
        x = self.denseblock4(x)
        return self.norm5(x)
