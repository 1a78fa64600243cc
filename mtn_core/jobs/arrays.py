"""Many commands that differ by seed, recipe or an override: on this machine, or a Slurm array."""

import dataclasses
import itertools
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mtn_core.errors import ConfigError, MissingFileError, ProgramError, first_offenders
from mtn_core.files import write_text
from mtn_core.runs import RunFolder

_FLAGS = {"seed": "--seed", "recipe": "--recipe"}


@dataclasses.dataclass(frozen=True)
class Task:
    """One command of an array.

    Attributes:
        name: Of its log, ``NAME.log``, and of its record, ``NAME.json``.
        words: What follows ``mtn``. A training names its run folder by ``--out``.
    """

    name: str
    words: tuple[str, ...]


def plan(grid: Mapping[str, Sequence[str]], words: Sequence[str], out: Path) -> list[Task]:
    """A training for every combination of the values.

    Args:
        grid: Values of ``seed``, ``recipe`` and keys of the recipe.
        words: ``train`` and its arguments, without ``--out``.
        out: The run folders go into this one.
    """
    tasks = []
    for values in itertools.product(*grid.values()):
        flags: list[str] = []
        for key, value in zip(grid, values, strict=True):
            flags += [_FLAGS[key], value] if key in _FLAGS else ["--set", f"{key}={value}"]
        name = "-".join(map(_label, grid, values))
        tasks.append(Task(name, (*words, *flags, "--out", str(out / name))))
    names = [task.name for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"--array: two runs would be called {twice[0]}; give each value once")
    return tasks


def _label(key: str, value: str) -> str:
    """A part of a run's name: ``strong``, ``seed0``, ``learning_rate0.001``."""
    text = Path(value).stem if key == "recipe" and value.endswith(".yaml") else value
    text = text if key == "recipe" else key.rpartition(".")[2] + text
    return "".join(letter if letter.isalnum() or letter in "._+" else "_" for letter in text)


def run_here(
    tasks: Sequence[Task], folder: Path, *, at_once: int, echo: Callable[[str], None]
) -> None:
    """Run the tasks on this machine; each of those that run at once has its share of the cores.

    A task that passed before is not run again, and a training that was stopped goes on.

    Args:
        tasks: In this order.
        folder: Gets logs and records.
        at_once: Number of processes.
        echo: Receives a line for every task that ends.

    Raises:
        ConfigError: A task of this name in the folder was another command.
        ProgramError: Some tasks failed; the others were run all the same.
    """
    write_records(tasks, folder)
    shares: queue.Queue[set[int]] = queue.Queue()
    for part in np.array_split(sorted(os.sched_getaffinity(0)), at_once):
        shares.put(set(part.tolist()))

    def run(task: Task) -> int:
        share = shares.get()
        try:
            code = run_task(folder, task.name, share)
        finally:
            shares.put(share)
        how = "passed" if code == 0 else f"failed (exit code {code})"
        echo(f"{task.name} {how}; {folder / task.name}.log")
        return code

    with ThreadPoolExecutor(at_once) as pool:
        codes = list(pool.map(run, tasks))
    failed = [task.name for task, code in zip(tasks, codes, strict=True) if code]
    if failed:
        raise ProgramError(
            f"{len(failed)} of {len(tasks)} runs failed: {first_offenders(failed)}; their logs are "
            f"in {folder}. The same command runs those again, and no other"
        )


