"""The workspace of the trials: a data set, a short run on it, its export and the 310's input."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from mtn_core.cli import main

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
    (folder / "d").mkdir(parents=True)
    shutil.copytree(smoke_root, folder / "d" / "base", copy_function=os.link)
    root, run = str(folder / "d" / "base"), str(folder / "r" / "smoke")
    export, best = f"{run}/export", f"{run}/ckpt/last.ckpt"
    data = "data.ids_per_batch=8", "data.images_per_id=2", "train.eval_every=0"
    short = ["--recipe", "smoke", "--epochs", "1", "--set", *data]
    for command in (
        ["train", "--root", root, "--out", run, *short],
        ["eval", "--root", root, "--out", run, "--ckpt_path", best],
        ["export", "--ckpt_path", best, "--out", export, "--file_format", "ONNX", "MINDIR"],
    ):
        assert main(command) == 0
    (mindir,) = Path(export).glob("*.mindir")
    fed = "--result_dir", str(folder / "p" / "in"), "--label_dir", str(folder / "p" / "lab")
    assert main(["preprocess", "--root", root, "--mindir_path", str(mindir), *fed]) == 0


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
