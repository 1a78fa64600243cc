"""``mtn report --embeddings``: from files to a page, also where MindSpore is not installed."""

import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from mtn_core.cli import main
from mtn_core.errors import EXTRA_OF
from mtn_core.results import RetrievalResult

# By hand: query 0 finds its vehicle at ranks 1 and 3, query 1 at rank 2.
SPLITS = {
    "query": {"features": [[0.0], [1.0]], "pids": [1, 2], "camids": [1, 1]},
    "gallery": {"features": [[0.1], [0.4], [0.6], [0.9]], "pids": [1, 2, 1, 3], "camids": [2] * 4},
}
MAP = ((1 + 2 / 3) / 2 + 1 / 3) / 2
WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
from mtn_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files of a network in the current folder, as arguments."""
    monkeypatch.chdir(tmp_path)
    for name, split in SPLITS.items():
        np.savez(f"net_{name}.npz", **{k: np.asarray(v) for k, v in split.items()})
    return ["--embeddings", "net_query.npz", "net_gallery.npz"]


def without(names, *arguments):
    """Run a command in a process that cannot import some modules."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names=sorted(names)), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"GLOG_v": "3"},
    )


def test_page_is_written_without_any_optional_package(files, tmp_path):
    done = without(EXTRA_OF, "report", *files, "--out", "r.html", "--run_out", "runs")
    assert done.returncode == 0, done.stderr
    assert RetrievalResult.load("runs/net").mAP == pytest.approx(MAP)
    text = (tmp_path / "r.html").read_text()
    assert f"mAP of {100 * MAP:.1f} %" in text and "Retrieval report: net" in text


@pytest.mark.parametrize("command", [["--help"], ["report", "--help"], ["train", "--help"]])
def test_help_needs_no_optional_package(command):
    done = without(EXTRA_OF, *command)
    assert done.returncode == 0 and done.stdout.startswith("usage: mtn"), done.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train --root data --out run", "mindspore train"),
        ("check --root data", "zstandard data"),
        ("workbook", "nbformat notebooks"),
    ],
)
def test_commands_without_their_package_name_its_extra(command, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = without(EXTRA_OF, *command.split())
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"error: mtn {command.split()[0]} needs the package")
    module, extra = words.split()
    assert f"{module}, which is not installed: pip install 'mtn_core[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_module_of_no_extra_is_a_bug(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setitem(sys.modules, "mtn_core.data.check", None)
    assert main(["check", "--root", str(tmp_path)]) == 1
    assert "This is a bug" in capsys.readouterr().err


def test_results_are_kept_where_asked_and_can_be_reported_again(files, tmp_path, capsys):
    assert main(["report", *files, "--out", "r.html", "--names", "agw", "--run_out", "runs"]) == 0
    assert "results: runs/agw" in capsys.readouterr().out
    config = yaml.safe_load((tmp_path / "runs" / "agw" / "config.yaml").read_text())
    assert config["command"] == "report"
    assert config["embeddings"][0] == str(tmp_path / "net_query.npz")
    assert main(["report", "runs/agw", "--out", "again.html"]) == 0
    assert "Not in these results" in (tmp_path / "again.html").read_text()


def test_without_run_out_only_the_page_is_left(files, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main(["report", *files, "--out", "r.html", "--metric", "cosine"]) == 0
    assert not list((tmp_path / "tmp").iterdir())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"tmp", "r.html", "net_query.npz", "net_gallery.npz"}


def test_bad_files_leave_nothing(files, tmp_path, capsys):
    np.savez("net_gallery.npz", features=np.full((4, 1), np.nan), pids=np.arange(4))
    before = sorted(tmp_path.iterdir())
    assert main(["report", *files, "--out", "out/r.html", "--run_out", "runs"]) == 1
    error = capsys.readouterr().err
    assert "net_gallery.npz" in error and "finite" in error and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--labels", "a.csv", "b.csv"], "--labels goes with --embeddings"),
        (["run", "--metric", "cosine"], "--metric goes with --embeddings"),
        (["FILES", "--attention"], "--attention needs the network"),
        (["FILES", "--names", "a", "b"], "expected 1, got 2"),
        (["FILES", "FILES"], "two networks would be called 'net'"),
        (["FILES", "--images", "nowhere"], "--images nowhere is not a folder"),
    ],
)
def test_flags_that_do_not_go_together(files, arguments, words, capsys, tmp_path):
    flat = [a for argument in arguments for a in (files if argument == "FILES" else [argument])]
    assert main(["report", *flat, "--out", "r.html"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()
