"""Trials of the workbook, with small notebooks, and of jobs of several processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from trial import Trial, check, replace

from mtn_core.jobs.cluster import Cluster, launch
from mtn_core.jobs.watch import is_alive

WORKBOOK = "workbook --root d/base --notebooks x/nb --runs x/runs --reports x/rep"
LAUNCH = "launch --workers 2 --log_dir x/logs "
TRAIN = "-- train --distribute --root d/base --out x/r"
WAITING = """
import os, time, pathlib
pathlib.Path(root, "pid").write_text(str(os.getpid()))
time.sleep(120)
"""


def notebook(path, *sources):
    parameters = new_code_cell('root = "x"\nanswer = 1', metadata={"tags": ["parameters"]})
    made = new_notebook(cells=[new_markdown_cell("# It"), parameters, *map(new_code_cell, sources)])
    path.parent.mkdir(exist_ok=True)
    nbformat.write(made, path)


def notebooks(workspace):
    """``x/nb`` with two notebooks that are done in a moment."""
    for name in ("01_first", "02_second"):
        notebook(workspace / f"x/nb/{name}.ipynb", "print(answer)")


def earlier(workspace):
    """What an earlier workbook left of the first notebook."""
    notebooks(workspace)
    for name in ("runs/smoke/notebooks/01_first.ipynb", "rep/smoke/01_first.html"):
        path = workspace / "x" / name
        path.parent.mkdir(parents=True)
        path.write_text("of an earlier workbook")


def instead(content, name="01_first"):
    """Something else in the place of a notebook."""

    def fault(workspace):
        notebooks(workspace)
        path = workspace / f"x/nb/{name}.ipynb"
        if callable(content):
            path.unlink()
            content(path)
        else:
            replace(path, content)

    return fault


def file(workspace):
    notebooks(workspace)
    (workspace / "x/f").write_text("mine")


def book(**values):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": [], "metadata": {}} | values)


NOTEBOOKS = [
    (363, "an open bracket", instead("{\n")),
    (None, "nothing", instead("")),
    (None, "bytes that are no text", instead(b"\xff\xfe\x00")),
    (None, "a list", instead("[]")),
    (None, "no cells", instead("{}")),
    (None, "another version", instead(book(nbformat=99))),
    (None, "a cell that is a number", instead(book(cells=[3]))),
    (None, "100,000 brackets", instead("[" * 100_000)),
    (None, "a folder", instead(os.mkdir)),
    (None, "a pipe", instead(os.mkfifo)),
    (None, "a link to nowhere", instead(lambda path: path.symlink_to("nowhere"))),
]
PARAMETERS = [
    (355, "broken YAML", "answer '[1,'", r"-p answer \[1, is not valid YAML"),
    (None, "unknown", "anser 1", r"no notebook has a parameter anser; they have answer, root"),
    (None, "the workbook's own", "root elsewhere", r"the parameter root .*; give --root"),
    (None, "twice", "answer 1 -p answer 2", r"-p answer is given twice"),
    (None, "a date", "answer 2020-01-01", r"-p answer 2020-01-01: .*got date .*quotation marks"),
    (None, "nan", "answer .nan", r"-p answer \.nan: .*got float"),
    (None, "a Python object", "answer '!!python/object:os.x {}'", r"is not valid YAML"),
]
LAUNCHES = [
    (
        391,
        "node rank 5",
        "--node_rank 5 " + TRAIN,
        r"--node_rank 5: .* machines are 0 to at most 0",
    ),
    (
        443,
        "forgotten --distribute",
        TRAIN.replace(" --distribute", ""),
        r"mtn train .*would run 2 times.*add --distribute",
    ),
    (None, "no command", "--", r"needs a command after --"),
    (None, "unknown command", "-- trian --distribute", r"no command mtn trian to launch"),
    (None, "a page twice", "-- report r/smoke --out x/r.html", r"report .*without launch"),
    (None, "a launch in a launch", f"-- launch --workers 2 {TRAIN}", r"launch .*without launch"),
]
USAGE = [
    (394, "node rank -1", "--node_rank -1 " + TRAIN),
    (402, "port 99999", "--master_port 99999 " + TRAIN),
    (None, "port 0", "--master_port 0 " + TRAIN),
    (None, "workers 0", "--workers 0 " + TRAIN),
    (None, "a flag that the command has not", TRAIN + " --recipee smoke"),
    (None, "perhaps distributed", TRAIN.replace("--distribute", "--distribute maybe")),
]


def instead_of_its_own(command, flags):
    """The command with these flags in place of those of the same name."""
    for flag in re.findall(r"--\w+", flags.partition(" -- ")[0]):
        command = re.sub(rf" {flag} \S+", "", command)
    return f"{command} {flags}"


def workbook(number, what, flags, expected, before=notebooks, code=1):
    command = instead_of_its_own(WORKBOOK, flags)
    return Trial(number, f"workbook, {what}", command, expected, before, code)


TRIALS = [
    *(
        Trial(n, f"workbook, {what} for a notebook", WORKBOOK, r"x/nb/01_first\.ipynb", before)
        for n, what, before in NOTEBOOKS
    ),
    *(
        workbook(n, f"parameter, {what}", f"-p {p}", said, code=2)
        for n, what, p, said in PARAMETERS
    ),
    workbook(351, "run again", "", r"executed notebooks: 01_first\.ipynb; add --overw", earlier),
    workbook(None, "second notebook broken", "", r"02_second", instead("{", "02_second")),
    workbook(None, "no such notebook", "--only 7", r"no notebook 07; there are 01", code=2),
    workbook(None, "notebook of a word", "--only first", r"no notebook first", code=2),
    workbook(
        None, "no notebooks", "--notebooks x", r"no notebooks named .* in x; give --notebooks"
    ),
    workbook(None, "runs over a file", "--runs x/f", r"x/f/smoke cannot be made: .*x/f is a", file),
    workbook(None, "pages over a file", "--reports x/f", r"x/f/smoke cannot be made", file),
    workbook(None, "data in a file", "--root x/f", r"x/f is a file; --root takes the fo", file),
    workbook(None, "no data to bring", "--profile veri --root x/no", r"x/no/veri does not exist"),
    workbook(None, "3 of 2 workers", "--workers 2 --local_workers 3", r"got 3 and 2", code=2),
    workbook(
        None,
        "a folder for the executed copy",
        "--overwrite",
        r"x/runs/smoke/notebooks/01_first\.ipynb is a folder, but a file is to be written",
        lambda w: (notebooks(w), (w / "x/runs/smoke/notebooks/01_first.ipynb").mkdir(parents=True)),
    ),
    *(
        Trial(n, f"launch, {what}", LAUNCH + words, said, code=2)
        for n, what, words, said in LAUNCHES
    ),
    Trial(
        None,
        "launch, logs over a file",
        instead_of_its_own(LAUNCH.strip(), f"--log_dir x/f {TRAIN}"),
        r"x/f: File exists",
        file,
    ),
    *(Trial(n, f"launch, {what}", LAUNCH + words, "", code=2) for n, what, words in USAGE),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_368_a_workbook_that_is_ended_loses_nothing_and_leaves_no_kernel(workspace, number):
    earlier(workspace)
    notebook(workspace / "x/nb/01_first.ipynb", WAITING)
    root = workspace / "x/root"
    (root / "veri").mkdir(parents=True)
    before = {p: p.read_bytes() for p in (workspace / "x").rglob("*") if p.is_file()}
    command = instead_of_its_own(WORKBOOK, f"--root {root} --overwrite")
    process = subprocess.Popen(
        [sys.executable, "-m", "mtn_core", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    kernel = root / "pid"
    wait_until(lambda: kernel.is_file() and kernel.read_text(), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    pid = int(kernel.read_text())
    wait_until(lambda: not is_alive(pid))
    assert {path: path.read_bytes() for path in before} == before
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert said.splitlines()[-1].startswith(
            "interrupted: mtn workbook was stopped before its end; notebooks that passed are kept"
        )
        assert not list((workspace / "x/runs").rglob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "number"),
    [
        pytest.param(0, signal.SIGKILL, id="449 and 480: kill -9 of rank 0"),
        pytest.param(1, signal.SIGTERM, id="379 and 465: SIGTERM of rank 1"),
    ],
)
def test_a_rank_that_is_ended_is_named_and_ends_the_job(
    rank, number, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("GLOG_v", "3")
    arguments = [str(rank), str(int(number))]
    assert launch(Cluster(worker_num=2), "ending_job", arguments, tmp_path) != 0
    assert f"rank {rank} failed" in caplog.text
    pids = [int(path.read_text()) for path in tmp_path.glob("pid.*")]
    assert len(pids) >= 2 and not any(map(is_alive, pids))


def wait_until(true, process=None):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
