"""PoseEstNet: HRNet with one heatmap per keypoint (Sun et al., CVPR 2019).

Cells are named as the modules of the PyTorch original, so that converting a checkpoint renames
only what MindSpore calls differently (batch norm).
"""

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import Normal

from mtn_core.models.layers import convolution
from mtn_core.normalisation import IMAGE_MEAN, IMAGE_STD
from mtn_core.pose.config import PoseModelConfig

STEM_CHANNELS = 64
BOTTLENECK_EXPANSION = 4
_HEAD_STD = 0.001


def _conv_norm(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> list:
    return [
        convolution(in_channels, out_channels, kernel_size, stride),
        nn.BatchNorm2d(out_channels),
    ]


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions with a shortcut (He et al., CVPR 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.bn1 = _conv_norm(channels, channels, 3)
        self.conv2, self.bn2 = _conv_norm(channels, channels, 3)
        self.relu = nn.ReLU()

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) -> the same shape."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class Bottleneck(nn.Cell):
    """1x1, 3x3, 1x1 convolutions with a shortcut; four times as many channels come out."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        out_channels = channels * BOTTLENECK_EXPANSION
        self.conv1, self.bn1 = _conv_norm(in_channels, channels, 1)
        self.conv2, self.bn2 = _conv_norm(channels, channels, 3)
        self.conv3, self.bn3 = _conv_norm(channels, out_channels, 1)
        self.relu = nn.ReLU()
        self.downsample = (
            nn.SequentialCell(_conv_norm(in_channels, out_channels, 1))
            if in_channels != out_channels
            else nn.Identity()
        )

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, in_channels, H, W) -> (N, 4 * channels, H, W)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class _Enlarge(nn.Cell):
    """Nearest-neighbour upsampling by a whole factor.

    Repeating by broadcast exports to ONNX without a size in the graph, so the batch stays free.
    """

    def __init__(self, factor: int, channels: int, size: int):
        super().__init__()
        self.inner = (-1, channels, size, 1, size, 1)
        self.ones = ms.Tensor(1.0, ms.float32).broadcast_to((1, 1, 1, factor, 1, factor))
        self.outer = (-1, channels, size * factor, size * factor)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        return (x.reshape(self.inner) * ops.cast(self.ones, x.dtype)).reshape(self.outer)


class ExchangeModule(nn.Cell):
    """Parallel branches of basic blocks, then every branch receives the sum of all.

    Args:
        channels: Channels of each branch, finest first.
        size: Side of the finest branch's maps.
        blocks: Basic blocks in a branch.
        num_outputs: Branches that are fused; the last module only needs the finest.
    """

    def __init__(self, channels: list[int], size: int, blocks: int, num_outputs: int):
        super().__init__()
        self.branches = nn.CellList(
            [nn.SequentialCell([BasicBlock(c) for _ in range(blocks)]) for c in channels]
        )
        self.fuse_layers = nn.CellList(
            [
                nn.CellList([_fuse_path(channels, size, j, i) for j in range(len(channels))])
                for i in range(num_outputs)
            ]
        )
        self.relu = nn.ReLU()

    def construct(self, inputs: tuple) -> tuple:
        """Branch features, finest first -> as many as ``num_outputs``."""
        features: tuple[ms.Tensor, ...] = ()
        for i, branch in enumerate(self.branches):
            features += (branch(inputs[i]),)
        outputs: tuple[ms.Tensor, ...] = ()
        for paths in self.fuse_layers:
            total = paths[0](features[0])
            for i in range(1, len(features)):
                total = total + paths[i](features[i])
            outputs += (self.relu(total),)
        return outputs


def _fuse_path(channels: list[int], size: int, source: int, target: int) -> nn.Cell:
    """What turns the features of branch ``source`` into an addend of branch ``target``."""
    if source == target:
        return nn.Identity()
    if source > target:
        factor = 2 ** (source - target)
        return nn.SequentialCell(
            *_conv_norm(channels[source], channels[target], 1),
            _Enlarge(factor, channels[target], size // 2**source),
        )
    steps = []
    for step in range(source, target):
        last = step == target - 1
        layers = _conv_norm(channels[source], channels[target if last else source], 3, 2)
        steps.append(nn.SequentialCell(layers if last else [*layers, nn.ReLU()]))
    return nn.SequentialCell(steps)


class PoseEstNet(nn.Cell):
    """HRNet: the finest resolution is kept throughout and exchanges with coarser branches.

    Args:
        config: Width, depth, input size and number of keypoints.

    Source: Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation",
    CVPR 2019, section 3; 36 vehicle keypoints as in PAMTRI, ICCV 2019, section 3.1.
    """

    def __init__(self, config: PoseModelConfig):
        super().__init__()
        self.config = config
        widths = [config.width * 2**i for i in range(4)]
        size = config.heatmap_size
        self.conv1, self.bn1 = _conv_norm(3, STEM_CHANNELS, 3, 2)
        self.conv2, self.bn2 = _conv_norm(STEM_CHANNELS, STEM_CHANNELS, 3, 2)
        self.relu = nn.ReLU()
        expanded = STEM_CHANNELS * BOTTLENECK_EXPANSION
        self.layer1 = nn.SequentialCell(
            [Bottleneck(STEM_CHANNELS if i == 0 else expanded, STEM_CHANNELS) for i in range(4)]
        )
        before = [expanded]
        for stage, num_modules in zip((2, 3, 4), config.modules, strict=True):
            channels = widths[:stage]
            setattr(self, f"transition{stage - 1}", _transition(before, channels))
            modules = []
            for i in range(num_modules):
                is_last = stage == 4 and i == num_modules - 1
                outputs = 1 if is_last else stage
                modules.append(ExchangeModule(channels, size, config.blocks, outputs))
            setattr(self, f"stage{stage}", nn.SequentialCell(modules))
            before = channels
        self.final_layer = nn.Conv2d(
            config.width,
            config.num_keypoints,
            1,
            has_bias=True,
            weight_init=Normal(_HEAD_STD),
            bias_init="zeros",
        )

    def construct(self, image: ms.Tensor) -> ms.Tensor:
        """Predict heatmaps.

        Args:
            image: ``(N, 3, S, S)`` float32 RGB with ImageNet mean and deviation.

        Returns:
            ``(N, num_keypoints, S / 4, S / 4)`` float32; the peak's place is the keypoint, its
            height the confidence.
        """
        x = self.relu(self.bn1(self.conv1(image)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        features = self.stage2((self.transition1[0](x), self.transition1[1](x)))
        new = self.transition2[2](features[1])
        features = self.stage3((features[0], features[1], new))
        new = self.transition3[3](features[2])
        features = self.stage4((features[0], features[1], features[2], new))
        return self.final_layer(features[0])


def _transition(before: list[int], channels: list[int]) -> nn.CellList:
    """Cells that give stage inputs of ``channels`` from the outputs of the stage before."""
    cells = []
    for i, width in enumerate(channels):
        if i >= len(before):
            # The original nests the stride-2 convolution once more, one level per halving.
            step = nn.SequentialCell([*_conv_norm(before[-1], width, 3, 2), nn.ReLU()])
            cells.append(nn.SequentialCell([step]))
        elif before[i] != width:
            cells.append(nn.SequentialCell([*_conv_norm(before[i], width, 3), nn.ReLU()]))
        else:
            cells.append(nn.Identity())
    return nn.CellList(cells)


class PoseInput(nn.Cell):
    """Pixels to what the network sees: channels first, ImageNet mean and deviation."""

    def __init__(self):
        super().__init__()
        self.mean = ms.Tensor([255 * m for m in IMAGE_MEAN], ms.float32).reshape((1, 3, 1, 1))
        self.scale = ms.Tensor([1 / (255 * s) for s in IMAGE_STD], ms.float32).reshape((1, 3, 1, 1))

    def construct(self, image: ms.Tensor) -> ms.Tensor:
        """(N, S, S, 3) uint8 RGB -> (N, 3, S, S) float32."""
        return (ops.cast(image, ms.float32).transpose((0, 3, 1, 2)) - self.mean) * self.scale
