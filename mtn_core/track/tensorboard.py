"""Event files for TensorBoard, by tensorboardX: a folder a run, a file a call that had news."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from filelock import SoftFileLock
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar, text

from mtn_core.errors import RunFolderError
from mtn_core.files import atomic_path, remove, write_json
from mtn_core.track.record import Point, Record

_STATE = "mtn-track.json"
_EVENTS = "events.out.tfevents."  # TensorBoard looks for it, and reads files in their order


def track_with_tensorboard(record: Record, out: str | Path) -> int:
    """Bring ``out/NAME`` up to date with a run.

    A run that replaced another in the same folder replaces its event files, too. A call that is
    killed leaves whole files, and the next one counts none twice.

    Args:
        record: The run; it is named after its folder.
        out: Log folder of TensorBoard.

    Returns:
        How many numbers were added.

    Raises:
        RunFolderError: Another run of the same name was tracked there, or the place is a file.
    """
    folder = Path(out) / record.folder.name
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file; event files need a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with SoftFileLock(folder / ".lock", timeout=60):
        state = _read_state(folder)
        if state and not record.goes_on(state):
            if state["run"] != str(record.folder):
                raise RunFolderError(
                    f"{folder} shows another run of that name, {state['run']}; choose another --out"
                )
            state = None
        kept = state["files"] if state else []
        for stray in folder.glob(f"{_EVENTS}*"):
            if stray.name not in kept:
                remove(stray)
        points = list(record.points(state))
        if not points and state:
            return 0
        name = f"{_EVENTS}{int(record.started):010d}.{len(kept):05d}.mtn"
        _write_events(folder / name, points, None if state else record)
        write_json(folder / _STATE, {**record.state_after(state), "files": [*kept, name]})
    return len(points)


def _read_state(folder: Path) -> dict[str, Any] | None:
    path = folder / _STATE
    if not path.is_file():
        strangers = sorted(p.name for p in folder.glob(f"{_EVENTS}*") if not _is_own(p.name))
        if strangers:
            raise RunFolderError(
                f"{folder} holds {strangers[0]} of another program; choose another --out"
            )
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["run"] and state["results"] is not None and isinstance(state["files"], list):
            _ = [
                (log["rows"], log["sha256"], log["first_sha256"]) for log in state["logs"].values()
            ]
            return state
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise RunFolderError(f"{path} is damaged; delete {folder}, and it is written anew")


def _is_own(name: str) -> bool:
    return name.endswith(".mtn")


def _write_events(path: Path, points: Iterable[Point], settings_of: Record | None) -> None:
    with atomic_path(path) as temporary:
        writer = RecordWriter(str(temporary))
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        if settings_of:
            shown = yaml.safe_dump(dict(settings_of.settings), sort_keys=False)
            summary = text("config", "    " + shown.replace("\n", "\n    "))
            event = Event(wall_time=settings_of.started, step=0, summary=summary)
            writer.write(event.SerializeToString())
        for point in points:
            summary = scalar(point.tag, point.value)
            event = Event(wall_time=point.time, step=point.step, summary=summary)
            writer.write(event.SerializeToString())
        writer.close()
