"""A study of Optuna in a journal file: which trial comes next, what became of the others.

Several processes, of one machine or of several on a shared disk, work on one study. Each holds a
lock file for its trial, which the system releases when the process dies: the trial is then gone on
with by whoever comes next.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from mtn_core.errors import ConfigError, RunFolderError, first_line
from mtn_core.tune.space import Range, Space

JOURNAL = "study.journal"
_NAME = "mtn"
_RUNNING, _COMPLETE = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.COMPLETE
_PRUNED, _FAIL = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL
_OUTCOMES = {_RUNNING: "running", _COMPLETE: "complete", _PRUNED: "pruned", _FAIL: "failed"}
_BEFORE_PRUNING = 4  # trials that are trained to their end before any is pruned, from epoch 2 on
_SEED_STRIDE = 100_003


@dataclass(frozen=True)
class Outcome:
    """A trial as it stands.

    Attributes:
        number: From 0.
        outcome: ``running``, ``complete``, ``pruned`` or ``failed``.
        values: Of the keys that are searched.
        scores: Validation scores by epoch.
        score: The best of them, of a complete trial.
        why: Why it failed.
    """

    number: int
    outcome: str
    values: Mapping[str, Any]
    scores: Mapping[int, float]
    score: float | None
    why: str


class Study:
    """A study in its folder.

    Args:
        folder: Made if absent.
        facts: What all trials share; a study that was begun with others is refused.
        seed: Of the choice of values; with the number of a trial, and what is known when it begins,
            it settles them.

    Raises:
        ConfigError: The folder holds a study with other facts.
        RunFolderError: The journal is damaged.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], seed: int):
        self.folder, self.seed = folder, seed
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        self._claims = FileLock(folder / "locks" / "claim.lock")
        path = folder / JOURNAL
        lock = JournalFileOpenLock(str(path))
        with self._claims:
            _mend(path, lock)
            try:
                self._study = optuna.create_study(
                    storage=optuna.storages.JournalStorage(JournalFileBackend(str(path), lock)),
                    study_name=_NAME,
                    direction="maximize",
                    load_if_exists=True,
                    pruner=optuna.pruners.MedianPruner(_BEFORE_PRUNING, n_warmup_steps=1),
                )
                before = dict(self._study.user_attrs)
            except (ValueError, KeyError, AssertionError) as error:
                raise RunFolderError(f"{path} is damaged: {first_line(error)[:200]}") from error
            if not before:
                for key, value in facts.items():
                    self._study.set_user_attr(key, value)
        different = [key for key in facts if before and before.get(key) != facts[key]]
        if different:
            key = different[0]
            raise ConfigError(
                f"{folder} holds a study with another {key}: {before.get(key)!r}, now "
                f"{facts[key]!r}; give the same, or choose another --out"
            )

    @contextlib.contextmanager
    def next_trial(self, space: Space, trials: int) -> Iterator[optuna.Trial | None]:
        """A trial to work on: one that a process left when it ended, or a new one.

        Args:
            space: What is searched.
            trials: How many there are to be in all; None is yielded where there are.
        """
        with contextlib.ExitStack() as stack:
            with self._claims:
                trial = self._left_behind(stack)
                if trial is None and len(self._study.get_trials(deepcopy=False)) < trials:
                    trial = self._study.ask()
                    stack.enter_context(self._lock(trial.number))
                if trial is not None:
                    self._suggest(trial, space)
            yield trial

    def _left_behind(self, stack: contextlib.ExitStack) -> optuna.Trial | None:
        for frozen in self._study.get_trials(deepcopy=False, states=(_RUNNING,)):
            with contextlib.suppress(Timeout):
                stack.enter_context(self._lock(frozen.number))
                return optuna.Trial(self._study, frozen._trial_id)
        return None

    def _lock(self, number: int) -> FileLock:
        return FileLock(self.folder / "locks" / f"{number:04d}.lock", timeout=0)

    def _suggest(self, trial: optuna.Trial, space: Space) -> None:
        """Give the trial its values; those of one that was left behind are what they were."""
        seed = (self.seed * _SEED_STRIDE + trial.number) % 2**32
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        for key, entry in space.items():
            if not isinstance(entry, Range):
                trial.suggest_categorical(key, entry)
            elif entry.whole:
                step = 1 if entry.step is None else int(entry.step)
                trial.suggest_int(key, int(entry.low), int(entry.high), step=step, log=entry.log)
            else:
                trial.suggest_float(key, entry.low, entry.high, step=entry.step, log=entry.log)

    def complete(self, trial: optuna.Trial, score: float) -> None:
        """A trial has come to its end."""
        self._study.tell(trial, score)

    def prune(self, trial: optuna.Trial) -> None:
        """A trial was ended because others were better at the same epoch."""
        self._study.tell(trial, state=_PRUNED)

    def fail(self, trial: optuna.Trial, why: str) -> None:
        """A trial has no score."""
        trial.set_user_attr("why", why)
        self._study.tell(trial, state=_FAIL)

    def outcomes(self) -> list[Outcome]:
        """All trials, in order."""
        return [
            Outcome(
                number=t.number,
                outcome=_OUTCOMES.get(t.state, "waiting"),
                values=dict(t.params),
                scores=dict(sorted(t.intermediate_values.items())),
                score=t.value if t.state == _COMPLETE else None,
                why=str(t.user_attrs.get("why", "")),
            )
            for t in self._study.get_trials(deepcopy=False)
        ]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the study against the other processes for a moment."""
        with self._claims:
            yield


def _mend(path: Path, lock: JournalFileOpenLock) -> None:
    """Cut off half a line that a killed process, or a full disk, left at the end of the journal.

    The next line would be written behind it, and neither could be read.
    """
    if not path.exists():
        return
    lock.acquire()
    try:
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)
    finally:
        lock.release()
