"""What a notebook's run shows on a terminal: one bar; everything else goes to its log."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mtn_core.runs import RunFolder

_CHATTERS = ("papermill", "traitlets")
_BAR = "{desc} |{bar:30}| {n_fmt} of {total_fmt} cells, {elapsed}"


def log_of(executed: Path) -> Path:
    """Where the log of a notebook goes whose executed copy is this: to ``logs`` of its run."""
    run = RunFolder(executed.parent.parent)
    if executed.parent.name == run.notebooks.name:
        return run.logs / f"{executed.stem}.log"
    return executed.with_suffix(".log")


def bar_of(notebook: Path, *, shown: bool) -> dict[str, Any] | bool:
    """Papermill's bar, of the cells that are done; none where nobody looks."""
    if not shown or os.environ.get("CI") == "true":
        return False
    # Without a terminal (disable=None) there is none, and what is done leaves no line of its own.
    return {"desc": notebook.stem, "bar_format": _BAR, "leave": False, "disable": None}


@contextlib.contextmanager
def logged(path: Path) -> Iterator[dict[str, Any]]:
    """Send what papermill and the kernel's process print to a file.

    Args:
        path: The log, begun anew.

    Yields:
        Options of ``papermill.execute_notebook`` that do so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        loggers = [logging.getLogger(name) for name in _CHATTERS]
        before = [(one.propagate, one.level) for one in loggers]
        for one in loggers:
            one.addHandler(handler)
            one.propagate = False
            one.setLevel(logging.INFO)
        try:
            yield {"kernel_manager_class": _kernel_manager(file)}
        finally:
            for one, (propagate, level) in zip(loggers, before, strict=True):
                one.removeHandler(handler)
                one.propagate = propagate
                one.setLevel(level)


def _kernel_manager(file: IO[str]) -> type:
    from jupyter_client.manager import AsyncKernelManager

    class LoggedKernelManager(AsyncKernelManager):
        """Starts a kernel whose own output goes to the log."""

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            await super().start_kernel(stdout=file, stderr=file, **options)

    return LoggedKernelManager
