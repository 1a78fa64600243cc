"""One training step: gradients and, where they are finite, the update.

They are two graphs, and the host tests between them. In float32 they can be one, with the test
inside (:meth:`TrainStep.use_one_graph`), which takes 3 % more to 14 % less time, within what runs
on one machine differ by: see ``reports/benchmarks.md``.
"""

import dataclasses
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import amp, nn, ops

from mtn_core.config import OptimConfig
from mtn_core.engine.optim import create_optimizer, decay_factors
from mtn_core.errors import CheckpointError, first_offenders

_FIRST_LOSS_SCALE = 2.0**16
_LOSS_SCALE_FACTOR = 2
_LOSS_SCALE_WINDOW = 1000
_STATISTICS = ("moving_mean", "moving_variance")


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What a step gave.

    Attributes:
        loss: Unscaled.
        parts: ``(P,)`` float32, as the task names them.
        grad_norm: Norm of the gradient before clipping; not finite where the step overflowed.
        applied: Whether the weights changed.
    """

    loss: float
    parts: np.ndarray
    grad_norm: float
    applied: bool


# Graph mode unrolls a Python loop over some 370 gradients by recursion and gives up; a hyper map
# does not.
_map = ops.HyperMap()
_half_square_sum = ops.L2Loss()
_unscale = ops.MultitypeFuncGraph("unscale")
_square_sum = ops.MultitypeFuncGraph("square_sum")
_clipped = ops.MultitypeFuncGraph("clipped")
_decayed = ops.MultitypeFuncGraph("decayed")
_kept = ops.MultitypeFuncGraph("kept")
_thawed = ops.MultitypeFuncGraph("thawed")
_average = ops.MultitypeFuncGraph("average")


@_unscale.register("Tensor", "Tensor")
def _unscale_one(loss_scale, gradient):
    return ops.cast(gradient, ms.float32) / loss_scale


@_square_sum.register("Tensor")
def _square_sum_one(gradient):
    return 2 * _half_square_sum(gradient)


@_decayed.register("Number", "Tensor", "Tensor")
def _decayed_one(decay, gradient, weight):
    # Numbers are settled when the graph is built: a pass over the weights is there where needed.
    return gradient + decay * weight if decay else gradient


@_kept.register("Tensor", "Tensor", "Tensor")
def _kept_one(finite, zero, gradient):
    return ops.where(finite, gradient, zero)


@_clipped.register("Tensor", "Tensor")
def _clipped_one(factor, gradient):
    return gradient * factor


@_thawed.register("Tensor", "Number", "Tensor")
def _thawed_one(backbone_factor, can_freeze, update):
    return update * backbone_factor if can_freeze else update


@_average.register("Tensor", "Tensor", "Tensor")
def _average_one(decay, average, weight):
    return ops.assign_add(average, (weight - average) * (1 - decay))


class GradientCell(nn.Cell):
    """Loss, parts, gradient norm and gradients, all unscaled and averaged over the ranks.

    ``scaled`` says whether a loss scale other than 1 may come; without, a pass over all gradients
    is saved.
    """

    def __init__(
        self,
        forward: nn.Cell,
        weights: Sequence[ms.Parameter],
        distributed: bool,
        scaled: bool = True,
    ):
        super().__init__(auto_prefix=False)
        self.scaled = scaled
        self.forward = forward
        self.weights = ms.ParameterTuple(weights)
        self.gradient = ms.value_and_grad(self._scaled, None, self.weights, has_aux=True)
        self.reducer = nn.DistributedGradReducer(self.weights, mean=True) if distributed else None

    def _scaled(self, loss_scale, *inputs):
        loss, parts = self.forward(*inputs)
        return loss * loss_scale, loss, parts

    def construct(self, loss_scale, *inputs):
        """Loss scale and a batch -> ``(loss, parts, norm, gradients)``."""
        (_, loss, parts), gradients = self.gradient(loss_scale, *inputs)
        if self.reducer is not None:
            gradients = self.reducer(gradients)
        if self.scaled:
            gradients = _map(ops.partial(_unscale, loss_scale), gradients)
        norm = ops.sqrt(ops.stack(_map(_square_sum, gradients)).sum())
        return loss, parts, norm, gradients


class _Update(nn.Cell):
    """Clip, add weight decay, leave frozen parameters alone, update."""

    def __init__(
        self,
        optimizer: nn.Cell,
        weights: Sequence[ms.Parameter],
        decays: Sequence[float],
        can_freeze: Sequence[bool],
        clip_norm: float | None,
    ):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.weights = ms.ParameterTuple(weights)
        self.decays = tuple(float(decay) for decay in decays)
        self.can_freeze = tuple(int(can) for can in can_freeze)
        self.freezes = any(can_freeze)
        self.clip_norm = clip_norm

    def construct(self, grad_norm, backbone_factor, finite, *updates):
        # A tuple as an argument would be a constant, and the graph compiled anew at every step.
        if self.clip_norm is not None:
            factor = ops.minimum(ops.ones_like(grad_norm), self.clip_norm / (grad_norm + 1e-6))
            updates = _map(ops.partial(_clipped, factor), updates)
        updates = _map(_decayed, self.decays, updates, self.weights)
        if self.freezes:
            updates = _map(ops.partial(_thawed, backbone_factor), self.can_freeze, updates)
        return self.optimizer(updates, finite)


class _WholeStep(nn.Cell):
    """Gradients and update in one graph, for training without a loss scale.

    Where a gradient is not finite, the optimiser runs with zeros for gradients, a rate of 0 and
    moments that do not decay, which changes nothing, bit for bit. A branch in the graph would be
    plainer, but parameters that the host sets, such as the learning rate, do not reach one.
    """

    def __init__(self, gradients: GradientCell, update: _Update):
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.update = update
        self.one, self.zero = ms.Tensor(1.0, ms.float32), ms.Tensor(0.0, ms.float32)

    def construct(self, backbone_factor, *inputs):
        """A batch -> ``(loss, parts, norm)``, after the update."""
        loss, parts, norm, gradients = self.gradients(self.one, *inputs)
        finite = ops.logical_and(ops.isfinite(norm), ops.isfinite(loss))
        gradients = _map(ops.partial(_kept, finite, self.zero), gradients)
        safe_norm = ops.select(finite, norm, self.one)
        done = self.update(safe_norm, backbone_factor, finite, *gradients)
        return loss, parts, ops.depend(norm, done)


class _Average(nn.Cell):
    """Move the averaged weights towards the weights.

    A graph of its own: in one with the optimiser it takes four times as long (220 against 50 ms for
    DenseNet-121 on two cores), since the weights are copied before they change.
    """

    def __init__(self, averages: Sequence[ms.Parameter], weights: Sequence[ms.Parameter]):
        super().__init__(auto_prefix=False)
        self.averages = ms.ParameterTuple(averages)
        self.weights = ms.ParameterTuple(weights)

    def construct(self, decay):
        return _map(ops.partial(_average, decay), self.averages, self.weights)


class TrainStep:
    """Owns the optimiser, the loss scale, the averaged weights and what the loss remembers.

    Args:
        forward: Cell that takes a batch's tensors and gives ``(loss, parts)``.
        network: The cell whose weights are trained.
        backbone: Parameters that a frozen warm-up leaves alone.
        config: Optimiser section of the configuration.
        rates: ``(num_steps,)`` learning rate of every step.
        steps_per_epoch: For the frozen warm-up.
        amp_level: ``O0`` float32, ``O2`` float16 but for batch norm, ``O3`` float16.
        rank_size: Number of processes; gradients are averaged over them.
    """

    def __init__(
        self,
        forward: nn.Cell,
        network: nn.Cell,
        backbone: Sequence[ms.Parameter],
        config: OptimConfig,
        rates: np.ndarray,
        steps_per_epoch: int,
        amp_level: str = "O0",
        rank_size: int = 1,
    ):
        self.network = network
        self.config = config
        self.rates = rates
        self.freeze_steps = config.freeze_epochs * steps_per_epoch
        self.weights = list(network.trainable_params())
        if amp_level != "O0":
            amp.auto_mixed_precision(network, amp_level)
        self.scaler = None
        if amp_level != "O0":
            self.scaler = amp.DynamicLossScaler(
                _FIRST_LOSS_SCALE, _LOSS_SCALE_FACTOR, _LOSS_SCALE_WINDOW
            )
        self.optimizer = create_optimizer(self.weights, config)
        self.averages = []
        if config.ema_decay is not None:
            self.averages = [
                ms.Parameter(
                    ms.Tensor(w.asnumpy().copy()), name=f"ema.{w.name}", requires_grad=False
                )
                for w in self.weights
            ]
        in_backbone = {p.name for p in backbone}
        can_freeze = [w.name in in_backbone and self.freeze_steps > 0 for w in self.weights]
        self._rank_size = rank_size
        self._all_reduce = ops.AllReduce() if rank_size > 1 else None
        # What a loss remembers, such as centres, is state of the training, not of the network.
        of_network = {id(p) for p in network.get_parameters()}
        self.loss_state = [p for p in forward.get_parameters() if id(p) not in of_network]
        self._statistics = [
            p for name, p in network.parameters_dict().items() if name.endswith(_STATISTICS)
        ] + self.loss_state
        self._gradients = GradientCell(forward, self.weights, rank_size > 1, amp_level != "O0")
        self._gradients.set_train()
        self._update = _Update(
            self.optimizer,
            self.weights,
            decay_factors(self.weights, config),
            can_freeze,
            config.clip_norm,
        )
        self._whole: nn.Cell | None = None
        self._average = _Average(self.averages, self.weights) if self.averages else None

    @property
    def loss_scale(self) -> float:
        """Current loss scale; 1 in float32."""
        return float(self.scaler.scale_value.asnumpy()) if self.scaler else 1.0

    def use_one_graph(self) -> None:
        """Join gradients and update, where there is no loss scale; the steps are the same."""
        if self.scaler is None:
            self._whole = _WholeStep(self._gradients, self._update)
            self._whole.set_train()

    def run(self, inputs: Sequence[np.ndarray], step: int) -> StepResult:
        """Train on one batch.

        A step whose gradient is not finite changes nothing; in mixed precision the loss scale is
        halved then.

        Args:
            inputs: Arrays in the order that ``forward`` takes.
            step: Global step, from 0; chooses the learning rate.
        """
        tensors = [ms.Tensor.from_numpy(np.ascontiguousarray(a)) for a in inputs]
        self.optimizer.learning_rate.set_data(ms.Tensor(self.rates[step], ms.float32))
        backbone_factor = ms.Tensor(float(step >= self.freeze_steps), ms.float32)
        gradients: Sequence[ms.Tensor] = ()
        if self._whole is not None:
            loss, parts, norm = self._whole(backbone_factor, *tensors)
        else:
            scale = ms.Tensor(self.loss_scale, ms.float32)
            loss, parts, norm, gradients = self._gradients(scale, *tensors)
        grad_norm = float(norm.asnumpy())
        value = float(loss.asnumpy())
        applied = bool(np.isfinite(grad_norm) and np.isfinite(value))
        if self.scaler:
            self.scaler.adjust(ms.Tensor(applied))
        if applied and self._whole is None:
            self._update(norm, backbone_factor, ms.Tensor(True), *gradients)
        if applied and self._average is not None:
            self._average(self._ema_decay(step))
        return StepResult(value, parts.asnumpy(), grad_norm, applied)

    def synchronise_statistics(self) -> None:
        """Give every rank the mean of all ranks' batch-norm statistics, and of the loss's state.

        Gradients keep the weights equal, but each rank's statistics follow its own batches; an
        evaluation shared out over the ranks would otherwise be that of several networks. Every rank
        must call this at the same step.
        """
        if self._all_reduce is None or not self._statistics:
            return
        flat = np.concatenate([p.asnumpy().ravel() for p in self._statistics])
        mean = self._all_reduce(ms.Tensor(flat)).asnumpy() / self._rank_size
        ends = np.cumsum([p.size for p in self._statistics])[:-1]
        for parameter, values in zip(self._statistics, np.split(mean, ends), strict=True):
            parameter.set_data(ms.Tensor(values.reshape(parameter.shape), parameter.dtype))

    def state(self) -> dict[str, np.ndarray]:
        """Everything but the weights that the next step depends on, by checkpoint name."""
        values = {f"optimizer.{p.name}": p.asnumpy() for p in self._optimizer_parameters()}
        values |= {p.name: p.asnumpy() for p in self.averages}
        values |= {f"loss.{p.name}": p.asnumpy() for p in self.loss_state}
        if self.scaler:
            values["scaler.scale"] = self.scaler.scale_value.asnumpy()
            values["scaler.counter"] = self.scaler.counter.asnumpy()
        return values

    def load_state(self, values: dict[str, np.ndarray]) -> None:
        """Restore what :meth:`state` gave.

        Raises:
            CheckpointError: A value is missing, or not finite.
        """
        missing = sorted(self.state().keys() - values.keys())
        if missing:
            raise CheckpointError(
                f"the training state lacks {first_offenders(missing)}: it is of another optimiser"
            )
        broken = [
            name
            for name, value in sorted(values.items())
            if value.dtype.kind == "f" and not np.isfinite(value).all()
        ]
        if broken:
            raise CheckpointError(
                f"the training state is nan or infinite: {first_offenders(broken)}; did the "
                "training diverge? Resume from an earlier checkpoint"
            )
        for parameter in self._optimizer_parameters():
            parameter.set_data(ms.Tensor(values[f"optimizer.{parameter.name}"]))
        for parameter in self.averages:
            parameter.set_data(ms.Tensor(values[parameter.name]))
        for parameter in self.loss_state:
            parameter.set_data(ms.Tensor(values[f"loss.{parameter.name}"]))
        if self.scaler:
            self.scaler.scale_value.set_data(ms.Tensor(values["scaler.scale"]))
            self.scaler.counter.set_data(ms.Tensor(values["scaler.counter"]))

    def evaluation_weights(self) -> dict[str, np.ndarray]:
        """Network values to evaluate with: the averaged ones where there are any."""
        values = {name: p.asnumpy() for name, p in self.network.parameters_dict().items()}
        return values | {p.name.removeprefix("ema."): p.asnumpy() for p in self.averages}

    def _ema_decay(self, step: int) -> ms.Tensor:
        # Early averages would otherwise be mostly the random start.
        decay = self.config.ema_decay or 0.0
        return ms.Tensor(min(decay, (1 + step) / (10 + step)), ms.float32)

    def _optimizer_parameters(self) -> list[ms.Parameter]:
        trained = {id(w) for w in self.weights}
        return [p for p in self.optimizer.get_parameters() if id(p) not in trained]
