"""Run by test_full_disk.py: every command of a table on a disk of its own that is too small.

python full_disk_job.py GIVEN FOLDER mount|limit prints a JSON object: for every row its exit code,
what it said, and what was on the disk before and after. With ``mount`` the disk is a tmpfs, for
which the process needs a mount namespace; with ``limit`` a limit on file sizes stands for it.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mtn_core.cli import main

IMAGE = "d/base/veri/image_query/0003_c003_00013131_0.jpg"
CHECKPOINT = "--ckpt_path r/smoke/ckpt/last.ckpt"
TINY = "--recipe smoke --epochs 1 --set model.image_size=32 model.segments=false"
TRAIN = f"train --root d/base {TINY} data.ids_per_batch=8 data.images_per_id=2 train.eval_every=0"


@dataclass(frozen=True)
class Row:
    """A command and its disk.

    Attributes:
        size: Of the disk in bytes.
        limit: Of a file in bytes, where there is no such disk; None: no such limit stands for it.
        before: Puts on the disk what is there before.
    """

    command: str
    size: int
    limit: int | None
    before: str = ""


ROWS = {
    "350 synth, below folders that it makes": Row("synth --root full/a/b", 4 * 10**6, 1500),
    "365 train": Row(f"{TRAIN} --out full/t", 40 * 10**6, 20 * 10**6),
    "371 train, a second checkpoint": Row(
        f"{TRAIN} train.save_every_steps=1 --out full/t", 150 * 10**6, None
    ),
    "392 eval over the last results": Row(
        f"eval --root d/base {CHECKPOINT} --out full/e --overwrite", 600_000, 100_000, "results"
    ),
    "401 report over the last page": Row(
        "report r/smoke --out full/r.html", 300_000, 300_000, "page"
    ),
    "408 convert": Row("convert --pth_path w.safetensors --out full/c.ckpt", 2 * 10**6, 2 * 10**6),
    "410 search over the last answer": Row(
        f"search --run r/smoke --image {IMAGE} --format html --out full/s.html",
        12_288,
        12_288,
        "answer",
    ),
    "412 draw-pose": Row(
        "draw-pose --root full/x --splits query --overwrite", 4 * 10**6, 500, "root"
    ),
    "preprocess, labels on another disk": Row(
        "preprocess --root d/base --mindir_path r/smoke/export/model.json --result_dir x/in "
        "--label_dir full/lab",
        100_000,
        None,
    ),
}


def lay_out(full: Path, what: str) -> None:
    """Put on the disk what a row wants there."""
    if what == "root":
        source = Path("d/base/veri")
        (full / "x/veri").mkdir(parents=True)
        shutil.copytree(source / "image_query", full / "x/veri/image_query")
        shutil.copy(source / "label_query.csv", full / "x/veri")
    elif what == "answer":
        (full / "s.html").write_text('{"image": "a", "run": "b", "hits": []}')
    elif what == "page":
        (full / "r.html").write_text('<meta name="generator" content="mtn_core 0">')
    elif what == "results":
        (full / "e").mkdir()
        for name in ("config.yaml", "results.json", "per_query.parquet"):
            shutil.copy(Path("r/smoke", name), full / "e")


def look(full: Path) -> dict[str, int]:
    """Sizes of what is on the disk."""
    return {str(p.relative_to(full)): p.stat().st_size for p in full.rglob("*") if p.is_file()} | {
        f"{p.relative_to(full)}/": 0 for p in full.rglob("*") if p.is_dir()
    }


def run(row: Row, full: Path, *, mount: bool) -> dict:
    """Run a command and say what came of it."""
    full.mkdir()
    if mount:
        options = ["-t", "tmpfs", "-o", f"size={row.size}", "tmpfs", str(full)]
        subprocess.run(["mount", *options], check=True)
    lay_out(full, row.before)
    before = look(full)
    no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    said = io.StringIO()
    try:
        if not mount:
            resource.setrlimit(resource.RLIMIT_FSIZE, (row.limit, no_limit[1]))
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = main(row.command.split())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
        after = look(full)
        if mount:
            subprocess.run(["umount", str(full)], check=True)
        shutil.rmtree(full)
    return {"code": code, "said": said.getvalue(), "before": before, "after": after}


def write_weights(path: Path) -> None:
    """What `mtn convert` takes: a DenseNet-121 under torchvision's names."""
    from safetensors.numpy import save_file

    from mtn_core.convert.reference import random_state_dict

    save_file({f"features.{name}": array for name, array in random_state_dict().items()}, path)


if __name__ == "__main__":
    given, folder, how = sys.argv[1:]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.chdir(folder)
    for shared in ("d/base", "r/smoke"):
        Path(shared).parent.mkdir()
        Path(shared).symlink_to(Path(given, shared).resolve())
    write_weights(Path("w.safetensors"))
    outcome = {
        name: run(row, Path("full"), mount=how == "mount")
        for name, row in ROWS.items()
        if how == "mount" or row.limit is not None
    }
    print(json.dumps(outcome))
