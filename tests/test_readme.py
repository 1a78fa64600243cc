"""Every code block of the README runs, in order, in one folder; what cannot says why."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- test(?P<tag>[^>]*?)-->\n)?```(?P<language>\w*)\n(?P<code>.*?)```", re.S
)
BLOCKS = [(m["tag"], m["language"], m["code"]) for m in BLOCK.finditer(README)]
ELSEWHERE = ("hosts", "slurm")  # run by tests/jobs/test_machines.py


def test_every_block_is_marked():
    assert BLOCKS
    for tag, language, code in BLOCKS:
        assert tag is not None, f"mark this block with <!-- test ... -->:\n{code}"
        assert language in ("bash", "python"), code
        kind = tag.strip().lstrip(":").strip()
        assert kind in ("", "ci", "prepare", *ELSEWHERE) or kind.startswith("skip "), kind


def test_the_two_commands_are_what_ci_runs():
    ci = (REPOSITORY / ".ci" / "run").read_text()
    commands = [c.strip() for tag, _, c in BLOCKS if tag and tag.strip(": ") == "ci"]
    assert [c.split(" --")[0] for c in commands] == [
        "bash scripts/quickstart.sh",
        "bash scripts/test.sh",
    ]
    for command in commands:
        assert command in ci


def test_skipped_blocks_are_valid_bash():
    for tag, _, code in BLOCKS:
        if tag and "skip" in tag:
            done = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr


def test_pictures_and_files_exist():
    for target in re.findall(r"\]\((?!http|#)([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target
    for name in re.findall(r"`(scripts/[\w./]+)`", README):
        assert (REPOSITORY / name).exists(), name


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_blocks_run(tmp_path, smoke_root):
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    (tmp_path / "notebooks").symlink_to(REPOSITORY / "notebooks")
    crops = tmp_path / "my_crops"
    crops.mkdir()
    for image in sorted((smoke_root / "veri" / "image_train").iterdir())[:80]:
        pid, camera, frame, number = image.stem.split("_")
        shutil.copy(image, crops / f"{pid}_{camera}_{frame}_{number}.jpg")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
    }
    ran = 0
    for tag, _, code in BLOCKS:
        kind = (tag or "").strip(": ")
        if kind in ("ci", *ELSEWHERE) or kind.startswith("skip"):
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        ran += 1
    assert ran >= 5
    assert (tmp_path / "reports" / "first.html").stat().st_size > 10_000
    baselines = json.loads((tmp_path / "runs" / "first" / "baselines.json").read_text())
    assert baselines.keys() == {"untrained", "color_histogram"}
