"""What a tracker shows of a run folder: its numbers by step, its settings, and how far they go."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.errors import RunFolderError, first_line
from mtn_core.runs import RunFolder

_POSITION = ("epoch", "step")
_RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Point:
    """One number: what it is called, the step and the time (seconds since 1970) that it is of."""

    tag: str
    step: int
    time: float
    value: float


@dataclass(frozen=True, eq=False)
class Record:
    """A run as it stands in its folder.

    Attributes:
        folder: The run folder, absolute.
        settings: ``config.yaml`` with dotted keys.
        started: When the run began, in seconds since 1970.
        logs: ``train.csv`` and ``validation.csv``, by ``train`` and ``validation``.
        results: Numbers of the evaluation; empty where there was none.
        complete: Whether it was trained to the end, or only evaluated.
    """

    folder: Path
    settings: Mapping[str, Any]
    started: float
    logs: Mapping[str, pd.DataFrame]
    results: Mapping[str, float]
    complete: bool

    @classmethod
    def read(cls, folder: str | Path) -> "Record":
        """Read a run folder, of a training that runs or has ended.

        Raises:
            RunFolderError: It is none, or a log is damaged.
        """
        run = RunFolder(folder)
        values = run.read_config_values()
        logs = {"train": _read_log(run.train_log), "validation": _read_log(run.validation_log)}
        began = run.environment if run.environment.is_file() else run.config
        epochs = values.get("train", {}).get("epochs") if isinstance(values, dict) else None
        done = logs["train"]["epoch"].max() if "epoch" in logs["train"] else None
        results = _results(run)
        return cls(
            folder=run.path.resolve(),
            settings=dict(_dotted(values)),
            started=began.stat().st_mtime,
            logs=logs,
            results=results,
            complete=bool(results) or (epochs is not None and done == epochs),
        )

    def state(self) -> dict[str, Any]:
        """How far the numbers go: what a tracker keeps to add only what is new next time."""
        logs = {
            name: {
                "rows": len(log),
                "sha256": _sha256(log, len(log)),
                "first_sha256": _sha256(log, 1),
            }
            for name, log in self.logs.items()
        }
        return {"run": str(self.folder), "logs": logs, "results": dict(self.results)}

    def goes_on(self, state: Mapping[str, Any]) -> bool:
        """Whether what was tracked before is the beginning of this run.

        A training that is resumed cuts its log back for a while; that is no other run.
        """
        for name, log in self.logs.items():
            before = state["logs"][name]
            if before["rows"] and len(log) and _sha256(log, 1) != before["first_sha256"]:
                return False
            if len(log) >= before["rows"] and _sha256(log, before["rows"]) != before["sha256"]:
                return False
        return True

    def state_after(self, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """:meth:`state`, with what was tracked before of a log that is cut back for a while."""
        now = self.state()
        for name, log in (before or {"logs": {}})["logs"].items():
            if log["rows"] > now["logs"][name]["rows"]:
                now["logs"][name] = log
        return now

    def points(self, state: Mapping[str, Any] | None = None) -> Iterator[Point]:
        """The numbers, in the order of their steps.

        Args:
            state: From :meth:`state`: what was tracked before is left out.
        """
        times = self._times()
        last = int(self.logs["train"]["step"].iloc[-1]) if len(self.logs["train"]) else 0
        for name, log in self.logs.items():
            begin = state["logs"][name]["rows"] if state else 0
            columns = [column for column in log.columns if column not in _POSITION]
            for row in log.iloc[begin:].to_dict("records"):
                step = int(row["step"])
                for column in columns:
                    value = float(row[column])
                    if not np.isnan(value) or column == "loss":
                        yield Point(f"{name}/{column}", step, times.get(step, self.started), value)
        if not state or state["results"] != self.results:
            for tag, value in self.results.items():
                yield Point(f"results/{tag}", last, times.get(last, self.started), value)

    def _times(self) -> dict[int, float]:
        """When each step ended, as far as the log tells: it has durations, not times."""
        log = self.logs["train"]
        if not len(log):
            return {}
        known = [c for c in ("step_ms", "data_wait_ms") if c in log]
        seconds = log[known].sum(axis=1).cumsum() / 1e3 if known else log["step"]
        return dict(zip(log["step"].astype(int), self.started + seconds.astype(float), strict=True))


def _read_log(path: Path) -> pd.DataFrame:
    """A CSV that may be growing: its whole lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return pd.DataFrame()
    try:
        frame = pd.read_csv(io.StringIO(text[: text.rfind("\n") + 1]))
        if not len(frame):
            return pd.DataFrame()
        return frame.astype({"step": int}).astype(float).astype({"step": int})
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise RunFolderError(f"{path} is not the log of a run ({first_line(error)})") from error


def _sha256(log: pd.DataFrame, rows: int) -> str:
    """Of what a resumed training computes again: times differ, losses and scores do not."""
    columns = [c for c in ("step", "loss", "score") if c in log]
    text = log[columns].head(rows).to_csv(index=False) if len(log) else ""
    return hashlib.sha256(text.encode()).hexdigest()


def _results(run: RunFolder) -> dict[str, float]:
    if not run.results.is_file():
        return {}
    saved = run.read_json(run.results)
    names = ("mAP", "mINP", "color_accuracy", "type_accuracy")
    found = {name: saved.get(name) for name in names}
    cmc = saved.get("cmc")
    if isinstance(cmc, list):
        found |= {f"rank-{rank}": cmc[rank - 1] for rank in _RANKS if rank <= len(cmc)}
    return {name: float(v) for name, v in found.items() if isinstance(v, int | float)}


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
