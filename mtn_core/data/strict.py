"""Strict decoding for ``mtn check``: what the decoder would repair in silence is a problem.

Of JPEG files it finds coded data that ends early, goes on behind the last block, cannot be decoded
or has a hole of zeros, which is what a cut file, a lost sector or a bad transfer leaves. It cannot
find a change that still decodes to the right number of blocks, as most single flipped bits do: JPEG
has no checksum. PNG has one for each chunk, and a wrong one is found. WebP and BMP have none; of
them only a file that ends early is found.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Literal, cast

from mtn_core.data.layout import MapKind, map_file_names
from mtn_core.data.presence import MAP_COUNTS, Problem
from mtn_core.data.turned import Turned
from mtn_core.data.workers import num_workers_for
from mtn_core.errors import DataError

_Item = tuple[Literal["image", "map"], list[str]]
_Process = subprocess.Popen[str]
_BATCH = 16  # items handed over at a time
_BATCHES_A_WORKER = 4  # fewer are quicker done than another process is started


class StrictDecoder:
    """Processes that decode files one by one and tell what was wrong; use it with ``with``.

    A decoder that crashes on a file takes such a process down, not the program, and is a problem
    of that file.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._all: list[_Process] = []

    def __enter__(self) -> "StrictDecoder":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            _end(worker)

    def find_broken_images(
        self, paths: Iterable[Path], on_done: Callable[[int], object] | None = None
    ) -> tuple[list[Problem], dict[Path, Turned]]:
        """Problems of images, in their order, and the good ones that EXIF turns.

        Args:
            paths: Image files.
            on_done: Called with the number of files that were looked at since the last call.
        """
        problems: list[Problem] = []
        turned: dict[Path, Turned] = {}
        items: list[_Item] = [("image", [str(path)]) for path in paths]
        for path, what, sizes in self._look(items, on_done):
            if what is not None:
                problems.append(Problem(Path(path), what))
            else:
                turned[Path(path)] = Turned(*map(tuple, sizes))
        return problems, turned

    def find_broken_maps(self, folders: Iterable[Path], kind: MapKind) -> list[Problem]:
        """The first problem of each map folder that has one, in their order."""
        names = map_file_names(MAP_COUNTS[kind])
        items: list[_Item]
        items = [("map", [f"{folder}/{name}" for name in names]) for folder in folders]
        return [Problem(Path(path), what) for path, what, _ in self._look(items)]

    def _look(
        self, items: list[_Item], on_done: Callable[[int], object] | None = None
    ) -> Iterator[Any]:
        batches = [items[i : i + _BATCH] for i in range(0, len(items), _BATCH)]
        count = min(num_workers_for(None), 1 + len(batches) // _BATCHES_A_WORKER)
        pool = ThreadPoolExecutor(count)
        try:
            for found in pool.map(self._look_at, batches):
                if on_done is not None:
                    on_done(len(found))
                yield from filter(None, found)
        finally:
            pool.shutdown(cancel_futures=True)

    def _look_at(self, items: list[_Item]) -> list:
        worker = self._take()
        answers = _ask(worker, items)
        if answers is not None:
            with self._lock:
                self._idle.append(worker)
            return answers
        code = _end(worker)
        if len(items) > 1:  # which of them was it?
            return [answer for item in items for answer in self._look_at([item])]
        kind, paths = items[0]
        if len(paths) > 1:
            return [answer for path in paths for answer in self._look_at([(kind, [path])])][:1]
        return [(paths[0], f"ends the decoder's process (exit status {code})", ())]

    def _take(self) -> _Process:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        worker = _start()
        with self._lock:
            self._all.append(worker)
        if _ask(worker, []) is None:
            raise DataError(
                f"no process for strict decoding can be started (exit status {_end(worker)}); "
                "mtn check --fast does without"
            )
        return worker


def _start() -> _Process:
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "mtn_core.data.strict_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def _ask(worker: _Process, items: list[_Item]) -> list | None:
    """Answers to the items, None where the process died."""
    stdin, stdout = cast(IO[str], worker.stdin), cast(IO[str], worker.stdout)
    try:
        stdin.write(json.dumps(items) + "\n")
        stdin.flush()
        line = stdout.readline()
    except OSError:
        return None
    return json.loads(line) if line.endswith("\n") else None


def _end(worker: _Process) -> int:
    """End a process, if it has not ended by itself; its exit status."""
    with contextlib.suppress(OSError):  # it is gone, and something was still to be written
        cast(IO[str], worker.stdin).close()
    cast(IO[str], worker.stdout).close()
    try:
        return worker.wait(timeout=5)
    except subprocess.TimeoutExpired:
        worker.kill()
        return worker.wait()
