"""A full disk names the file and leaves nothing behind; a limit on file sizes stands for it."""

import os
import subprocess
import sys

import pytest

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from mtn_core.cli import main
sys.exit(main(sys.argv[2:]))
"""


def limited(size, *arguments):
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(size), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TQDM_DISABLE": "1", "MPLBACKEND": "Agg"},
        check=False,
    )


def test_a_report(run_dir, tmp_path):
    done = limited(50_000, "report", run_dir, "--out", tmp_path / "r.html")
    assert done.returncode == 1
    assert f"error: cannot write {tmp_path / 'r.html'}: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_training_keeps_no_temporary_checkpoint(smoke_root, tmp_path):
    arguments = ["train", "--root", smoke_root, "--out", tmp_path / "run", "--recipe", "smoke"]
    tiny = ["--epochs", "1", "--set", "model.image_size=32", "train.eval_every=0"]
    done = limited(20_000_000, *arguments, *tiny)
    assert done.returncode == 1
    assert "epoch-001.ckpt: File too large" in done.stderr, done.stderr[-2000:]
    assert not (tmp_path / "run").exists()
