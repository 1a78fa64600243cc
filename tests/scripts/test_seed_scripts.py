"""The seed's shell scripts: argument order, usage, exit codes, logs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
TRAINING = [
    f"run_{kind}_{target}.sh"
    for kind in ("single_train", "distribute_train", "eval")
    for target in ("ascend", "gpu", "cpu")
]


def run(script, *arguments, cwd, **environment):
    return subprocess.run(
        ["bash", str(SCRIPTS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )


@pytest.mark.parametrize("script", TRAINING)
@pytest.mark.parametrize(
    "arguments", [[], ["a"], ["a", "b", "0", "x"], ["a", "b", "zero", "s"], ["a"] * 6]
)
def test_wrong_arguments_give_usage_and_2(script, arguments, tmp_path):
    done = run(script, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert f"usage: bash scripts/{script}" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["ascend", "gpu"])
def test_missing_hardware_is_said_and_fails(target, tmp_path, smoke_root):
    done = run(
        f"run_single_train_{target}.sh", smoke_root, "none", 0, "s", cwd=tmp_path, RECIPE="smoke"
    )
    assert done.returncode == 1
    log = (tmp_path / f"train_{target}.log").read_text()
    assert "was asked for and is not available" in log
    assert "run with --device_target CPU" in log


@pytest.mark.parametrize("script", ["run_eval_gpu.sh", "run_eval_cpu.sh"])
def test_the_exit_code_is_the_jobs(script, tmp_path, smoke_root):
    done = run(script, smoke_root, tmp_path / "no.ckpt", 0, "s", cwd=tmp_path)
    assert done.returncode == 1
    log = tmp_path / script.replace("run_", "").replace(".sh", ".log")
    assert "error" in log.read_text()


@pytest.mark.slow
def test_training_and_evaluation_on_cpu(tmp_path, smoke_root):
    tiny = "--epochs 1 --set model.image_size=32 data.images_per_id=2"
    done = run(
        "run_single_train_cpu.sh",
        smoke_root,
        "none",
        0,
        "s",
        cwd=tmp_path,
        RECIPE="smoke",
        EXTRA_ARGS=tiny,
    )
    assert done.returncode == 0, done.stdout
    log = (tmp_path / "train_cpu.log").read_text()
    assert "epoch:1 step:" in log
    assert ", loss is " in log
    best = tmp_path / "train_cpu" / "ckpt" / "best.ckpt"
    done = run("run_eval_cpu.sh", smoke_root, best, 0, "s", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    text = (tmp_path / "eval_cpu.log").read_text()
    for part in ("Computing CMC and mAP", "Rank-1  : ", "Color classification accuracy: "):
        assert part in text
    done = run("run_eval_cpu.sh", smoke_root, best, 0, "h", cwd=tmp_path)
    assert done.returncode == 2
    assert "--heatmapaware" in done.stdout
    again = run("run_single_train_cpu.sh", smoke_root, "none", 0, "s", cwd=tmp_path, RECIPE="smoke")
    assert again.returncode == 1
    assert "already holds a run" in again.stdout
