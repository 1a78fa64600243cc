import math

import numpy as np
import pytest

from mtn_core.config import OptimConfig
from mtn_core.engine.optim import learning_rates


def test_step_schedule_acts_at_its_epochs():
    config = OptimConfig(learning_rate=1.0, schedule="step", step_epochs=(2, 4), gamma=0.1)
    rates = learning_rates(config, steps_per_epoch=3, epochs=5)
    expected = [1.0] * 6 + [0.1] * 6 + [0.01] * 3
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_cosine_falls_from_the_end_of_the_warm_up_to_its_floor():
    config = OptimConfig(
        learning_rate=2.0, schedule="cosine", warmup_epochs=1, min_rate_factor=0.05
    )
    rates = learning_rates(config, steps_per_epoch=4, epochs=6)
    np.testing.assert_allclose(rates[:4], [2 * (0.01 + 0.99 * i / 4) for i in range(4)], rtol=1e-6)
    assert rates[4] == pytest.approx(2.0)
    middle = 2 * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * 10 / 19)))
    assert rates[14] == pytest.approx(middle, rel=1e-6)
    assert rates[-1] == pytest.approx(0.1)
    assert (np.diff(rates[4:]) < 0).all()


def test_ascend_has_its_own_rate():
    config = OptimConfig(learning_rate=3e-4, learning_rate_ascend=5e-4)
    assert learning_rates(config, 1, 1, "GPU")[0] == pytest.approx(3e-4)
    assert learning_rates(config, 1, 1, "Ascend")[0] == pytest.approx(5e-4)
