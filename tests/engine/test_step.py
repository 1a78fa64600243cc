"""The update rule against NumPy; what mixed precision and freezing do to it."""

import mindspore as ms
import numpy as np
import pytest
from toy import ToyForward, ToyTask

from mtn_core.config import OptimConfig
from mtn_core.engine.step import TrainStep


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)]


def make(task, config, rates=None, **options):
    rates = np.full(10, config.learning_rate, np.float32) if rates is None else rates
    return TrainStep(
        task.forward, task.network, task.backbone_parameters(), config, rates, 2, **options
    )


@pytest.fixture(params=["two graphs", "one graph"])
def graphs(request, monkeypatch):
    """Every training step of the test, as it is and with gradients and update joined."""
    if request.param == "one graph":
        plain = TrainStep.__init__

        def joined(step, *arguments, **options):
            plain(step, *arguments, **options)
            step.use_one_graph()

        monkeypatch.setattr(TrainStep, "__init__", joined)


def weights(task):
    return {p.name: p.asnumpy().copy() for p in task.network.trainable_params()}


def state_of(step):
    # Copies: MindSpore's arrays may be the parameters' own memory.
    return {name: value.copy() for name, value in step.state().items()}


def numpy_gradients(values, x, y):
    w1, b1, w2, b2 = values
    hidden = x @ w1.T + b1
    active = np.maximum(hidden, 0)
    difference = active @ w2.T + b2 - y
    out = 2 * difference / difference.size
    back = (out @ w2) * (hidden > 0)
    return [back.T @ x, back.sum(0), out.T @ active, out.sum(0)]


def numpy_adam(values, gradients_of, steps, rates, decay, clip=None):
    values = [v.astype(np.float64) for v in values]
    first = [np.zeros_like(v) for v in values]
    second = [np.zeros_like(v) for v in values]
    for t in range(steps):
        gradients = gradients_of(values)
        if clip:
            norm = np.sqrt(sum((g**2).sum() for g in gradients))
            gradients = [g * min(1, clip / (norm + 1e-6)) for g in gradients]
        for i, g in enumerate(gradients):
            g = g + (decay if values[i].ndim > 1 else 0) * values[i]
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g**2
            rate = rates[t] * np.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1))
            values[i] = values[i] - rate * first[i] / (np.sqrt(second[i]) + 1e-8)
    return values


@pytest.mark.parametrize("clip", [None, 0.05])
def test_three_steps_equal_numpy_adam_with_decay_on_matrices_only(device, graphs, clip):
    task, inputs = ToyTask(), batch()
    config = OptimConfig(learning_rate=1e-2, weight_decay=0.1, clip_norm=clip)
    rates = np.array([1e-2, 5e-3, 1e-3], np.float32)
    before = list(weights(task).values())
    step = make(task, config, rates)
    for i in range(3):
        step.run(inputs, i)
    expected = numpy_adam(before, lambda v: numpy_gradients(v, *inputs), 3, rates, 0.1, clip)
    for got, wanted in zip(weights(task).values(), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_biases_do_not_decay_unless_asked_to(device):
    zero = [np.zeros((4, 6), np.float32), np.zeros((4, 2), np.float32)]
    for decayed in (False, True):
        task = ToyTask()
        for parameter in task.network.trainable_params():
            parameter.set_data(parameter + 0.5)
        bias = task.network[0].bias
        config = OptimConfig(learning_rate=1e-2, weight_decay=1.0, decay_norm_and_bias=decayed)
        task.network[2].weight.set_data(task.network[2].weight * 0)
        task.network[2].bias.set_data(task.network[2].bias * 0)
        before = bias.asnumpy().copy()
        make(task, config).run(zero, 0)
        assert np.array_equal(before, bias.asnumpy()) is not decayed


def test_the_frozen_warm_up_leaves_the_backbone_alone_and_then_lets_it_go(device, graphs):
    task = ToyTask()
    config = OptimConfig(learning_rate=1e-2, weight_decay=0.1, freeze_epochs=1)
    step = make(task, config)
    start = weights(task)
    for i in range(2):
        step.run(batch(i), i)
    frozen = weights(task)
    np.testing.assert_array_equal(frozen["0.weight"], start["0.weight"])
    assert not np.array_equal(frozen["2.weight"], start["2.weight"])
    step.run(batch(2), 2)
    assert not np.array_equal(weights(task)["0.weight"], start["0.weight"])


def test_amsgrad_keeps_the_largest_second_moment(device):
    """After a large gradient, AMSGrad goes on with small steps; Adam recovers."""
    moved = {}
    for amsgrad in (False, True):
        task = ToyTask()
        config = OptimConfig(learning_rate=1e-2, weight_decay=0, amsgrad=amsgrad)
        step = make(task, config, np.full(400, 1e-2, np.float32))
        x, y = batch()
        step.run([100 * x, y], 0)
        for i in range(1, 300):
            step.run([0.01 * x, y], i)
        before = weights(task)["0.weight"]
        for i in range(300, 310):
            step.run([0.01 * x, y], i)
        moved[amsgrad] = np.abs(weights(task)["0.weight"] - before).max()
    assert moved[True] < 0.9 * moved[False]


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("poisoned", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing(device, graphs, value, poisoned, amsgrad):
    """Not the first step either, where Adam's correction for the start divides by nothing."""
    task = ToyTask()
    step = make(task, OptimConfig(ema_decay=0.9, weight_decay=0.1, amsgrad=amsgrad))
    for i in range(poisoned):
        step.run(batch(), i)
    before, state = weights(task), state_of(step)
    x, y = batch(1)
    x[0, 0] = value
    result = step.run([x, y], poisoned)
    assert not result.applied and not np.isfinite(result.grad_norm)
    for name, values in weights(task).items():
        np.testing.assert_array_equal(values, before[name])
    for name, values in state_of(step).items():
        np.testing.assert_array_equal(values, state[name])


def test_a_skipped_step_leaves_no_trace_in_those_that_follow(device, graphs):
    config = OptimConfig(learning_rate=1e-2, weight_decay=0.1, clip_norm=0.5)
    found = []
    for poisoned in (False, True):
        task = ToyTask()
        step = make(task, config)
        step.run(batch(), 0)
        if poisoned:
            x, y = batch(1)
            assert not step.run([np.float32(np.inf) * x, y], 0).applied
        step.run(batch(2), 1)
        found.append(weights(task))
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])


