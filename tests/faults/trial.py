"""A trial: a workspace, a fault put into it, one command, its last words, and the files it spares.

The tables of trials stand in ``test_trials_*.py``; they run in the process of the tests, for an
import of MindSpore costs more than most of them. What can kill a process, or needs two, is a test
of its own beside them.
"""

import itertools
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from mtn_core.cli import main

LONGEST_LINE = 700
SHARED = ("d/base", "r/smoke", "p")  # links in every workspace


@dataclass(frozen=True)
class Trial:
    """One row of a table.

    Attributes:
        number: Its number in the list of faults that were found by trying; None: found beside it.
        what: The fault, in words.
        command: What is typed after ``mtn``, in the workspace's folder.
        expected: Pattern of the line that tells why it failed; of anything that it says where it
            ends well.
        before: Puts the fault into the workspace.
        code: Exit code.
        writes: Patterns of paths that it may write, from the workspace's folder; nothing else may
            appear, change or go.
    """

    number: int | None
    what: str
    command: str
    expected: str
    before: Callable[[Path], object] = lambda workspace: None
    code: int = 1
    writes: tuple[str, ...] = ()

    def __str__(self):
        number = "beside" if self.number is None else str(self.number)
        return f"{number}: {self.what}"


def check(trial: Trial, workspace: Path, capfd, caplog) -> None:
    """Run a trial in the workspace, which is the working folder, and judge it."""
    trial.before(workspace)
    before = look(workspace)
    capfd.readouterr()
    caplog.clear()
    try:
        code = main(shlex.split(trial.command))
    except SystemExit as error:
        code = error.code
    printed = capfd.readouterr()
    said = f"{printed.out}\n{printed.err}\n{caplog.text}"
    assert code == trial.code, said
    assert "Traceback" not in said and "This is a bug" not in said, said
    if code == 0:
        assert re.search(trial.expected, said), said
    else:
        said_last = last_words(printed)
        assert said_last, said
        assert re.search(trial.expected, said_last), said
        assert len(said_last) <= LONGEST_LINE, f"{len(said_last)} characters: {said_last}"
    after = look(workspace)
    touched = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    unexpected = {p for p in touched if not any(fnmatch(p, pattern) for pattern in trial.writes)}
    assert not unexpected, f"touched: {sorted(unexpected)[:9]}; {said}"


def last_words(printed) -> str:
    """The one line that tells why a command failed; ``mtn check`` has one for each problem."""
    lines = printed.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ") or ": error: " in line[:40]]
    if errors:
        assert len(errors) == 1 and lines[-1] == errors[0], printed.err
        return errors[0]
    return next((line for line in printed.out.splitlines() if line.startswith("problem: ")), "")


def look(workspace: Path) -> dict[str, tuple[int, ...]]:
    """Every path of a workspace and what tells whether it was touched.

    Links are not followed, but those to what all trials share; there, maps are too many to look at.
    """
    found = {}
    shared = [workspace / name for name in SHARED if (workspace / name).is_symlink()]
    for place, folders, names in itertools.chain(os.walk(workspace), *map(os.walk, shared)):
        if Path(place).parent in shared:
            folders[:] = [f for f in folders if not f.startswith(("heatmap_", "segment_"))]
        for name in (*names, *folders):
            path = Path(place, name)
            status = path.lstat()
            key = (status.st_mode, status.st_ino)
            if not path.is_dir() or path.is_symlink():
                key += (status.st_size, status.st_mtime_ns)
            found[str(path.relative_to(workspace))] = key
    return found


def own(path: Path) -> Path:
    """Turn a link to what all trials share into a copy that may be damaged."""
    if path.is_symlink():
        source = path.resolve()
        path.unlink()
        (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
    return path


def root_without_maps(workspace: Path, name: str) -> Path:
    """A data root ``d/NAME`` with labels and images, but neither maps nor packs; returns it.

    Its files are links to those of ``d/base``: replace them, do not write into them.
    """
    source, target = (workspace / "d" / n / "veri" for n in ("base", name))
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            shutil.copy(path, target)
        elif path.name in ("image_train", "image_test", "image_query"):
            shutil.copytree(path, target / path.name, copy_function=os.link)
    return target.parent


def replace(path: Path, content: bytes | str) -> Path:
    """Put another content in place of a file, which may be a link to a shared one; returns it."""
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