def write_records(tasks: Sequence[Task], folder: Path) -> None:
    """Write a record of each task, from which a process of the array knows what to run.

    Raises:
        ConfigError: A task of this name in the folder is another command.
    """
    records = [_read_record(folder, task.name) or _Record(task.words) for task in tasks]
    for task, record in zip(tasks, records, strict=True):
        if record.words != task.words:
            raise ConfigError(
                f"{folder / task.name}.json is of another command, mtn "
                f"{shlex.join(record.words)}; choose another folder, or remove it and its run"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for task, record in zip(tasks, records, strict=True):
        _write_record(folder, task.name, record)


def run_task(folder: Path, name: str, cores: set[int] | None = None) -> int:
    """Run one task to its end, in a process of its own.

    Args:
        folder: That of :func:`write_records`.
        name: The task's.
        cores: Numbers of the processor's cores that it may use; all by default.

    Returns:
        Its exit code; 0 if it passed before, and nothing is run then.

    Raises:
        MissingFileError: The folder has no record of such a task.
    """
    record = _read_record(folder, name)
    if record is None:
        raise MissingFileError(f"{folder} has no task {name}; `mtn submit --array` writes them")
    if record.seconds is not None:
        return 0
    words = [sys.executable, "-m", "mtn_core"]
    words += _go_on(record.words) if record.begun else record.words
    _write_record(folder, name, dataclasses.replace(record, begun=True))
    # Not in this process, whose other threads have other shares.
    limit = ["taskset", "--cpu-list", ",".join(map(str, sorted(cores)))] if cores else []
    started = time.monotonic()
    with (folder / f"{name}.log").open("ab") as log:
        code = subprocess.run(
            [*limit, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False
        ).returncode
    if code == 0:
        seconds = time.monotonic() - started
        _write_record(folder, name, dataclasses.replace(record, begun=True, seconds=seconds))
    return code


def seconds_of(folder: Path, name: str) -> float | None:
    """How long a task took; None before it has passed."""
    record = _read_record(folder, name)
    return None if record is None else record.seconds


@dataclasses.dataclass(frozen=True)
class _Record:
    """What is known of a task; ``seconds`` once it has passed."""

    words: tuple[str, ...]
    begun: bool = False
    seconds: float | None = None


def _go_on(words: tuple[str, ...]) -> list[str]:
    """The command again: a training that this array began goes on from its last checkpoint."""
    if words[0] != "train":
        return list(words)
    rest = [word for word in words if word != "--overwrite"]
    out = Path(words[words.index("--out") + 1])
    trained = (RunFolder(out).checkpoints / "last.ckpt").is_file()
    return [*rest, "--resume" if trained else "--overwrite"]


def _read_record(folder: Path, name: str) -> _Record | None:
    path = folder / f"{name}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        seconds = record["seconds"]
        return _Record(
            tuple(map(str, record["words"])),
            bool(record["begun"]),
            None if seconds is None else float(seconds),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a record of an array; choose another folder") from error


def _write_record(folder: Path, name: str, record: _Record) -> None:
    write_text(folder / f"{name}.json", json.dumps(dataclasses.asdict(record)))


def slurm_script(
    tasks: Sequence[Task], folder: Path, *, name: str, at_once: int | None, options: Sequence[str]
) -> str:
    """The batch script of an array, a task on one node each."""
    limit = "" if at_once is None else f"%{at_once}"
    lines = [f"--job-name={name}", f"--array=0-{len(tasks) - 1}{limit}"]
    lines += [f"--output={folder.resolve()}/array-%a-%A.log", "--open-mode=append"]
    lines += ["--nodes=1", "--ntasks=1", "--requeue", *options]
    words = [sys.executable, "-m", "mtn_core.jobs.arrays", str(folder.resolve())]
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            *(f"#SBATCH {line}" for line in lines),
            "set -euo pipefail",
            f"cd {shlex.quote(str(Path.cwd()))}",
            f"tasks=({shlex.join(task.name for task in tasks)})",
            f'exec {shlex.join(words)} "${{tasks[$SLURM_ARRAY_TASK_ID]}}"',
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one task of an array: ``python -m mtn_core.jobs.arrays FOLDER NAME``."""
    folder, name = sys.argv[1:] if arguments is None else arguments
    # Slurm signals every process of a job. This one stays until the training has saved and gone;
    # without it, Slurm could take the task for ended and start it again beside that training.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    return run_task(Path(folder), name)


if __name__ == "__main__":
    sys.exit(main())
