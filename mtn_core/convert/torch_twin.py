"""DenseNet-121 in PyTorch, without torchvision, to check converted weights against.

Parameter names are those of ``torchvision.models.densenet121().features``; so its ``state_dict`` is
what people have in their files. It is imported only where torch is installed, and never trained.
"""

import copy
from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mtn_core.errors import CheckpointError, first_offenders


class _Layer(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 128, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128, 32, kernel_size=3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], dim=1)


class _Transition(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, kernel_size=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


def create_features(in_channels: int = 3) -> nn.Sequential:
    """DenseNet-121 without its classifier: (N, C, H, W) -> (N, 1024, H / 32, W / 32).

    Source: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, table 1.
    """
    stages: list[tuple[str, nn.Module]] = [
        ("conv0", nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)),
        ("norm0", nn.BatchNorm2d(64)),
        ("relu0", nn.ReLU()),
        ("pool0", nn.MaxPool2d(kernel_size=3, stride=2, padding=1)),
    ]
    channels = 64
    for number, depth in enumerate((6, 12, 24, 16), start=1):
        layers = [(f"denselayer{i + 1}", _Layer(channels + 32 * i)) for i in range(depth)]
        stages.append((f"denseblock{number}", nn.Sequential(OrderedDict(layers))))
        channels += 32 * depth
        if number < 4:
            stages.append((f"transition{number}", _Transition(channels)))
            channels //= 2
    stages.append(("norm5", nn.BatchNorm2d(channels)))
    return nn.Sequential(OrderedDict(stages))


def load_backbone(features: nn.Sequential, arrays: dict[str, np.ndarray]) -> None:
    """Put weights under torchvision's names, without ``features.``, into ``features``.

    Files of older releases hold no batch counters; evaluation does not need them.
    """
    missing = features.load_state_dict(
        {name: torch.from_numpy(array) for name, array in arrays.items()}, strict=False
    )
    strangers = [n for n in missing.missing_keys if not n.endswith("num_batches_tracked")]
    strangers += missing.unexpected_keys
    if strangers:
        raise CheckpointError(f"missing or unexpected: {first_offenders(strangers)}")


def stage_outputs(features: nn.Sequential, image_stack: np.ndarray) -> dict[str, np.ndarray]:
    """Feature maps after every stage, ``conv0`` to ``norm5``, computed in float64."""
    features = copy.deepcopy(features).double().eval()
    x = torch.from_numpy(image_stack).double()
    outputs = {}
    with torch.no_grad():
        for name, stage in features.named_children():
            x = stage(x)
            outputs[name] = x.numpy()
    return outputs
