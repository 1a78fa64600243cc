"""The training loop: epochs, logs, checkpoints, evaluation, resume."""

import contextlib
import dataclasses
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from mtn_core.config import Recipe
from mtn_core.device import Device
from mtn_core.engine.callbacks import CheckpointKeeper, CsvLog
from mtn_core.engine.diagnosis import save_diagnosis, trace_activations
from mtn_core.engine.optim import learning_rates
from mtn_core.engine.step import StepResult, TrainStep
from mtn_core.engine.task import Batch, Score, TrainTask
from mtn_core.errors import CheckpointError, TrainingDivergedError
from mtn_core.models.checkpoint import Facts, load_weights, network_weights
from mtn_core.progress import progress_bar
from mtn_core.runs import RunFolder, config_sha256

logger = logging.getLogger(__name__)

_LOG_COLUMNS = ("epoch", "step", "loss", "lr", "grad_norm", "loss_scale", "skipped_steps")
_SPEED_COLUMNS = ("images_per_s", "data_wait_ms", "step_ms")


@dataclasses.dataclass
class Progress:
    """Position and record of a training; what a resumed one starts from."""

    epoch: int = 0  # complete epochs
    step_in_epoch: int = 0
    step: int = 0  # complete steps in all
    skipped_steps: int = 0
    best_score: float | None = None
    best_epoch: int | None = None


