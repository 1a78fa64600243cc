"""A DenseNet whose cells are nested and named as MindCV's, for checkpoints like theirs."""

from collections import OrderedDict

from mindspore import nn, ops


class Layer(nn.Cell):
    def __init__(self, channels):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 128, 1)
        self.norm2 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128, 32, 3, pad_mode="pad", padding=1)

    def construct(self, x):
        x = self.conv1(ops.relu(self.norm1(x)))
        return self.conv2(ops.relu(self.norm2(x)))


class Block(nn.Cell):
    def __init__(self, depth, channels):
        super().__init__()
        self.cell_list = nn.CellList([Layer(channels + 32 * i) for i in range(depth)])

    def construct(self, x):
        for layer in self.cell_list:
            x = ops.cat((x, layer(x)), axis=1)
        return x


class Transition(nn.Cell):
    def __init__(self, channels):
        super().__init__()
        parts = [
            ("norm", nn.BatchNorm2d(channels)),
            ("relu", nn.ReLU()),
            ("conv", nn.Conv2d(channels, channels // 2, 1)),
            ("pool", nn.AvgPool2d(2, 2)),
        ]
        self.features = nn.SequentialCell(OrderedDict(parts))

    def construct(self, x):
        return self.features(x)


class MindCVDenseNet(nn.Cell):
    """DenseNet-121 by default; other depths are the larger ones of the family."""

    def __init__(self, depths=(6, 12, 24, 16)):
        super().__init__()
        stem = [nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1))), nn.MaxPool2d(3, 2)]
        cells = OrderedDict(
            conv0=nn.Conv2d(3, 64, 7, stride=2, pad_mode="pad", padding=3),
            norm0=nn.BatchNorm2d(64),
            relu0=nn.ReLU(),
            pool0=nn.SequentialCell(stem),
        )
        channels = 64
        for number, depth in enumerate(depths, start=1):
            cells[f"denseblock{number}"] = Block(depth, channels)
            channels += 32 * depth
            if number < len(depths):
                cells[f"transition{number}"] = Transition(channels)
                channels //= 2
        cells["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.SequentialCell(cells)
        self.classifier = nn.Dense(channels, 1000)

    def construct(self, x):
        return self.features(x)
