"""The workbook on data of one's own."""

import os
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mtn_core.cli import main
from mtn_core.data.labels import load_labels, write_labels
from mtn_core.data.prepare.labels import no_keypoints
from mtn_core.jobs.own_data import examine_data


@pytest.fixture
def root(smoke_root, tmp_path):
    """Labels and images of SynthVeRi, without maps."""
    folder = tmp_path / "mine"
    for path in (smoke_root / "veri").iterdir():
        target = folder / "veri" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy(path, target)
        elif path.name.startswith("image_"):
            shutil.copytree(path, target, copy_function=os.link)
    return folder


def forget_keypoints(root):
    for path in (root / "veri").glob("label_*.csv"):
        frame, _ = load_labels(path)
        write_labels(path, frame, no_keypoints(len(frame)))


def remove_splits(root, *splits):
    for split in splits:
        (root / "veri" / f"label_{split}.csv").unlink()
        shutil.rmtree(root / "veri" / f"image_{split}")


def test_a_whole_data_set_changes_nothing(smoke_root):
    found = examine_data(smoke_root)
    assert (found.overrides, found.left_out, found.notes) == ({}, {}, ())


def test_without_maps_the_network_does_without(root):
    found = examine_data(root)
    assert found.overrides == {"model.heatmaps": False, "model.segments": False}
    assert not found.left_out and len(found.notes) == 2


def test_without_keypoints_there_is_no_pose(root):
    forget_keypoints(root)
    found = examine_data(root)
    assert set(found.overrides.values()) == {False} and "model.keypoints" in found.overrides
    assert found.left_out == {"07": "the data have no keypoints"}


def test_training_only(root):
    remove_splits(root, "query", "test")
    found = examine_data(root)
    assert found.overrides["train.eval_every"] == 0
    assert set(found.left_out) == {"04", "05", "06", "07", "08"}


def test_evaluation_only(root):
    remove_splits(root, "train")
    found = examine_data(root)
    assert set(found.left_out) == {"03", "04", "05", "06", "07", "08"}


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for number in ("01", "03", "07"):
        parameters = 'root = ""\nrun_dir = ""\nrecipe = ""\noverrides = {}'
        cells = [
            new_markdown_cell("# A"),
            new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            new_code_cell("print(recipe, sorted(overrides.items()), run_dir)"),
        ]
        notebook = new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = KERNEL
        nbformat.write(notebook, folder / f"{number}_a.ipynb")
    return folder


def outputs(path):
    notebook = nbformat.read(path, as_version=4)
    return "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))


def test_the_command_on_own_data(root, notebooks, tmp_path, capsys):
    forget_keypoints(root)
    places = ["--notebooks", str(notebooks), "--runs", str(tmp_path / "runs")]
    places += ["--reports", str(tmp_path / "reports")]
    own = ["--root", str(root), "--name", "my cars", "--recipe", "strong"]
    changes = ["--set", "train.epochs=3", "model.keypoints=true"]
    assert main(["workbook", *places, *own, *changes]) == 0
    said = capsys.readouterr().out
    assert "notebook 07 is left out: the data have no keypoints" in said
    printed = outputs(tmp_path / "runs" / "my cars" / "notebooks" / "03_a.ipynb")
    assert printed.startswith("strong ") and "('train.epochs', 3)" in printed
    # What the user says goes before what the data settle.
    assert "('model.keypoints', True)" in printed and "('model.segments', False)" in printed
    assert not (tmp_path / "runs" / "my cars" / "notebooks" / "07_a.ipynb").exists()
    page = (tmp_path / "reports" / "my cars" / "index.html").read_text()
    assert "left out: the data have no keypoints" in page


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--name", "a/b"], 2, "expected the name of a folder"),
        (["--recipe", "strogn"], 2, "did you mean 'strong'"),
        (["--set", "optim.lr=1"], 2, "optim.lr"),
        (["--name", "x", "--root", "nowhere"], 1, "does not exist"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    notebooks, tmp_path, monkeypatch, capsys, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    try:
        found = main(["workbook", "--notebooks", str(notebooks), *arguments])
    except SystemExit as error:
        found = error.code
    assert found == code and message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists() and not (tmp_path / "nowhere").exists()
