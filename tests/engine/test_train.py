"""The loop: logs, best, resume, interruption, divergence."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toy import ToyTask, fit

from mtn_core.config import load_config
from mtn_core.errors import CheckpointError, TrainingDivergedError
from mtn_core.models.checkpoint import load_checkpoint

HERE = Path(__file__).parent


def config(**overrides):
    values = {"train.epochs": 3, "optim.learning_rate": 1e-2, "optim.ema_decay": 0.9}
    return load_config("seed", values | {k.replace("__", "."): v for k, v in overrides.items()})


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_logs_have_a_row_a_step_and_the_seed_line_an_epoch(device, tmp_path):
    lines = []
    task = ToyTask()
    fit(task, config(), tmp_path, device, echo=lines.append)
    log = rows(tmp_path / "train.csv")
    assert [int(r["step"]) for r in log] == list(range(1, 13))
    assert [int(r["epoch"]) for r in log] == [1] * 4 + [2] * 4 + [3] * 4
    for column in ("loss", "lr", "images_per_s", "data_wait_ms", "loss_square", "bias"):
        assert np.isfinite(float(log[0][column]))
    assert lines[0].startswith("epoch:1 step:4, loss is ")
    assert float(lines[2].split()[-1]) == pytest.approx(float(log[-1]["loss"]), rel=1e-6)
    assert task.loader.closed


def test_best_is_the_best_epoch_and_old_epochs_go(device, tmp_path):
    progress = fit(ToyTask(scores=[0.2, 0.6, 0.4]), config(), tmp_path, device)
    assert (progress.best_score, progress.best_epoch) == (0.6, 2)
    names = sorted(p.name for p in (tmp_path / "ckpt").iterdir())
    assert names == ["best.ckpt", "epoch-002.ckpt", "epoch-003.ckpt", "last.ckpt"]
    assert load_checkpoint(tmp_path / "ckpt" / "best.ckpt").meta["epoch"] == 2
    assert load_checkpoint(tmp_path / "ckpt" / "last.ckpt").meta["epoch"] == 3
    assert [float(r["score"]) for r in rows(tmp_path / "validation.csv")] == [0.2, 0.6, 0.4]


PROGRAM = """
import sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from toy import ToyTask, fit
from mtn_core.config import load_config
from mtn_core.device import setup_device

class SlowTask(ToyTask):
    def inputs(self, batch):
        time.sleep({pause})
        return super().inputs(batch)

config = load_config("seed", {{
    "train.epochs": 3, "optim.learning_rate": 1e-2, "optim.ema_decay": 0.9,
    "train.save_every_steps": 1,
}})
fit(SlowTask(scores=[0.2, 0.6, 0.4]), config, Path(sys.argv[1]), setup_device("CPU"))
"""


def start(folder, pause=0.4):
    program = PROGRAM.format(here=str(HERE), pause=pause)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        # A test run in the background of a shell hands on that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_steps(folder, count, process):
    while True:
        log = folder / "train.csv"
        if log.is_file() and len(log.read_text().splitlines()) > count:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def final(folder):
    checkpoint = load_checkpoint(folder / "ckpt" / "last.ckpt")
    return checkpoint.raw_weights | checkpoint.state


@pytest.mark.parametrize("steps", [2, 6])
def test_killed_and_resumed_is_the_same_as_uninterrupted(device, tmp_path, steps):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    settings = config(train__save_every_steps=1)
    fit(ToyTask(scores=[0.2, 0.6, 0.4]), settings, whole, device)
    process = start(broken)
    wait_for_steps(broken, steps, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    remaining = [0.2, 0.6, 0.4] if steps < 4 else [0.6, 0.4]
    done = load_checkpoint(broken / "ckpt" / "last.ckpt").meta
    assert 1 <= done["step"] < 12
    remaining = [0.2, 0.6, 0.4][done["epoch"] :]
    progress = fit(ToyTask(scores=remaining), settings, broken, device, resume=True)
    assert (progress.best_score, progress.best_epoch) == (0.6, 2)
    expected = final(whole)
    got = final(broken)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
    assert [r["loss"] for r in rows(broken / "train.csv")] == [
        r["loss"] for r in rows(whole / "train.csv")
    ]
    assert not list(broken.rglob("ckpt/.*"))[1:], "at most the write that was killed is left over"


def test_ctrl_c_saves_and_can_be_resumed(device, tmp_path):
    process = start(tmp_path)
    wait_for_steps(tmp_path, 5, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert "go on with --resume" in process.stderr.read()
    meta = load_checkpoint(tmp_path / "ckpt" / "last.ckpt").meta
    assert meta["step"] == len(rows(tmp_path / "train.csv"))


def test_a_corrupt_last_checkpoint_falls_back_and_says_so(device, tmp_path, caplog):
    fit(ToyTask(), config(train__epochs=3), tmp_path, device)
    last = tmp_path / "ckpt" / "last.ckpt"
    content = last.read_bytes()
    last.unlink()  # it is a second name of the last epoch's file
    last.write_bytes(content[: len(content) // 2])
    progress = fit(ToyTask(), config(train__epochs=3), tmp_path, device, resume=True)
    assert progress.epoch == 3
    assert "resuming from epoch-003.ckpt instead" in caplog.text


def test_resume_refuses_another_configuration(device, tmp_path):
    fit(ToyTask(), config(), tmp_path, device)
    with pytest.raises(CheckpointError, match="another configuration"):
        fit(ToyTask(), config(optim__learning_rate=1e-3), tmp_path, device, resume=True)
    with pytest.raises(CheckpointError, match="nothing to resume from"):
        fit(ToyTask(), config(), tmp_path / "other", device, resume=True)


def test_nan_stops_before_the_weights_change_and_names_the_images(device, tmp_path):
    with pytest.raises(TrainingDivergedError, match="epoch 2, step 6"):
        fit(ToyTask(poison=(1, 1)), config(), tmp_path, device)
    diagnosis = json.loads((tmp_path / "diagnosis.json").read_text())
    assert diagnosis["images"] == ["image-4.jpg", "image-5.jpg", "image-6.jpg", "image-7.jpg"]
    assert (diagnosis["epoch"], diagnosis["step"]) == (2, 6)
    assert diagnosis["first_cell_not_finite"] == "network.0"
    assert diagnosis["largest_activations"]
    weights = load_checkpoint(tmp_path / "ckpt" / "last.ckpt").weights
    assert all(np.isfinite(v).all() for v in weights.values())
