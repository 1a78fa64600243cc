"""IBN-a: one norm for what the whole image looks like, one for what is in it."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops


class InstanceBatchNorm2d(nn.Cell):
    """Instance norm on the first half of the channels, batch norm on the second (IBN-a).

    The one takes away what an image looks like as a whole, such as its light; the other keeps it.

    Args:
        channels: An even number.
        epsilon: What is added to the variance of an image's channel; both norms' default in PyTorch
            and MindSpore.

    Source: Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net",
        ECCV 2018, figure 3 (a).
    """

    def __init__(self, channels: int, epsilon: float = 1e-5):
        super().__init__()
        self.half = channels // 2
        self.epsilon = epsilon
        # nn.InstanceNorm2d has no kernel on the CPU.
        ones, zeros = np.ones(self.half, np.float32), np.zeros(self.half, np.float32)
        self.instance_gamma = ms.Parameter(ms.Tensor(ones), name="instance_gamma")
        self.instance_beta = ms.Parameter(ms.Tensor(zeros), name="instance_beta")
        self.norm = nn.BatchNorm2d(channels - self.half)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        # Squares of half-precision activations overflow.
        of_image = ops.cast(x[:, : self.half], ms.float32)
        centred = of_image - of_image.mean((2, 3), keep_dims=True)
        variance = (centred * centred).mean((2, 3), keep_dims=True)
        scaled = centred / ops.sqrt(variance + self.epsilon)
        # Three dimensions: where an export frees the batch size, a leading 1 is taken for it.
        gamma = self.instance_gamma.reshape((self.half, 1, 1))
        beta = self.instance_beta.reshape((self.half, 1, 1))
        of_image = ops.cast(scaled * gamma + beta, x.dtype)
        return ops.cat((of_image, self.norm(x[:, self.half :])), axis=1)
