"""Interrupts, errors that nobody foresaw, and jobs that cannot work."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mtn_core import cli
from mtn_core.cli import main
from mtn_core.errors import ConfigError
from mtn_core.jobs import cluster as cluster_module
from mtn_core.jobs.cluster import Cluster, launch

SLOW = """
import sys, time
from mtn_core import cli
from mtn_core.commands import data

def wait(args):
    from mtn_core.files import atomic_folder
    with atomic_folder(args.root / "made"):
        print("under way", flush=True)
        time.sleep(60)

data.run_check = wait
sys.exit(cli.main(["check", "--root", sys.argv[1]]))
"""


# An evaluation that cannot end before it is interrupted: every batch is embedded a thousand times.
LONG_EVALUATION = """
import sys
from mtn_core import cli
from mtn_core.predict.mindspore import MindSporeBackend

embed = MindSporeBackend.embed

def embed_again_and_again(backend, batch):
    embed(backend, batch)
    print("under way", flush=True)
    for _ in range(1000):
        outputs = embed(backend, batch)
    return outputs

MindSporeBackend.embed = embed_again_and_again
sys.exit(cli.main(sys.argv[1:]))
"""


def hear_interrupts():
    """A test run in the background of a shell hands on that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line_130_and_leaves_nothing(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    assert process.stdout.readline() == "under way\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(number)
    _, printed = process.communicate()
    assert process.returncode == 130
    assert printed == ("interrupted: mtn check was stopped before its end; nothing was changed\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupted_evaluation_leaves_the_run_as_it_was(smoke_root, tmp_path):
    """417; MindSpore's runtime turns Ctrl-C into SIGTERM for its own process."""
    run = tmp_path / "run"
    tiny = ["--recipe", "smoke", "--epochs", "1", "--set", "model.image_size=32"]
    assert main(["train", "--root", str(smoke_root), "--out", str(run), *tiny]) == 0
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    command = ["eval", "--root", str(smoke_root), "--out", str(run)]
    command += ["--ckpt_path", str(run / "ckpt" / "best.ckpt")]
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_EVALUATION, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    assert process.stdout.readline() == "under way\n", process.communicate()[1]
    assert (run / ".unfinished").exists()
    process.send_signal(signal.SIGINT)
    printed = process.communicate()[1]
    assert process.returncode == 130, printed
    assert "interrupted: mtn eval was stopped before its end" in printed
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_a_bug_is_one_line_and_keeps_its_traceback(tmp_path, monkeypatch, capsys):
    def broken(*arguments, **settings):
        raise ZeroDivisionError("nobody thought of this\nsecond line")

    monkeypatch.setattr("mtn_core.data.check.check_dataset", broken)
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    assert main(["check", "--root", str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1
    assert "ZeroDivisionError: nobody thought of this). This is a bug" in printed
    kept = Path(printed.strip().partition("report it with ")[2])
    assert kept.parent == tmp_path and "Traceback" in kept.read_text()


def test_a_system_error_names_the_file_and_not_the_number(tmp_path, capsys):
    name = "x" * 300
    assert main(["synth", "--root", str(tmp_path / name)]) == 1
    printed = capsys.readouterr().err
    assert "File name too long" in printed and "Errno" not in printed and len(printed) < 300


@pytest.mark.parametrize(
    "numbers",
    [
        {"worker_num": 2, "node_rank": 5},
        {"worker_num": 2, "node_rank": -1},
        {"worker_num": 4, "local_worker_num": 2, "node_rank": 3},
        {"worker_num": 0},
        {"worker_num": 2, "local_worker_num": 3},
    ],
)
def test_a_cluster_that_cannot_be(numbers):
    with pytest.raises(ConfigError):
        Cluster(**numbers)


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be used"):
            launch(Cluster(worker_num=2, master_port=port), "module", [], tmp_path / "logs")


def test_a_log_folder_keeps_what_is_not_the_jobs(tmp_path, monkeypatch):
    """Fault 403 of those that were found by trying."""
    own = ["worker_0.log", "scheduler.log", "msrun.log", "pid.0", "done.1", "failed.0"]
    others = ["experiment.log", "worker_notes.log", "pid.txt", "done.list"]
    for name in own + others:
        (tmp_path / name).write_text("x")

    class Ended:
        def __init__(self, *arguments, **settings):
            pass

        def poll(self):
            return 0

    monkeypatch.setattr(cluster_module.subprocess, "Popen", Ended)
    assert launch(Cluster(worker_num=2), "module", [], tmp_path) == 0
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*others, "msrun.log"}


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--root", "d", "--out", "r"],
        ["train", "--distribute", "False", "--root", "d", "--out", "r"],
        ["eval", "--distribute=no", "--root", "d", "--ckpt_path", "c", "--out", "r"],
    ],
)
def test_two_trainings_in_one_folder_are_refused(command, tmp_path, capsys):
    logs = ["--log_dir", str(tmp_path / "logs")]
    assert main(["launch", "--workers", "2", *logs, "--", *command]) == 2
    assert "add --distribute" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


def test_a_cpu_has_no_number(smoke_root, tmp_path, capsys):
    out = ["--root", str(smoke_root), "--out", str(tmp_path / "r"), "--recipe", "smoke"]
    assert main(["train", *out, "--device_id", "99"]) == 1
    assert "there is no CPU device 99; use --device_id 0" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
