"""The workspace of the trials: a data set, a short run on it, its export and the 310's input."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # trial


@pytest.fixture(scope="session")
def given(tmp_path_factory, request):
    """``d/base``, ``r/smoke`` with checkpoints, results and export, and ``p``; read-only.

    MTN_TRIALS_GIVEN names a folder that keeps them: for whoever writes trials.
    """
    kept = os.environ.get("MTN_TRIALS_GIVEN")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("given")
    if not (folder / "p").exists():
        make_given(folder, request.getfixturevalue("smoke_root"))
    return folder


def make_given(folder, smoke_root):
    job = Path(__file__).with_name("given_job.py")
    done = subprocess.run(
        [sys.executable, str(job), str(folder), str(smoke_root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture
def workspace(given, tmp_path, monkeypatch):
    """The working folder of one trial: ``d/base``, ``r/smoke`` and ``p`` are links, ``x`` empty."""
    folder = tmp_path / "workspace"
    for name in ("d/base", "r/smoke", "p"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to((given / name).resolve())
    (folder / "x").mkdir()
    monkeypatch.chdir(folder)
    yield folder
    shutil.rmtree(folder)
