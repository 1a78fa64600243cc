"""The PyTorch original, built small and without torchvision, to check converted weights against.

Parameter names are those of ``torchvision.models.densenet121().features`` and of PAMTRI's
``MultiTaskNet/torchreid/models``; so its ``state_dict`` is what people have in their files. It is
imported only where torch is installed, and never trained.
"""

import copy
from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mtn_core.config import ModelConfig
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


class TorchMultiTaskNet(nn.Module):
    """PAMTRI's network as its authors wrote it: the same four outputs as ``MultiTaskNet``.

    Args:
        config: Pooling, neck and last stride must be the defaults, which the original has.

    Source: https://github.com/NVlabs/PAMTRI, MultiTaskNet/torchreid/models.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.keypoints = config.keypoints
        self.attributes = config.attributes
        joined = 1024 + 108 * config.keypoints
        self.base = create_features(config.in_channels)
        # The original calls the only hidden layer `fc` when there are no attributes.
        self.id_layer = "fc_vid" if config.attributes else "fc"
        self.add_module(self.id_layer, nn.Linear(joined, 1024))
        self.classifier_vid = nn.Linear(1024, config.num_ids)
        if config.attributes:
            self.fc_vcolor = nn.Linear(joined, 512)
            self.fc_vtype = nn.Linear(joined, 512)
            self.classifier_vcolor = nn.Linear(512, config.num_colors)
            self.classifier_vtype = nn.Linear(512, config.num_types)

    def forward(self, x: torch.Tensor, keypoints: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, C, H, W) and (N, 108) -> id logits[, colour logits, type logits], embedding."""
        features = self.base(x)
        features = F.avg_pool2d(features, features.shape[2:]).flatten(1)
        if self.keypoints:
            features = torch.cat([features, keypoints], dim=1)
        embedding = F.leaky_relu(getattr(self, self.id_layer)(features))
        logits = [self.classifier_vid(embedding)]
        if self.attributes:
            logits.append(self.classifier_vcolor(F.leaky_relu(self.fc_vcolor(features))))
            logits.append(self.classifier_vtype(F.leaky_relu(self.fc_vtype(features))))
        return *logits, embedding


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


def named_outputs(
    network: TorchMultiTaskNet, image_stack: np.ndarray, keypoints: np.ndarray
) -> dict[str, np.ndarray]:
    """The network's outputs by our names, computed in float64."""
    network = copy.deepcopy(network).double().eval()
    names = ["id_logits", "color_logits", "type_logits", "embedding"]
    if not network.attributes:
        names = ["id_logits", "embedding"]
    with torch.no_grad():
        outputs = network(*(torch.from_numpy(x).double() for x in (image_stack, keypoints)))
    return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}
