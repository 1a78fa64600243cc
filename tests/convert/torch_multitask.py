"""PAMTRI's MultiTaskNet in PyTorch, and its outputs beside the converted network's."""

import copy

import mindspore as ms
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from mtn_core.config import ModelConfig
from mtn_core.convert.parity import COLUMNS
from mtn_core.convert.torch_twin import create_features


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


def compare_outputs(
    expected: dict[str, np.ndarray],
    converted,
    image_stack: np.ndarray,
    keypoints: np.ndarray,
) -> pd.DataFrame:
    """Compare the outputs of the whole network; columns as above.

    Args:
        expected: The original's outputs: ``id_logits``, ``embedding`` and, where it has them,
            ``color_logits``, ``type_logits``.
        converted: The same weights, converted.
        image_stack: ``(N, C, H, W)`` float32.
        keypoints: ``(N, 108)`` float32.
    """
    converted.set_train(False)
    outputs = converted(ms.Tensor(image_stack), ms.Tensor(keypoints))
    names = ("id_logits", "color_logits", "type_logits", "embedding")
    rows = [
        [
            name,
            expected[name].shape,
            np.abs(expected[name]).max(),
            np.abs(expected[name] - output.asnumpy()).max(),
        ]
        for name, output in zip(names, outputs, strict=True)
        if name in expected
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