def test_what_the_host_sets_between_steps_reaches_the_graph(device, graphs):
    """A branch in the graph once went on with the values that it was compiled with."""
    task = ToyTask()
    step = make(task, OptimConfig(learning_rate=1e-2, weight_decay=0))
    step.run(batch(), 0)
    before, state = weights(task), state_of(step)
    step.run(batch(1), 1)
    after = weights(task)
    for parameter in task.network.trainable_params():
        parameter.set_data(ms.Tensor(before[parameter.name]))
    step.load_state(state)
    step.run(batch(1), 1)
    for name, values in weights(task).items():
        np.testing.assert_array_equal(values, after[name])


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_an_overflow_halves_the_loss_scale_and_undoes_itself_once(device, level):
    task = ToyTask()
    step = make(task, OptimConfig(learning_rate=1e-2, weight_decay=0), amp_level=level)
    scale = step.loss_scale
    x, y = batch()
    y[0, 0] = 1e4  # its square is beyond float16
    before = weights(task)
    assert not step.run([x, np.float32(1e30) * y], 0).applied
    assert step.loss_scale == scale / 2
    for name, value in weights(task).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("level", ["O2", "O3"])
def test_the_loss_scale_does_not_change_the_step(device, level):
    """The seed's port left 64 times the gradient; here O2 and O3 take O0's step."""
    results = {}
    for amp_level in ("O0", level):
        task = ToyTask()
        config = OptimConfig(learning_rate=1e-2, weight_decay=0.1)
        step = make(task, config, amp_level=amp_level)
        for i in range(4):
            result = step.run(batch(i), i)
            while not result.applied:
                result = step.run(batch(i), i)
        results[amp_level] = result, weights(task)
    assert results[level][0].grad_norm == pytest.approx(results["O0"][0].grad_norm, rel=2e-2)
    for name, value in results["O0"][1].items():
        np.testing.assert_allclose(results[level][1][name], value, atol=3e-3)


def test_averages_follow_the_weights(device):
    task = ToyTask()
    step = make(task, OptimConfig(learning_rate=1e-2, ema_decay=0.5))
    expected = weights(task)
    for i in range(4):
        step.run(batch(i), i)
        decay = min(0.5, (1 + i) / (10 + i))
        expected = {n: decay * expected[n] + (1 - decay) * v for n, v in weights(task).items()}
    for name, value in step.evaluation_weights().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-7)


def test_state_continues_bit_for_bit(device):
    config = OptimConfig(learning_rate=1e-2, ema_decay=0.9)
    through = ToyTask()
    step = make(through, config)
    for i in range(6):
        step.run(batch(i), i)
    first = ToyTask()
    half = make(first, config)
    for i in range(3):
        half.run(batch(i), i)
    second = ToyTask()
    rest = make(second, config)
    from mtn_core.models.checkpoint import load_weights, network_weights

    load_weights(second.network, network_weights(first.network), "test")
    rest.load_state(half.state())
    for i in range(3, 6):
        rest.run(batch(i), i)
    for name, value in weights(through).items():
        np.testing.assert_array_equal(weights(second)[name], value)


def test_toy_forward_is_the_mean_square(device):
    task = ToyTask()
    x, y = batch()
    loss, _ = ToyForward(task.network)(ms.Tensor(x), ms.Tensor(y))
    w1, b1, w2, b2 = weights(task).values()
    out = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2
    assert float(loss.asnumpy()) == pytest.approx(((out - y) ** 2).mean(), rel=1e-5)
