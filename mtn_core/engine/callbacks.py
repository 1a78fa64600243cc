"""What is written while a training runs: the step log, the validation log, the checkpoints."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtn_core.errors import CheckpointError, RunFolderError, first_line
from mtn_core.files import atomic_path, write_text
from mtn_core.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mtn_core.runs import RunFolder


class CsvLog:
    """A CSV file that grows by whole lines and can be cut back to where a training resumes."""

    def __init__(self, path: Path, columns: Sequence[str], *, keep_until_step: int = 0):
        self.path = path
        self.columns = list(columns)
        lines = [",".join(self.columns)]
        if keep_until_step and path.is_file():
            kept = [r for r in _read_rows(path) if int(r["step"]) <= keep_until_step]
            lines += [",".join(row.get(c, "") for c in self.columns) for row in kept]
        write_text(path, "\n".join(lines) + "\n")
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def write(self, **values: Any) -> None:
        """Append a row; floats with seven digits."""
        cells = [f"{v:.7g}" if isinstance(v, float) else str(v) for v in values.values()]
        by_name = dict(zip(values, cells, strict=True))
        self._file.write(",".join(by_name.get(c, "") for c in self.columns) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            # A killed process can leave half a line at the end.
            rows = [r for r in csv.DictReader(file) if None not in r.values()]
        for row in rows:
            int(row["step"])
    except (ValueError, KeyError, csv.Error) as error:
        raise RunFolderError(
            f"{path} is not the log of a training ({first_line(error)}); move it away, and the log "
            "begins anew where the training goes on"
        ) from error
    return rows


class CheckpointKeeper:
    """Writes ``last``, ``best`` and the last K ``epoch-NNN`` checkpoints of a run."""

    def __init__(self, run: RunFolder, keep: int):
        self.run, self.keep = run, keep

    def save(
        self,
        weights: dict[str, np.ndarray],
        meta: dict[str, Any],
        state: dict[str, np.ndarray],
        *,
        epoch_done: bool,
        is_best: bool = False,
    ) -> None:
        """Write the state; under the epoch's name, too, when the epoch is complete."""
        if not epoch_done:
            save_checkpoint(self.run.last_checkpoint, weights, meta, state)
            return
        path = self.run.epoch_checkpoint(meta["epoch"])
        save_checkpoint(path, weights, meta, state)
        _link(path, self.run.last_checkpoint)
        if is_best:
            _link(path, self.run.best_checkpoint)
        for old in self.run.epoch_checkpoints()[: -self.keep]:
            old.unlink()

    def load_latest(self) -> tuple[Checkpoint, list[str]]:
        """The newest checkpoint that can be read, and what was wrong with newer ones.

        Raises:
            CheckpointError: There is none.
        """
        paths = [self.run.last_checkpoint, *reversed(self.run.epoch_checkpoints())]
        problems: list[str] = []
        for path in paths:
            try:
                return load_checkpoint(path), problems
            except (CheckpointError, FileNotFoundError) as error:
                problems.append(str(error))
        raise CheckpointError(
            f"nothing to resume from in {self.run.checkpoints}: "
            + "; ".join(dict.fromkeys(problems))
        )


def _link(source: Path, target: Path) -> None:
    # A hard link costs neither time nor space, and stays when the epoch's name is removed.
    with atomic_path(target) as temporary:
        os.link(source, temporary)
