"""Device side of the input: uint8 pixels and maps to the stack that the network sees."""

import mindspore as ms
from mindspore import nn, ops

from mtn_core.config import ModelConfig
from mtn_core.normalisation import IMAGE_MEAN, IMAGE_STD, MAP_MEAN, MAP_STD


class InputStack(nn.Cell):
    """Normalise the image, upsample the maps, join the channels.

    Doing this on the device keeps the host at 64x64 uint8 maps: a sample with heatmaps at 256x256
    crosses as 0.34 MB, not as 10 MB of float32.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.image_size = (config.image_size, config.image_size)
        self.use_heatmaps = config.heatmaps
        self.use_segments = config.segments
        self.mean = ms.Tensor([255 * m for m in IMAGE_MEAN], ms.float32).reshape((1, 3, 1, 1))
        self.scale = ms.Tensor([1 / (255 * s) for s in IMAGE_STD], ms.float32).reshape((1, 3, 1, 1))

    def construct(
        self,
        image: ms.Tensor,
        heatmaps: ms.Tensor | None = None,
        segments: ms.Tensor | None = None,
    ) -> ms.Tensor:
        """Build the stack.

        Args:
            image: ``(N, S, S, 3)`` uint8 RGB at network size.
            heatmaps: ``(N, 36, 64, 64)`` uint8, where the configuration uses them.
            segments: ``(N, 13, 64, 64)`` uint8, likewise.

        Returns:
            ``(N, in_channels, S, S)`` float32.
        """
        image = ops.cast(image, ms.float32).transpose((0, 3, 1, 2))
        stack = (image - self.mean) * self.scale
        if self.use_heatmaps and self.use_segments:
            maps = ops.cat((heatmaps, segments), axis=1)
            stack = ops.cat((stack, self._upsample(maps)), axis=1)
        elif self.use_heatmaps:
            stack = ops.cat((stack, self._upsample(heatmaps)), axis=1)
        elif self.use_segments:
            stack = ops.cat((stack, self._upsample(segments)), axis=1)
        return stack

    def _upsample(self, maps: ms.Tensor) -> ms.Tensor:
        maps = (ops.cast(maps, ms.float32) / 255 - MAP_MEAN) / MAP_STD
        return ops.interpolate(maps, size=self.image_size, mode="bilinear", align_corners=False)
