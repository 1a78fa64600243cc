"""ResNet-50 from MindCV, for any number of input channels, plain or with IBN-a's norms.

Needs MindCV, whose import fails where it is not installed; whoever may do without imports this
where it is used.
"""

import mindspore as ms
from mindcv.models import resnet
from mindspore import nn

from mtn_core.models.ibn import InstanceBatchNorm2d
from mtn_core.models.stem import RGB_CHANNELS, widened_stem


class Block(resnet.Bottleneck):
    """MindCV's block with a sum that makes a new tensor: ONNX has none that changes one."""

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) -> (N, 4 * channels, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        identity = x if self.down_sample is None else self.down_sample(x)
        return self.relu(self.bn3(self.conv3(out)) + identity)


class ResNet50(nn.Cell):
    """The convolutional part of MindCV's ResNet-50; parameters have the names of its checkpoints.

    Args:
        in_channels: Channels of the input; 3 for RGB alone.
        last_stride: Stride of the last stage; 1 doubles the size of the final feature map
            (Luo et al., "Bag of Tricks", CVPRW 2019).
        ibn: Put :class:`InstanceBatchNorm2d` for the first norm of each block of the first three
            stages, which is ResNet-50-IBN-a.

    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """

    def __init__(self, in_channels: int = RGB_CHANNELS, last_stride: int = 2, ibn: bool = False):
        super().__init__()
        whole = resnet.ResNet(Block, [3, 4, 6, 3], num_classes=1, in_channels=in_channels)
        if in_channels > RGB_CHANNELS:
            whole.conv1.weight.set_data(widened_stem(whole.conv1.weight.shape))
        if last_stride == 1:
            first = whole.layer4[0]
            first.conv2 = _at_stride_1(first.conv2)
            first.down_sample[0] = _at_stride_1(first.down_sample[0])
        if ibn:
            for stage in (whole.layer1, whole.layer2, whole.layer3):
                for block in stage:
                    block.bn1 = InstanceBatchNorm2d(block.conv1.out_channels)
        self.conv1, self.bn1, self.relu = whole.conv1, whole.bn1, whole.relu
        self.max_pool = whole.max_pool
        self.layer1, self.layer2 = whole.layer1, whole.layer2
        self.layer3, self.layer4 = whole.layer3, whole.layer4

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, in_channels, H, W) -> (N, 2048, H / 32, W / 32); H / 16 at last_stride 1."""
        x = self.max_pool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def _at_stride_1(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same convolution, weights included; a cell's stride cannot be changed once it is made."""
    return nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,
        1,
        pad_mode=convolution.pad_mode,
        padding=convolution.padding,
        weight_init=ms.Tensor(convolution.weight.asnumpy()),
    )
