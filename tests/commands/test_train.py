"""`mtn train` and `mtn eval` as processes of their own."""

import json
import os
import subprocess
import sys

import pytest


def mtn(*words):
    done = subprocess.run(
        [sys.executable, "-m", "mtn_core", *map(str, words)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "GLOG_v"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    # MindSpore's C++ part would write [WARNING] lines into the progress bar.
    assert "[WARNING]" not in done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_same_seed_same_results(smoke_root, tmp_path):
    tiny = ["model.image_size=32", "data.images_per_id=2", "train.eval_every=0"]
    results = []
    for name in ("first", "second"):
        run = tmp_path / name
        mtn("train", "--root", smoke_root, "--out", run, "--recipe", "smoke", "--epochs", 1,
            "--seed", 3, "--set", *tiny)  # fmt: skip
        printed = mtn("eval", "--root", smoke_root, "--ckpt_path", run / "ckpt" / "last.ckpt",
                      "--out", tmp_path / f"{name}-eval", "--baselines")  # fmt: skip
        results.append((tmp_path / f"{name}-eval" / "results.json").read_bytes())
        baselines = json.loads((tmp_path / f"{name}-eval" / "baselines.json").read_text())
        for words, key in (("same network, untrained", "untrained"),
                           ("colour histogram", "color_histogram")):  # fmt: skip
            assert f"Baseline, {words}: mAP {baselines[key]['mAP']:.2%}" in printed
    assert results[0] == results[1]
