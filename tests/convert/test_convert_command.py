import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from mtn_core.commands import convert
from mtn_core.commands.parser import CommandParser
from mtn_core.errors import CheckpointError, RunFolderError
from mtn_core.models.checkpoint import load_checkpoint


def run(*arguments):
    parser = CommandParser()
    convert.register(parser.add_subparsers(required=True))
    args = parser.parse_args(["convert", *map(str, arguments)])
    return args.run(args)


@pytest.fixture
def source(torchvision_arrays, tmp_path):
    path = tmp_path / "densenet121.safetensors"
    save_file(torchvision_arrays, path)
    return path


def test_writes_the_checkpoint_and_says_what_became_of_the_parameters(
    source, torchvision_arrays, tmp_path, capsys
):
    out = tmp_path / "weights.ckpt"
    assert run("--pth_path", source, "--out", out) == 0
    text = capsys.readouterr().out
    assert "mapped: 604 parameters" in text
    assert "ImageNet" in text
    assert f"wrote {out}" in text
    np.testing.assert_array_equal(
        load_checkpoint(out).weights["backbone.conv0.weight"],
        torchvision_arrays["features.conv0.weight"],
    )


def test_default_name_is_the_seeds(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("--pth_path", source) == 0
    assert (tmp_path / "MultiTask_pretrained.ckpt").is_file()


def test_an_existing_checkpoint_is_kept_unless_asked(source, tmp_path):
    out = tmp_path / "weights.ckpt"
    out.write_bytes(b"mine")
    with pytest.raises(RunFolderError):
        run("--pth_path", source, "--out", out)
    assert out.read_bytes() == b"mine"
    assert run("--pth_path", source, "--out", out, "--overwrite") == 0
    assert load_checkpoint(out).meta["kind"] == "backbone"


def test_the_checkpoint_of_a_run_is_never_replaced(source, tmp_path):
    """A converted file in the folder `pretrained` of a run is, when that is asked for."""
    run_folder = tmp_path / "run"
    for name in ("ckpt", "pretrained"):
        (run_folder / name).mkdir(parents=True)
        (run_folder / name / "best.ckpt").write_bytes(b"precious")
    (run_folder / "config.yaml").write_text("recipe: smoke\n")
    trained = run_folder / "ckpt" / "best.ckpt"
    with pytest.raises(RunFolderError, match=r"is a checkpoint of the run .* not written over"):
        run("--pth_path", source, "--out", trained, "--overwrite")
    assert trained.read_bytes() == b"precious"
    assert (
        run("--pth_path", source, "--out", run_folder / "pretrained/best.ckpt", "--overwrite") == 0
    )


def test_a_refused_file_leaves_nothing_behind(tmp_path):
    bad = tmp_path / "bad.safetensors"
    save_file({"x.weight": np.zeros(2, np.float32)}, bad)
    with pytest.raises(CheckpointError):
        run("--pth_path", bad, "--out", tmp_path / "weights.ckpt")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.safetensors"]


def test_the_source_is_required():
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2


def test_the_seeds_script_converts(source, repository, tmp_path):
    command = [sys.executable, repository / "scripts" / "pthtockpt.py"]
    done = subprocess.run(
        [*command, "--pth_path", source], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "mapped: 604 parameters" in done.stdout
    assert (tmp_path / "MultiTask_pretrained.ckpt").is_file()
    absent = subprocess.run(
        [*command, "--pth_path", "absent.pth", "--out", "a.ckpt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert absent.returncode == 1
    assert "absent.pth does not exist" in absent.stderr
