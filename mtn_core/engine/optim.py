"""Learning-rate schedules and the optimiser."""

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mtn_core.config import OptimConfig


def learning_rates(
    config: OptimConfig, steps_per_epoch: int, epochs: int, device_target: str = "CPU"
) -> np.ndarray:
    """The learning rate of every step.

    Returns:
        ``(steps_per_epoch * epochs,)`` float32. Warm-up rises linearly from a hundredth of the
        rate; the step schedule multiplies by ``gamma`` at the start of each of ``step_epochs``; the
        cosine falls from the end of the warm-up to ``min_rate_factor`` at the last step.
    """
    base = config.learning_rate
    if device_target == "Ascend" and config.learning_rate_ascend is not None:
        base = config.learning_rate_ascend
    total = steps_per_epoch * epochs
    warmup = min(round(config.warmup_epochs * steps_per_epoch), total)
    rates = np.empty(total)
    for step in range(total):
        if step < warmup:
            factor = 0.01 + 0.99 * step / warmup
        elif config.schedule == "step":
            epoch = step // steps_per_epoch
            factor = config.gamma ** sum(epoch >= e for e in config.step_epochs)
        elif config.schedule == "cosine":
            progress = (step - warmup) / max(1, total - 1 - warmup)
            low = config.min_rate_factor
            factor = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))
        else:
            factor = 1.0
        rates[step] = base * factor
    return rates.astype(np.float32)


def decay_factors(parameters: Sequence[ms.Parameter], config: OptimConfig) -> list[float]:
    """Weight decay of each parameter: 0 for biases and batch norms unless the recipe says so.

    Those are the vectors; everything that multiplies features has two dimensions or more.
    """
    decay = config.weight_decay
    return [decay if p.ndim > 1 or config.decay_norm_and_bias else 0.0 for p in parameters]


_map = ops.HyperMap()
_moved = ops.MultitypeFuncGraph("moved")


@_moved.register("Function", *9 * ["Tensor"], "Tensor")
def _moved_one(adam, power1, power2, rate, beta1, beta2, epsilon, weight, mean, square, gradient):
    updated = adam(weight, mean, square, power1, power2, rate, beta1, beta2, epsilon, gradient)
    return ops.depend(True, updated)


@_moved.register("Function", *10 * ["Tensor"], "Tensor")
def _moved_one_by_amsgrad(
    adam, power1, power2, rate, beta1, beta2, epsilon, weight, mean, square, largest, gradient
):
    updated = adam(
        weight, mean, square, largest, power1, power2, rate, beta1, beta2, epsilon, gradient
    )
    return ops.depend(True, updated)


class SkippingAdam(nn.Adam):
    """Adam that can be told, inside a graph, to change nothing.

    Its parameters are those of ``nn.Adam``, so that checkpoints of either continue in the other.

    Source: Kingma and Ba, "Adam", ICLR 2015; Reddi et al., "On the Convergence of Adam and Beyond",
    ICLR 2018 (AMSGrad).
    """

    def construct(self, gradients, applies):
        """Update the weights where ``applies``, a bool scalar; gradients must be finite."""
        self.assignadd(self.global_step, ops.cast(applies, ms.int32).reshape((1,)))
        power1, power2 = self.beta1_power * self.beta1, self.beta2_power * self.beta2
        self.beta1_power = ops.select(applies, power1, self.beta1_power)
        self.beta2_power = ops.select(applies, power2, self.beta2_power)
        # The kernel gets powers below 1 all the same: it divides by their distance from 1.
        one = ops.ones_like(power1)
        move = ops.partial(
            _moved,
            self.opt,
            power1,
            power2,
            self.get_lr() * ops.cast(applies, ms.float32),
            ops.select(applies, self.beta1, one),
            ops.select(applies, self.beta2, one),
            self.eps,
        )
        if self.use_amsgrad:
            return _map(move, self._parameters, self.moment1, self.moment2, self.vhat, gradients)
        return _map(move, self._parameters, self.moment1, self.moment2, gradients)


def create_optimizer(parameters: Sequence[ms.Parameter], config: OptimConfig) -> nn.Cell:
    """Adam, with AMSGrad where asked for.

    The learning rate is a parameter that the training step sets, and weight decay is added to the
    gradients by the training step: there both act in one place, on the parameters meant.
    """
    return SkippingAdam(
        list(parameters),
        learning_rate=config.learning_rate,
        weight_decay=0.0,
        use_amsgrad=config.amsgrad,
    )
