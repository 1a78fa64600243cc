"""The search: trials are trained one after the other, and bad ones are ended early."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from mtn_core.config import Config, config_from_dict
from mtn_core.errors import ConfigError, DataError, MtnError, TrainingDivergedError, first_line
from mtn_core.runs import RunFolder, config_sha256
from mtn_core.tune.page import write_summary
from mtn_core.tune.space import Space, to_plain
from mtn_core.tune.study import Outcome, Study

if TYPE_CHECKING:
    from mtn_core.device import Device
    from mtn_core.engine.train import Progress

_BELONG_TO_THE_TRIAL = (TrainingDivergedError, ConfigError, DataError, MemoryError)
_GIVE_UP_AFTER = 3  # failures from the start on: then it is not the values


@dataclasses.dataclass(frozen=True)
class Search:
    """What is searched, on what, and where it goes.

    Attributes:
        config: Recipe of all trials; its ``data.val_ids`` says what they are scored on.
        space: Keys and their values.
        roots: Data roots.
        out: Folder of the study; trial 7 is the run folder ``out/trial-0007``.
        trials: How many there are to be in all, whichever process made them.
        seed: Of the choice of values.
        prune: Whether a trial ends that is worse than half of the others at the same epoch.
        pre_ckpt_path: Weights that every trial starts from.
    """

    config: Config
    space: Space
    roots: Sequence[Path]
    out: Path
    trials: int
    seed: int = 0
    prune: bool = True
    pre_ckpt_path: Path | None = None

    def run_of(self, number: int) -> RunFolder:
        """The run folder of a trial."""
        return RunFolder(self.out / f"trial-{number:04d}")


def tune(
    search: Search,
    device: "Device",
    echo: Callable[[str], None] = print,
    train: "Callable[..., Progress] | None" = None,
) -> list[Outcome]:
    """Work on a study until it has its trials; other processes may do so at the same time.

    A trial whose process has ended is gone on with from its last checkpoint.

    Args:
        search: What is searched.
        device: From :func:`mtn_core.device.setup_device`.
        echo: Receives a line for every trial.
        train: What trains a trial; by default :func:`mtn_core.engine.multitask.train`.

    Returns:
        All trials of the study.

    Raises:
        ConfigError: The folder holds another study, or the recipe has no ``data.val_ids``.
        MtnError: What stops every trial, such as a full disk; the trial is gone on with next time.
    """
    if search.config.data.val_ids is None:
        raise ConfigError("a search needs data.val_ids; on the test, its best would be chosen")
    if not search.config.train.eval_every:
        raise ConfigError("a search needs scores: train.eval_every must not be 0")
    facts = {
        "space": to_plain(search.space),
        "recipe": config_sha256(search.config),
        "root": [str(Path(root).resolve()) for root in search.roots],
        "weights": str(search.pre_ckpt_path.resolve()) if search.pre_ckpt_path else None,
    }
    if train is None:
        from mtn_core.engine import multitask

        train = multitask.train
    study = Study(search.out, facts, search.seed)
    _summarise(study, search)
    while True:
        with study.next_trial(search.space, search.trials) as trial:
            if trial is None:
                break
            echo(f"trial {trial.number}: {_in_words(trial.params)}")
            line = _run_trial(study, trial, search, device, train)
            echo(f"trial {trial.number}: {line}")
        outcomes = _summarise(study, search)
        ended = [one.outcome for one in outcomes if one.outcome != "running"]
        if len(ended) >= _GIVE_UP_AFTER and set(ended) == {"failed"}:
            last = next(one for one in reversed(outcomes) if one.why)
            raise DataError(f"all {len(ended)} trials failed, the last one so: {last.why}")
    return study.outcomes()


def _run_trial(
    study: Study,
    trial: optuna.Trial,
    search: Search,
    device: "Device",
    train: "Callable[..., Progress]",
) -> str:
    """Train one trial and tell the study how it ended; in words, too."""
    run = search.run_of(trial.number)
    resume = run.last_checkpoint.is_file()
    watch = _Watch(trial, run, search)
    try:
        config = config_from_dict(search.config.model_dump(), trial.params)
        watch.last = config.train.epochs
        progress = train(
            config,
            list(search.roots),
            run.path,
            device,
            pre_ckpt_path=search.pre_ckpt_path,
            resume=resume,
            overwrite=not resume,
            on_epoch=watch,
        )
    except optuna.TrialPruned:
        study.prune(trial)
        return f"pruned after epoch {watch.epoch}, mAP {watch.score:.1%}"
    except _BELONG_TO_THE_TRIAL as error:
        why = str(error) if isinstance(error, MtnError) else f"memory: {first_line(error)}"
        study.fail(trial, why)
        return f"failed: {why}"
    if progress.best_score is None or not math.isfinite(progress.best_score):
        study.fail(trial, "no score")
        return "failed: no score"
    study.complete(trial, progress.best_score)
    return f"mAP {progress.best_score:.1%} on held-out vehicles (epoch {progress.best_epoch})"


class _Watch:
    """Called after every epoch: reports what the run has logged, and ends a bad trial."""

    def __init__(self, trial: optuna.Trial, run: RunFolder, search: Search):
        self.trial, self.run, self.prune = trial, run, search.prune
        self.epoch, self.last, self.score = 0, 0, math.nan

    def __call__(self, epoch: int) -> None:
        log = self.run.read_validation_log()
        rows: Any = log[log["epoch"] == epoch] if "epoch" in log else log
        if not len(rows):
            return
        self.epoch, self.score = epoch, float(rows["score"].iloc[-1])
        self.trial.report(self.score, epoch)
        if self.prune and epoch < self.last and self.trial.should_prune():
            raise optuna.TrialPruned


def _summarise(study: Study, search: Search) -> list[Outcome]:
    with study.alone():
        outcomes = study.outcomes()
        write_summary(search.out, outcomes, search.config, [str(root) for root in search.roots])
    return outcomes


def _in_words(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )
