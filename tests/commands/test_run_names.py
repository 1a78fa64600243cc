"""Every command that writes into a run folder leaves names that ``RunFolder`` knows."""

import pytest

from mtn_core.cli import main
from mtn_core.runs import RunFolder

TINY = ["--epochs", "1", "--set", "model.image_size=64"]


def unknown(folder):
    names = [p.name for p in folder.iterdir()]
    figures = [f"figures/{p.name}" for p in (folder / "figures").glob("*")]
    return [name for name in names + figures if not RunFolder.knows(name)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_command_leaves_a_name_that_nobody_knows(smoke_root, tmp_path):
    root, run, pose = ["--root", str(smoke_root)], tmp_path / "run", tmp_path / "pose"
    onnx_run = tmp_path / "onnx"
    best = ["--ckpt_path", str(run / "ckpt" / "best.ckpt")]
    crop = next((smoke_root / "veri" / "image_query").iterdir())
    commands = [
        ["train", *root, "--out", str(run), "--recipe", "smoke", *TINY, "train.save_every_steps=5"],
        ["train", *root, "--out", str(run), "--recipe", "smoke", *TINY, "train.save_every_steps=5"]
        + ["--resume"],
        ["eval", *root, *best, "--out", str(run), "--baselines"],
        ["report", str(run), "--out", str(run / "report.html"), "--attention"],
        ["search", "--run", str(run), "--image", str(crop), "--top", "1"],
        ["export", *best, "--out", str(run / "export"), "--file_format", "ONNX"],
        ["eval-onnx", *root, "--out", str(onnx_run)]
        + ["--onnx_path", str(run / "export" / "MultiTask_export_segment.onnx")],
        ["train-pose", *root, "--out", str(pose), "--recipe", "pose_smoke", *TINY],
        ["eval-pose", *root, "--ckpt_path", str(pose / "ckpt" / "last.ckpt"), "--out", str(pose)],
    ]
    for command in commands:
        assert main(command) == 0, command
        strangers = [unknown(folder) for folder in (run, onnx_run, pose) if folder.exists()]
        assert not any(strangers), command
