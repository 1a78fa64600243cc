"""The convolutional networks that MultiTaskNet can stand on."""

from mindspore import nn

from mtn_core.config import ModelConfig
from mtn_core.models import densenet

_RESNET_FEATURES = 2048


def create_backbone(config: ModelConfig) -> nn.Cell:
    """``model.backbone``: ``(N, stem_channels, H, W)`` -> ``(N, num_features(config), h, w)``.

    Raises:
        ModuleNotFoundError: ResNets need MindCV, which is not installed.
    """
    if config.backbone == "densenet121":
        return densenet.DenseNet121(config.stem_channels, config.last_stride)
    # Imports MindCV, which most do without.
    from mtn_core.models import resnet

    ibn = config.backbone == "resnet50_ibn_a"
    return resnet.ResNet50(config.stem_channels, config.last_stride, ibn)


def num_features(config: ModelConfig) -> int:
    """Channels of the last feature map."""
    return densenet.NUM_FEATURES if config.backbone == "densenet121" else _RESNET_FEATURES
