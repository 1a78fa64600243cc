"""Every code block of the documents runs, in order, in one folder; what cannot says why."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mtn_core.results.foreign import EmbeddingFiles, load_foreign

REPOSITORY = Path(__file__).parents[1]
NAMES = ["README.md", "docs/commands.md", "docs/data.md", "docs/machines.md"]
NAMES += ["reports/benchmarks.md", "CONTRIBUTING.md"]
TEXTS = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in NAMES}
README = TEXTS["README.md"]
CHINESE = (REPOSITORY / "README_CN.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- test(?P<tag>[^>]*?)-->\n)?```(?P<language>\w*)\n(?P<code>.*?)```", re.S
)
BLOCKS = [
    (m["tag"], m["language"], m["code"]) for text in TEXTS.values() for m in BLOCK.finditer(text)
]
ELSEWHERE = ("hosts", "slurm")  # run by tests/jobs/test_machines.py


def test_every_block_is_marked():
    assert BLOCKS
    for tag, language, code in BLOCKS:
        assert tag is not None, f"mark this block with <!-- test ... -->:\n{code}"
        assert language in ("bash", "python"), code
        kind = tag.strip().lstrip(":").strip()
        known = ("", "ci", "prepare", "embeddings", *ELSEWHERE)
        assert kind in known or kind.startswith("skip "), kind


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


@pytest.mark.parametrize("name", [*NAMES, "README_CN.md"])
def test_pictures_and_files_exist(name):
    text = CHINESE if name == "README_CN.md" else TEXTS[name]
    for target, part in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
        path = (REPOSITORY / name).parent / target if target else REPOSITORY / name
        assert path.exists(), target
        if part:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
            assert part in [re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles], (
                part
            )
    for script in re.findall(r"`(?:bash |python )?(scripts/[\w./]+\.(?:sh|py))", text):
        assert (REPOSITORY / script).exists(), script


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_the_chinese_readme_has_the_same_commands():
    def commands(text):
        return [m["code"] for m in BLOCK.finditer(text)]

    assert commands(CHINESE) == commands(README)
    assert re.findall(r"^\| `(\d\d_\w+)`", CHINESE, re.M) == re.findall(
        r"^\| `(\d\d_\w+)`", README, re.M
    )


def test_the_chinese_map_has_every_script_of_the_original_document():
    section = CHINESE.partition("## 从原文档的命令到本项目")[2].partition("\n## ")[0]
    seed = [
        *("run_single_train_{}", "run_distribute_train_{}", "run_eval_{}", "run_trans_{}"),
        *("run_onnx_eval_gpu", "run_infer_310", "run_310_infer", "pthtockpt.py", "train.py"),
        *("eval.py", "export.py"),
    ]
    for name in seed:
        for device in ("ascend", "gpu") if "{}" in name else ("",):
            both = name.replace("{}", "{ascend,gpu}")
            assert name.format(device) in section or both in section, name
    for command in re.findall(r"`mtn ([\w-]+)", section):
        assert f'"{command}"' in COMMANDS, command


COMMANDS = "".join(
    path.read_text(encoding="utf-8") for path in (REPOSITORY / "mtn_core/commands").glob("*.py")
)


def test_what_toolboxes_are_told_to_write_is_read(tmp_path, monkeypatch):
    """With the variables that their evaluations have at that place: tensors, lists, arrays."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    (block,) = [code for tag, _, code in BLOCKS if (tag or "").strip(": ") == "embeddings"]
    pids, camids = np.arange(9) % 4, np.arange(9) % 3
    features = torch.arange(18.0).reshape(9, 2)
    rows = torch.arange(3), torch.arange(3, 9)
    frame = pd.DataFrame({"path": [f"img/{k}.jpg" for k in range(9)]})
    here = {"np": np, "embeddings": features}
    here["dataset"] = SimpleNamespace(
        df=frame,
        get_labels=lambda: pids,
        get_query_ids=lambda: rows[0],
        get_gallery_ids=lambda: rows[1],
    )
    for long, short, of in (("query", "q", slice(3)), ("gallery", "g", slice(3, None))):
        here |= {f"{long}_features": features[of], f"{short}f": features[of]}
        here |= {f"{long}_pids": list(pids[of]), f"{short}_pids": pids[of]}
        here |= {f"{long}_camids": list(camids[of]), f"{short}_camids": camids[of]}
    monkeypatch.chdir(tmp_path)
    snippets = re.split(r"^# ", block, flags=re.M)[1:]
    assert [re.match(r"[\w-]+", s)[0] for s in snippets] == [
        "fast-reid", "torchreid", "TransReID", "OML",
    ]  # fmt: skip
    for snippet in snippets:
        exec(f"# {snippet}", dict(here))
        files = EmbeddingFiles(Path("query.npz"), Path("gallery.npz"))
        (network,) = load_foreign([files])
        assert (network.query.features == features[:3].numpy()).all(), snippet
        assert network.gallery.pids.tolist() == pids[3:].tolist(), snippet
        known = [] if snippet.startswith("OML") else (camids[3:] + 1).tolist()
        assert network.gallery.camids[network.gallery.camids > 0].tolist() == known, snippet
        for file in (files.query, files.gallery):
            file.unlink()


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
        if kind in ("ci", "embeddings", *ELSEWHERE) or kind.startswith("skip"):
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
