"""Learning-rate schedules and the optimiser."""

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import nn

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


def create_optimizer(parameters: Sequence[ms.Parameter], config: OptimConfig) -> nn.Cell:
    """Adam (Kingma and Ba, 2015), with AMSGrad (Reddi et al., 2018) where asked for.

    The learning rate is a parameter that the training step sets, and weight decay is added to the
    gradients by the training step: there both act in one place, on the parameters meant.
    """
    return nn.Adam(
        list(parameters),
        learning_rate=config.learning_rate,
        weight_decay=0.0,
        use_amsgrad=config.amsgrad,
    )
