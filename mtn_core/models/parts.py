"""Pooling by visible surfaces: where on the last feature map each face of the vehicle lies."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mtn_core.config import ModelConfig
from mtn_core.metrics.covisible import PART_SIZE
from mtn_core.normalisation import MAP_MEAN, MAP_STD
from mtn_core.vehicle import NUM_PARTS, NUM_SEGMENTS, SEGMENT_PARTS

PARTS_WIDTH = NUM_PARTS * PART_SIZE
_BACKBONE_STRIDE = {1: 16, 2: 32}  # by the stride of the last transition
# Of a crop: eight of a map's pixels, and more than the rounding of half precision makes of nothing.
_SMALLEST_AREA = 2e-3


class PartMasks(nn.Cell):
    """The segments of the image stack as five masks on the grid of the last feature map.

    A mask's value is the share of its cell that the part covers.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        # The segments of a part follow each other. Sums of slices, not a convolution: that would be
        # rounded to 8 bits where a network is exported so, and parts appear that nobody sees.
        first = config.in_channels - NUM_SEGMENTS
        segments = [first + np.flatnonzero(part == SEGMENT_PARTS) for part in range(NUM_PARTS)]
        self.ranges = tuple((int(of.min()), int(of.max()) + 1) for of in segments)
        cell = _BACKBONE_STRIDE[config.last_stride]
        self.pool = nn.AvgPool2d(cell, cell)

    def construct(self, image_stack: ms.Tensor) -> ms.Tensor:
        """(N, in_channels, H, W) normalised -> (N, 5, h, w) float32, 0..1."""
        image_stack = ops.cast(image_stack, ms.float32)
        parts: tuple[ms.Tensor, ...] = ()
        for start, stop in self.ranges:
            # Back from normalised values to 0..1.
            covered = image_stack[:, start:stop].sum(axis=1, keepdims=True)
            parts += (covered * MAP_STD + MAP_MEAN * (stop - start),)
        # Neighbouring surfaces overlap by a pixel where the upsampling blurs their edge.
        return self.pool(ops.minimum(ops.maximum(ops.cat(parts, axis=1), 0.0), 1.0))


class PartHead(nn.Cell):
    """From a feature map and masks to five part vectors and the area that each covers.

    A part that is not seen gets the features of the whole crop and area 0: nothing is compared by
    it, and the batch norm meets nothing strange.

    Args:
        num_features: Channels of the feature map.
        num_ids: Classes of the identity loss on the parts.
    """

    def __init__(self, num_features: int, num_ids: int):
        super().__init__()
        self.fc = nn.Dense(num_features, PART_SIZE)
        self.neck = nn.BatchNorm1d(PARTS_WIDTH)
        self.neck.beta.requires_grad = False
        self.classifier = nn.Dense(
            PARTS_WIDTH, num_ids, weight_init=ms.common.initializer.Normal(0.001), has_bias=False
        )
        spread = np.repeat(np.eye(NUM_PARTS, dtype=np.float32), PART_SIZE, axis=1)
        self.spread = ms.Tensor(spread)

    def construct(
        self, features: ms.Tensor, masks: ms.Tensor, pooled: ms.Tensor
    ) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor]:
        """Pool.

        Args:
            features: ``(N, num_features, h, w)``.
            masks: ``(N, 5, h, w)``.
            pooled: ``(N, num_features)`` features of the whole crop.

        Returns:
            ``(N, 5 * 256)`` part vectors, those before the neck while training; ``(N, 5)`` areas,
            shares of the crop; ``(N, num_ids)`` logits of the parts, weighted by what is seen.
        """
        parts: tuple[ms.Tensor, ...] = ()
        areas: tuple[ms.Tensor, ...] = ()
        for part in range(NUM_PARTS):
            mask = masks[:, part : part + 1]
            area = mask.mean((2, 3))
            seen = ops.cast(area > _SMALLEST_AREA, ms.float32)
            mean = (features * mask).mean((2, 3)) / ops.maximum(area, _SMALLEST_AREA)
            parts += (self.fc(seen * mean + (1 - seen) * pooled),)
            areas += (seen * area,)
        vectors = ops.cast(ops.cat(parts, axis=1), ms.float32)
        area = ops.cat(areas, axis=1)
        centred = self.neck(vectors)
        share = area / ops.maximum(area.sum(axis=1, keepdims=True), _SMALLEST_AREA)
        logits = self.classifier(centred * ops.matmul(ops.sqrt(share), self.spread))
        return (vectors if self.training else centred), area, logits
