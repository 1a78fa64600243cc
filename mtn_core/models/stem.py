"""The first filters of a backbone that sees more than RGB."""

import mindspore as ms
from mindspore.common.initializer import HeNormal, Normal, initializer

RGB_CHANNELS = 3
# Standard deviation that PAMTRI gives the stem filters of pose channels.
EXTRA_CHANNEL_STD = 0.02


def widened_stem(shape: tuple[int, int, int, int]) -> ms.Tensor:
    """Initial filters: He's for RGB as if there were nothing else, small ones for pose channels.

    Args:
        shape: ``(filters, channels, height, width)``, RGB first.
    """
    rgb = initializer(HeNormal(), (shape[0], RGB_CHANNELS, *shape[2:])).init_data()
    weight = initializer(Normal(EXTRA_CHANNEL_STD), shape).init_data().asnumpy().copy()
    weight[:, :RGB_CHANNELS] = rgb.asnumpy()
    return ms.Tensor(weight)
