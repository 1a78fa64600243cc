"""The whole examination: one screen, JSON, exit codes, and the errors that name it."""

import json
import os
import subprocess
import sys

import pytest

from mtn_core import cli
from mtn_core.commands import doctor as command
from mtn_core.doctor import examine as module
from mtn_core.doctor import tools
from mtn_core.doctor.examine import examine, missing_for, to_text
from mtn_core.doctor.finding import Finding

PARTS = {"Python", "BLAS", "MindSpore", "CPU", "GPU", "Ascend", "ONNX Runtime", "torch", "C++"}
PARTS |= {"Lite runtime", "Chromium"}


def finding(part, state):
    return Finding(part, state, "here", ("a thing",), ("mend it",))


def test_a_look_that_fails_does_not_hide_the_others(monkeypatch):
    def broken(*facts):
        raise ZeroDivisionError("no such luck")

    for name in (n for n in vars(module) if n.startswith("check_")):
        monkeypatch.setattr(module, name, broken)
    monkeypatch.setattr(module, "probe_mindspore", lambda target: {})
    findings = examine()
    assert {f.part for f in findings} == PARTS
    assert all("ZeroDivisionError: no such luck" in f.lacks[0] for f in findings)


@pytest.mark.parametrize(
    ("target", "states", "code"),
    [
        (None, {"GPU": "missing", "CPU": "missing"}, 0),
        ("CPU", {"GPU": "missing", "CPU": "ok"}, 0),
        ("CPU", {"CPU": "ok", "MindSpore": "poor"}, 0),
        ("CPU", {"CPU": "ok", "MindSpore": "missing"}, 1),
        ("GPU", {"GPU": "missing", "CPU": "ok"}, 1),
        ("Ascend", {"Ascend": "ok", "GPU": "missing"}, 0),
    ],
)
def test_what_was_asked_for_decides_the_exit_code(monkeypatch, capsys, target, states, code):
    findings = [finding(part, state) for part, state in states.items()]
    monkeypatch.setattr(module, "examine", lambda target: findings)
    arguments = ["doctor", *(["--device_target", target] if target else [])]
    assert cli.main(arguments) == code
    printed = capsys.readouterr()
    assert ("was asked for and cannot be used" in printed.err) == bool(code)
    assert cli.main([*arguments, "--json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["asked_for"] == target
    assert answer["ready"] == (None if target is None else not code)
    assert {p["part"]: p["state"] for p in answer["parts"]} == states


def test_the_screen_has_a_mending_command_for_what_is_missing():
    lines = to_text([finding("GPU", "missing")]).splitlines()
    assert lines[0].split() == ["missing", "GPU", "here"]
    assert lines[1].strip() == "lacks a thing" and lines[2].strip() == "mend: mend it"
    assert missing_for("CPU", [finding("GPU", "missing")]) == []


def test_it_runs_where_neither_numpy_nor_mindspore_loads(tmp_path):
    for name in ("numpy", "mindspore", "pydantic", "onnxruntime", "torch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"raise ImportError('no {name}', name='{name}')"
        )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "mtn_core", *words],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )

    done = run("doctor", "--json", "--device_target", "CPU")
    assert done.returncode == 1, done.stderr
    states = {p["part"]: p["state"] for p in json.loads(done.stdout)["parts"]}
    assert states.keys() == PARTS
    for part in ("BLAS", "MindSpore", "CPU", "ONNX Runtime", "torch"):
        assert states[part] == "missing"
    # Any other command says in one line whom to ask.
    done = run("check", "--root", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: a package is missing or broken: no ")
    assert "`mtn doctor`" in done.stderr and "Traceback" not in done.stderr


def test_this_machine():
    done = subprocess.run(
        [sys.executable, "-m", "mtn_core", "doctor", "--device_target", "CPU"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GFLOP/s" in done.stdout
    assert {line[9:22].strip() for line in done.stdout.splitlines()} - {""} == PARTS


def test_a_missing_package_inside_a_command_names_the_doctor(monkeypatch, tmp_path, capsys):
    def absent(*arguments, **settings):
        raise ModuleNotFoundError("No module named 'mindspore'", name="mindspore")

    monkeypatch.setattr("mtn_core.data.check.check_dataset", absent)
    assert cli.main(["check", "--root", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "needs the package mindspore" in said and "`mtn doctor`" in said


def test_a_wrong_import_of_our_own_is_a_bug(monkeypatch, tmp_path, capsys):
    def wrong(*arguments, **settings):
        raise ImportError("cannot import name 'x' from 'mtn_core.y'", name="mtn_core.y")

    monkeypatch.setattr("mtn_core.data.check.check_dataset", wrong)
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    assert cli.main(["check", "--root", str(tmp_path)]) == 1
    assert "This is a bug" in capsys.readouterr().err


def test_tools_are_looked_for_on_the_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.check_compiler().mend == ("apt-get install g++ cmake make",)
    assert tools.check_browser().mend == ("apt-get install chromium",)
    for name in ("g++", "make", "google-chrome"):
        (tmp_path / name).touch(mode=0o755)
    assert tools.check_compiler().mend == ("apt-get install cmake",)
    assert tools.check_browser().found == str(tmp_path / "google-chrome")


def test_the_lite_runtime_is_what_its_script_finds(monkeypatch, tmp_path, repository):
    monkeypatch.delenv("LITE_HOME", raising=False)
    monkeypatch.setenv("MTN_LITE_CACHE", str(tmp_path))
    absent = tools.check_lite()
    assert (absent.state, absent.mend) == ("missing", ("bash scripts/fetch_mindspore_lite.sh",))
    (tmp_path / "include" / "api").mkdir(parents=True)
    (tmp_path / "include" / "api" / "model.h").touch()
    (tmp_path / "lib").mkdir()
    monkeypatch.setenv("LITE_HOME", str(tmp_path))
    assert tools.check_lite(repository).found == str(tmp_path)
    assert tools.check_lite(tmp_path).state == "ok"  # an installed package without its checkout
    monkeypatch.delenv("LITE_HOME")
    assert tools.check_lite(tmp_path).state == "missing"


def test_the_command_has_the_devices_of_the_others():
    from mtn_core.commands.arguments import DEVICE_TARGETS

    parser = cli.create_parser(("doctor",))
    for target in DEVICE_TARGETS:
        assert parser.parse_args(["doctor", "--device_target", target]).run is command.run_doctor
