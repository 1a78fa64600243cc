"""Run by conftest.py: ``given_job.py FOLDER SMOKE_ROOT`` writes what the trials are given.

A process of its own: what earlier tests left behind in theirs (modes, gigabytes of compiled
networks) would decide otherwise whether the trials have anything to work on.
"""

import os
import shutil
import sys
from pathlib import Path

from mtn_core.cli import main


def make_given(folder: Path, smoke_root: Path) -> None:
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
        assert main(command) == 0, command
    (mindir,) = Path(export).glob("*.mindir")
    fed = "--result_dir", str(folder / "p" / "in"), "--label_dir", str(folder / "p" / "lab")
    assert main(["preprocess", "--root", root, "--mindir_path", str(mindir), *fed]) == 0


if __name__ == "__main__":
    make_given(Path(sys.argv[1]), Path(sys.argv[2]))
