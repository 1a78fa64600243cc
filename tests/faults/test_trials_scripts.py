"""Trials of the shell scripts, of signals, and of outputs that nobody reads."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mtn_core.engine.train import TrainingLoop
from mtn_core.export.folder import export_folder

INFER = ["a.mindir", "DATA", "y", "CPU", "0", "n", "y"]


@pytest.fixture
def run(repository, tmp_path):
    """Runs a script in an empty folder; nothing may be written where it is refused."""
    (tmp_path / "DATA" / "veri").mkdir(parents=True)
    (tmp_path / "my best.ckpt").write_bytes(b"")

    def call(script, *arguments):
        done = subprocess.run(
            ["bash", str(repository / "scripts" / script), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHON": "/bin/false"},
        )
        assert {path.name for path in tmp_path.iterdir()} == {"DATA", "my best.ckpt"}
        return done

    return call


@pytest.mark.parametrize("script", ["run_infer_310.sh", "run_310_infer.sh"])
@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (2, "q", "NEED_PREPROCESS must be y or n, got 'q'"),
        (3, "GPU", "DEVICE_TARGET must be Ascend or CPU, got 'GPU'"),
        (4, "first", "DEVICE_ID must be a number, got 'first'"),
        (5, "True", "NEED_HEATMAP must be y or n, got 'True'"),
        (6, "", "NEED_SEGMENT must be y or n, got ''"),
    ],
)
def test_a_wrong_letter_is_named(run, script, place, value, said):
    """338, under the script's name and the one that the document's example has."""
    done = run(script, *INFER[:place], value, *INFER[place + 1 :])
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: {said}"


def test_the_number_of_arguments_is_named(run):
    done = run("run_infer_310.sh", *INFER[:5])
    assert done.stderr.endswith("error: expected 7 arguments, or 6 without DEVICE_ID, got 5\n")


@pytest.mark.parametrize("model", ["my best.ckpt", "absent.ckpt", "none"])
@pytest.mark.parametrize(
    ("name", "first", "rest"),
    [
        *((f"run_single_train_{t}.sh", "data", ["0", "s"]) for t in ("ascend", "gpu", "cpu")),
        *((f"run_distribute_train_{t}.sh", "data", ["2", "s"]) for t in ("ascend", "gpu", "cpu")),
        *((f"run_trans_{t}.sh", "data", ["0"]) for t in ("ascend", "gpu", "cpu")),
        *((f"run_onnx_eval_{t}.sh", "data", ["0", "s"]) for t in ("gpu", "cpu")),
        *((f"run_eval_{t}.sh", "data", ["0", "s"]) for t in ("gpu", "cpu")),
        ("run_eval_ascend.sh", "checkpoint", ["0", "s"]),
        ("run_infer_310.sh", "model", INFER[2:]),
    ],
)
def test_arguments_in_the_other_order_are_told_apart(run, name, first, rest, model):
    """Every script that takes data and a model; the document has them in either order."""
    given = [model, "DATA"] if first == "data" else ["DATA", model]
    done = run(name, *given, *rest)
    meant = " ".join([*reversed(given), *rest]).replace("my best", "my\\ best")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: DATA is a data folder; did you mean: bash scripts/{name} {meant} "
        f"({first} first here)"
    )


def mtn(root, **settings):
    command = ["-m", "mtn_core", "check", "--fast", "--splits", "query", "--root", str(root)]
    flags = ["--segmentaware", "False", "--heatmapaware", "False"]
    return subprocess.Popen(
        [sys.executable, *command, *flags],
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE} | settings,
    )


def test_whoever_reads_the_output_goes_away(given):
    reading, writing = os.pipe()
    os.close(reading)
    process = mtn(given / "d" / "base", stdout=writing)
    os.close(writing)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert said == "error: the program that reads the output ended before this one\n"


def test_the_output_goes_to_a_full_disk(given):
    with open("/dev/full", "w") as full:
        process = mtn(given / "d" / "base", stdout=full)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert said.startswith("error: the output or a file: No space left on device\n")
    assert "This is a bug" not in said


def test_a_terminal_that_cannot_show_a_name(tmp_path):
    process = mtn(tmp_path / "é", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert printed.startswith("problem: ") and "\\xe9" in printed, printed
    assert "This is a bug" not in said


# Whatever the tests themselves were started under.
ANSWERING = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
IGNORING = ANSWERING.replace("SIG_DFL", "SIG_IGN")
WAITING = """
import sys, time
from mtn_core import cli
from mtn_core.commands import data

def wait(args):
    print("under way", flush=True)
    time.sleep(60)

data.run_check = wait
sys.exit(cli.main(["check", "--root", "x"]))
"""


@pytest.mark.parametrize("ignored", [False, True], ids=["terminal closed", "under nohup"])
def test_a_terminal_that_is_closed(ignored):
    program = [IGNORING if ignored else ANSWERING, WAITING]
    process = subprocess.Popen(
        [sys.executable, "-c", *program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "under way\n"
    process.send_signal(signal.SIGHUP)
    if ignored:
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.startswith("interrupted: mtn check was stopped before its end; ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_training_in_the_background_of_a_script_ignores_what_it_is_told_to(number, ignored):
    loop = TrainingLoop.__new__(TrainingLoop)
    loop.stopped_by = None
    before = signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with loop._signals():
            os.kill(os.getpid(), number)
            time.sleep(0.01)
    finally:
        signal.signal(number, before)
    assert loop.stopped_by == (None if ignored else number)


EXPORTING = """
import os, signal, sys
from mtn_core import files
from mtn_core.export.folder import export_folder
replace, where = os.replace, sys.argv[2]

def killed(source, target):
    replace(source, target)
    if where == "between" and str(target).endswith("a.onnx"):
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = killed
with export_folder(sys.argv[1], overwrite=True) as work:
    for name in ("a.onnx", "b.onnx", "model.json"):
        (work / name).write_text("new")
    if where == "before":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("where", ["before", "between"])
def test_an_export_that_is_killed(tmp_path, monkeypatch, where):
    """Before its files are moved they are removed later; amid that, they follow."""
    names = ("a.onnx", "b.onnx", "model.json")
    for name in (*names, "of_a_person.txt"):
        (tmp_path / name).write_text("old")
    command = [sys.executable, "-c", EXPORTING, str(tmp_path), where]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*"))) == 1
    if where == "before":
        monkeypatch.setattr("mtn_core.files._SETTLED_SECONDS", -1.0)
    with (
        pytest.raises(Exception, match="already holds an export"),
        export_folder(tmp_path, overwrite=False),
    ):
        pass
    now = "old" if where == "before" else "new"
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"of_a_person.txt": "old"} | dict.fromkeys(names, now)


def test_two_exports_into_one_folder(tmp_path):
    """The later one is refused, or replaces the earlier one; neither disturbs the other."""
    with (
        pytest.raises(Exception, match="already holds an export"),
        export_folder(tmp_path, overwrite=False) as late,
    ):
        (late / "model.json").write_text("late")
        with export_folder(tmp_path, overwrite=False) as early:
            assert early != late and (late / "model.json").exists()
            (early / "model.json").write_text("early")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"model.json": "early"}
    with export_folder(tmp_path, overwrite=True) as late:
        (late / "model.json").write_text("late")
        with export_folder(tmp_path, overwrite=True) as early:
            (early / "model.json").write_text("early, again")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"model.json": "late"}


def test_an_export_that_fails_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), export_folder(tmp_path / "x", overwrite=False) as work:
        (work / "a.onnx").write_text("half")
        raise ZeroDivisionError
    assert not (tmp_path / "x").exists()
