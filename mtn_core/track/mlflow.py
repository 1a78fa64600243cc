"""Runs of MLflow, in a SQLite store of its own; nothing is told to anybody."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtn_core.errors import RunFolderError, first_line
from mtn_core.runs import RunFolder
from mtn_core.track.record import Record

STORE = "mlflow.db"
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
_METRICS, _PARAMS, _LONGEST_PARAM = 1000, 100, 500  # what MLflow takes at once
_STATE, _PLACE = "mtn.state", "mtn.place"


def store_uri(out: str | Path) -> str:
    """What `mlflow ui --backend-store-uri` takes."""
    return f"sqlite:///{Path(out).resolve() / STORE}"


def track_with_mlflow(record: Record, out: str | Path, experiment: str = "mtn") -> int:
    """Bring the MLflow run of a run folder up to date.

    A run that replaced another in the same folder becomes a new MLflow run, and the old one goes to
    MLflow's own bin.

    Args:
        record: The run; it is named after its folder.
        out: Folder of the store ``mlflow.db`` and of the artifacts.
        experiment: Of MLflow; made where it is not there.

    Returns:
        How many numbers were added.

    Raises:
        RunFolderError: The store is damaged, or of another release of MLflow.
    """
    out = Path(out)
    os.environ.update(_QUIET)  # before mlflow is imported
    with _quiet_migrations():
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        out.mkdir(parents=True, exist_ok=True)
        try:
            client = MlflowClient(tracking_uri=store_uri(out))
            experiment_id = _experiment(client, experiment, out)
            run_id, state = _find(client, experiment_id, record)
            points = list(record.points(state))
            for begin in range(0, len(points), _METRICS):
                metrics = [
                    Metric(p.tag, p.value, round(1e3 * p.time), p.step)
                    for p in points[begin : begin + _METRICS]
                ]
                client.log_batch(run_id, metrics=metrics)
            if state is None:
                values = {k: str(v)[:_LONGEST_PARAM] for k, v in record.settings.items()}
                params = [Param(key, value) for key, value in values.items()]
                for begin in range(0, len(params), _PARAMS):
                    client.log_batch(run_id, params=params[begin : begin + _PARAMS])
            if points or state is None:
                _log_files(client, run_id, RunFolder(record.folder))
                client.set_tag(run_id, _STATE, json.dumps(record.state_after(state)))
            if record.complete and client.get_run(run_id).info.status != "FINISHED":
                client.set_terminated(run_id, "FINISHED")
        except MlflowException as error:
            raise RunFolderError(f"{out / STORE}: {first_line(error)[:300]}") from error
    return len(points)


@contextlib.contextmanager
def _quiet_migrations() -> Iterator[None]:
    """A new store is filled by hundreds of migrations, each with a line of its own."""
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow.store.db.utils")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _experiment(client: Any, name: str, out: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    place = (out / "artifacts").resolve()
    return client.create_experiment(name, artifact_location=place.as_uri())


def _find(client: Any, experiment_id: str, record: Record) -> tuple[str, dict[str, Any] | None]:
    """The MLflow run of a run folder, made where there is none, and what it has of it."""
    place = hashlib.sha256(str(record.folder).encode()).hexdigest()
    runs = client.search_runs([experiment_id], filter_string=f"tags.`{_PLACE}` = '{place}'")
    for run in runs:
        state = json.loads(run.data.tags.get(_STATE, "null"))
        if state is None or record.goes_on(state):
            return run.info.run_id, state
        client.delete_run(run.info.run_id)
    tags = {_PLACE: place, "mtn.folder": str(record.folder)}
    run = client.create_run(
        experiment_id,
        start_time=round(1e3 * record.started),
        tags=tags,
        run_name=record.folder.name,
    )
    return run.info.run_id, None


def _log_files(client: Any, run_id: str, run: RunFolder) -> None:
    for path in (run.config, run.environment, run.results, run.report):
        if path.is_file():
            client.log_artifact(run_id, str(path))
