"""MultiTaskNet: vehicle identity, colour and type from a crop and its pose (PAMTRI, ICCV 2019)."""

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import Normal

from mtn_core.config import ModelConfig
from mtn_core.errors import ConfigError
from mtn_core.models.backbones import create_backbone, num_features
from mtn_core.models.parts import PARTS_WIDTH, PartHead, PartMasks
from mtn_core.vehicle import NUM_KEYPOINTS, NUM_PARTS

EMBEDDING_SIZE = 1024
ATTRIBUTE_SIZE = 512
KEYPOINT_VALUES = 3 * NUM_KEYPOINTS
LEAKY_SLOPE = 0.01


class GeM(nn.Cell):
    """Generalised-mean pooling with a learnt exponent (Radenovic et al., TPAMI 2018, eq. 3)."""

    def __init__(self, exponent: float = 3.0, epsilon: float = 1e-6):
        super().__init__()
        self.exponent = ms.Parameter(ms.Tensor([exponent], ms.float32), name="exponent")
        self.epsilon = epsilon

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) -> (N, C), float32."""
        # Powers of half-precision activations overflow, and the clamp's limit would vanish in it.
        x = ops.maximum(ops.cast(x, ms.float32), self.epsilon)
        # Relative to the largest value: a clamped channel to the power of 7 would vanish in
        # float32, and the root's slope there be infinite.
        largest = ops.amax(x, (2, 3), keepdims=True)
        mean = ops.pow(x / largest, self.exponent).mean((2, 3))
        return largest.reshape(mean.shape) * ops.pow(mean, 1 / self.exponent)


class MultiTaskNet(nn.Cell):
    """A backbone on RGB and pose maps, keypoints joined to its pooled features, three heads.

    Args:
        config: What the network sees and how it is built; ``num_ids`` must be known.

    Raises:
        ConfigError: ``num_ids`` is 0.
        ModuleNotFoundError: The backbone needs MindCV, which is not installed.

    Source: Tang et al., "PAMTRI: Pose-Aware Multi-Task Learning for Vehicle Re-Identification",
    ICCV 2019, section 3.2.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        if config.num_ids < 1:
            raise ConfigError("model.num_ids must be the number of training ids, got 0")
        self.config = config
        self.use_keypoints = config.keypoints
        self.use_attributes = config.attributes
        self.use_neck = config.neck == "bnneck"
        self.num_colors = config.num_colors
        self.num_types = config.num_types
        self.pools_parts = config.pools_parts
        self.cuts_stack = config.stem_channels != config.in_channels
        self.stem_channels = config.stem_channels
        self.backbone = create_backbone(config)
        self.pool = GeM() if config.pooling == "gem" else None
        joined = num_features(config) + KEYPOINT_VALUES * config.keypoints
        self.fc_id = _dense(joined, EMBEDDING_SIZE)
        self.neck = nn.BatchNorm1d(EMBEDDING_SIZE) if self.use_neck else None
        if self.neck is not None:
            # Luo et al. fix the shift at zero, so that features stay centred for cosine distance.
            self.neck.beta.requires_grad = False
        self.classifier_id = _classifier(EMBEDDING_SIZE, config.num_ids, not self.use_neck)
        if config.attributes:
            self.fc_color = _dense(joined, ATTRIBUTE_SIZE)
            self.classifier_color = _classifier(ATTRIBUTE_SIZE, config.num_colors)
            self.fc_type = _dense(joined, ATTRIBUTE_SIZE)
            self.classifier_type = _classifier(ATTRIBUTE_SIZE, config.num_types)
        if config.pools_parts:
            self.part_masks = PartMasks(config)
            self.parts = PartHead(num_features(config), config.num_ids)
        self.leaky_relu = nn.LeakyReLU(LEAKY_SLOPE)

    def construct(self, image_stack: ms.Tensor, keypoints: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """Run the network.

        Args:
            image_stack: ``(N, in_channels, H, W)`` float32: RGB, heatmaps, segments, normalised.
            keypoints: ``(N, 108)`` float32: x/width-0.5, y/height-0.5, confidence-0.5 per keypoint.

        Returns:
            ``id_logits (N, num_ids)``, ``color_logits (N, num_colors)``, ``type_logits
            (N, num_types)``, ``embedding (N, 1024)``. With a neck, the embedding is the feature
            before it while training (for the triplet loss) and the one behind it otherwise.
            Without attribute heads their logits are zeros. With parts, the embedding is one as
            :mod:`mtn_core.metrics.covisible` describes, and while training there is a fifth
            output, the identity logits of the parts.
        """
        feature_map = self.backbone(self.backbone_input(image_stack))
        features = feature_map.mean((2, 3)) if self.pool is None else self.pool(feature_map)
        pooled = features
        if self.use_keypoints:
            features = ops.cat((features, ops.cast(keypoints, features.dtype)), axis=1)
        embedding = self.leaky_relu(self.fc_id(features))
        if self.neck is not None:
            centred = self.neck(embedding)
            id_logits = self.classifier_id(centred)
            if not self.training:
                embedding = centred
        else:
            id_logits = self.classifier_id(embedding)
        part_logits = id_logits
        if self.pools_parts:
            parts, areas, part_logits = self.parts(
                feature_map, self.part_masks(image_stack), pooled
            )
            embedding = ops.cat((ops.cast(embedding, ms.float32), parts, areas), axis=1)
        if self.use_attributes:
            color_logits = self.classifier_color(self.leaky_relu(self.fc_color(features)))
            type_logits = self.classifier_type(self.leaky_relu(self.fc_type(features)))
        else:
            # Derived from the batch, so that an exported graph keeps a free batch size.
            zero = embedding[:, :1] * 0
            color_logits = ops.tile(zero, (1, self.num_colors))
            type_logits = ops.tile(zero, (1, self.num_types))
        if self.pools_parts and self.training:
            return id_logits, color_logits, type_logits, embedding, part_logits
        return id_logits, color_logits, type_logits, embedding

    def backbone_input(self, image_stack: ms.Tensor) -> ms.Tensor:
        """The channels of the stack that the backbone sees."""
        return image_stack[:, : self.stem_channels] if self.cuts_stack else image_stack

    def backbone_parameters(self) -> list[ms.Parameter]:
        """Parameters of the pretrained part, which a frozen warm-up leaves alone."""
        return list(self.backbone.trainable_params())


def embedding_width(config: ModelConfig) -> int:
    """Number of values of an embedding; the global one comes first."""
    return EMBEDDING_SIZE + (PARTS_WIDTH + NUM_PARTS) * config.pools_parts


def _dense(in_channels: int, out_channels: int) -> nn.Dense:
    # MindSpore's default, uniform in 1/sqrt(fan_in), is PyTorch's too.
    return nn.Dense(in_channels, out_channels)


def _classifier(in_channels: int, num_classes: int, has_bias: bool = True) -> nn.Dense:
    bias = {"bias_init": "zeros"} if has_bias else {"has_bias": False}
    return nn.Dense(in_channels, num_classes, weight_init=Normal(0.001), **bias)