class TrainingLoop:
    """Trains a task and leaves logs and checkpoints in its run folder.

    Args:
        task: Network, loss, data, evaluation.
        config: Resolved configuration.
        run: Run folder; the main process alone writes into it.
        device: This process's device and rank.
        echo: Receives the seed's line at the end of every epoch.
        on_epoch: Called with the epoch's number after its log and checkpoint are written, such as
            to redraw a figure.
    """

    def __init__(
        self,
        task: TrainTask,
        config: Recipe,
        run: RunFolder,
        device: Device,
        echo: Callable[[str], None] | None = None,
        on_epoch: Callable[[int], None] | None = None,
    ):
        self.task, self.config, self.folder, self.device = task, config, run, device
        self.echo = echo or (lambda line: None)
        self.on_epoch = on_epoch
        self.progress = Progress()
        self.steps_per_epoch = len(task.loader)
        self.keeper = CheckpointKeeper(run, config.train.keep_checkpoints)
        self.logs: list[CsvLog] = []
        self.stopped_by: int | None = None
        self.train_step = TrainStep(
            task.forward,
            task.network,
            task.backbone_parameters(),
            config.optim,
            learning_rates(config.optim, self.steps_per_epoch, config.train.epochs, device.target),
            self.steps_per_epoch,
            config.train.amp_level,
            device.rank_size,
        )

    def run(self, resume: bool = False) -> Progress:
        """Train to the end.

        Args:
            resume: Go on from the newest readable checkpoint.

        Raises:
            TrainingDivergedError: The loss is not finite; ``diagnosis.json`` says where.
            KeyboardInterrupt: After SIGINT, SIGTERM or SIGHUP; the state was saved.
            CheckpointError: ``resume`` without a checkpoint that fits.
        """
        if resume:
            self._restore()
        if self.device.is_main:
            self._open_logs()
        with self._signals():
            for epoch in range(self.progress.epoch, self.config.train.epochs):
                self._run_epoch(epoch)
        return self.progress

    def close(self) -> None:
        """Close the logs and end the loader's threads."""
        for log in self.logs:
            log.close()
        self.task.loader.close()

    def _run_epoch(self, epoch: int) -> None:
        first = self.progress.step_in_epoch
        self.task.loader.set_epoch(epoch, first)
        bar = progress_bar(
            total=self.steps_per_epoch,
            initial=first,
            description=f"epoch {epoch + 1}/{self.config.train.epochs}",
            unit="step",
            shown=self.device.is_main,
        )
        result = None
        with bar:
            waited_from = time.perf_counter()
            for batch in self.task.loader:
                started = time.perf_counter()
                result = self.train_step.run(self.task.inputs(batch), self.progress.step)
                self._after_step(epoch, batch, result, waited_from, started)
                bar.update()
                bar.set_postfix(loss=f"{result.loss:.3f}")
                self._stop_if_asked()
                waited_from = time.perf_counter()
        self.progress.epoch = epoch + 1
        self.progress.step_in_epoch = 0
        loss = f"{result.loss:.7g}" if result else "nan"
        self.echo(f"epoch:{epoch + 1} step:{self.steps_per_epoch}, loss is {loss}")
        self.train_step.synchronise_statistics()
        is_best = self._evaluate()
        self._save(epoch_done=True, is_best=is_best)
        if self.on_epoch:
            self.on_epoch(epoch + 1)
        if self.stopped_by is not None:
            raise KeyboardInterrupt

    def _after_step(
        self, epoch: int, batch: Batch, result: StepResult, waited_from: float, started: float
    ) -> None:
        if not result.applied:
            self._handle_overflow(epoch, batch, result)
        state = self.progress
        now = time.perf_counter()
        if self.device.is_main:
            parts = dict(zip(self.task.part_names, map(float, result.parts), strict=True))
            num_images = len(self.task.inputs(batch)[0]) * self.device.rank_size
            self.logs[0].write(
                epoch=epoch + 1,
                step=state.step + 1,
                loss=result.loss,
                lr=float(self.train_step.rates[state.step]),
                grad_norm=result.grad_norm,
                loss_scale=self.train_step.loss_scale,
                skipped_steps=state.skipped_steps,
                images_per_s=num_images / (now - waited_from),
                data_wait_ms=1e3 * (started - waited_from),
                step_ms=1e3 * (now - started),
                **parts,
            )
        state.step += 1
        state.step_in_epoch += 1
        every = self.config.train.save_every_steps
        if every and state.step % every == 0 and state.step_in_epoch < self.steps_per_epoch:
            self.train_step.synchronise_statistics()
            self._save(epoch_done=False)

    def _handle_overflow(self, epoch: int, batch: Batch, result: StepResult) -> None:
        if self.train_step.scaler and self.train_step.loss_scale > 1:
            self.progress.skipped_steps += 1
            return
        names = self.task.image_names(batch)
        path = self.folder.diagnosis
        if self.device.is_main:
            save_diagnosis(
                path,
                step=self.progress.step + 1,
                epoch=epoch + 1,
                image_names=names,
                loss=result.loss,
                parts=dict(zip(self.task.part_names, map(float, result.parts), strict=True)),
                activations=trace_activations(self.task.forward, self.task.inputs(batch)),
            )
        raise TrainingDivergedError(
            f"loss {result.loss} and gradient norm {result.grad_norm} at epoch {epoch + 1}, step "
            f"{self.progress.step + 1}: training stopped before the weights were changed. {path} "
            f"names the {len(names)} images and the largest activations; try a lower "
            "optim.learning_rate, optim.clip_norm, or train.amp_level O0"
        )

    def _evaluate(self) -> bool:
        every = self.config.train.eval_every
        last = self.progress.epoch == self.config.train.epochs
        if not every or not (last or self.progress.epoch % every == 0):
            return False
        started = time.perf_counter()
        evaluation: Score | None = self.task.evaluate(self.train_step.evaluation_weights())
        if evaluation is None:
            return False
        best = self.progress.best_score
        is_best = math.isfinite(evaluation.score) and (best is None or evaluation.score > best)
        if is_best:
            self.progress.best_score = evaluation.score
            self.progress.best_epoch = self.progress.epoch
        if self.device.is_main:
            self.logs[1].write(
                epoch=self.progress.epoch,
                step=self.progress.step,
                score=evaluation.score,
                seconds=time.perf_counter() - started,
                **evaluation.metrics,
            )
        shown = ", ".join(f"{name} {value:.4f}" for name, value in evaluation.metrics.items())
        logger.info("epoch %d: %s%s", self.progress.epoch, shown, " (best)" if is_best else "")
        return is_best

    def _save(self, *, epoch_done: bool, is_best: bool = False) -> None:
        if not self.device.is_main:
            return
        meta: dict[str, Any] = {
            "kind": self.task.kind,
            **self.task.meta(),
            **dataclasses.asdict(self.progress),
            "score_name": self.task.score_name,
            "steps_per_epoch": self.steps_per_epoch,
            "seed": self.config.train.seed,
            "config_sha256": config_sha256(self.config),
        }
        weights = network_weights(self.task.network)
        state = self.train_step.state()
        self.keeper.save(weights, meta, state, epoch_done=epoch_done, is_best=is_best)

    def _restore(self) -> None:
        checkpoint, problems = self.keeper.load_latest()
        for problem in problems:
            logger.warning("%s; resuming from %s instead", problem, checkpoint.path.name)
        facts = checkpoint.facts
        if facts.kind != self.task.kind:
            raise CheckpointError(
                f"{checkpoint.path} holds another network: {facts.kind!r}, not {self.task.kind!r}"
            )
        if facts.config_sha256 != config_sha256(self.config):
            raise CheckpointError(
                f"{checkpoint.path} was trained with another configuration; resume with the same "
                "recipe and settings (config.yaml in the run folder has them)"
            )
        if facts.steps_per_epoch != self.steps_per_epoch:
            raise CheckpointError(
                f"{checkpoint.path} had {facts.steps_per_epoch} steps an epoch, this training "
                f"has {self.steps_per_epoch}: the data or the number of processes changed"
            )
        now = self.task.meta().get("data", {})
        changed = [what for what, value in (facts.data or {}).items() if now.get(what) != value]
        if changed:
            raise CheckpointError(
                f"{checkpoint.path} was trained on other data: the {', the '.join(changed)} of the "
                "training split changed since; bring the old labels back, or start a new run"
            )
        if not self._is_possible(facts):
            raise CheckpointError(
                f"{checkpoint.path} contradicts itself: step {facts.step} after {facts.epoch} "
                f"epochs of {self.steps_per_epoch} steps and {facts.step_in_epoch} more"
            )
        load_weights(self.task.network, checkpoint.raw_weights, checkpoint.path)
        self.train_step.load_state(checkpoint.state)
        names = [field.name for field in dataclasses.fields(Progress)]
        self.progress = Progress(**{name: getattr(facts, name) for name in names})
        logger.info("resuming after epoch %d, step %d", self.progress.epoch, self.progress.step)

    def _is_possible(self, position: Facts) -> bool:
        return (
            position.epoch is not None
            and position.epoch <= self.config.train.epochs
            and position.step_in_epoch < self.steps_per_epoch
            and position.step == position.epoch * self.steps_per_epoch + position.step_in_epoch
        )

    def _open_logs(self) -> None:
        step = self.progress.step
        if step and not self.folder.train_log.exists():
            logger.warning("%s is gone; it begins anew at step %d", self.folder.train_log, step + 1)
        columns = (*_LOG_COLUMNS, *self.task.part_names, *_SPEED_COLUMNS)
        self.logs.append(CsvLog(self.folder.train_log, columns, keep_until_step=step))
        metrics = ("epoch", "step", "score", "seconds", *self.task.metric_names)
        self.logs.append(CsvLog(self.folder.validation_log, metrics, keep_until_step=step))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Finish the step before an interrupt acts: a half-applied step cannot be resumed."""

        def remember(number, frame):
            if self.stopped_by is not None:
                raise KeyboardInterrupt
            self.stopped_by = number

        # What is ignored stays so: under nohup, and in a script's background job.
        handled = [
            number
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        try:
            previous = {number: signal.signal(number, remember) for number in handled}
        except ValueError:  # not the main thread, such as in a notebook's executor
            yield
            return
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _stop_if_asked(self) -> None:
        if self.stopped_by is None:
            return
        if self.progress.step_in_epoch < self.steps_per_epoch:
            self._save(epoch_done=False)
            logger.warning("stopped: saved after step %d; go on with --resume", self.progress.step)
            raise KeyboardInterrupt
