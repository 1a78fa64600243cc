"""Recipes and their parts against each other: a table, and one JSON line.

python scripts/bench_recipes.py --root data/synthveri-demo --seeds 0 1 2 --only seed strong

Every run is a process of its own and leaves a run folder; runs that are there are not repeated.
The score is that of the last epoch, so that nothing is chosen on the data it is measured on.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

# What each row changes: recipe and overrides. The order is that of the table.
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "seed": ("seed", []),
    "strong": ("strong", []),
    "strong, RGB alone": (
        "strong",
        ["model.segments=false", "model.heatmaps=false", "model.keypoints=false"],
    ),
    "strong, heatmaps": ("strong", ["model.segments=false", "model.heatmaps=true"]),
    "strong without BNNeck": ("strong", ["model.neck=none"]),
    "strong without cosine distance": ("strong", ["eval.metric=euclidean"]),
    "strong without schedule": ("strong", ["optim.schedule=constant", "optim.warmup_epochs=0"]),
    "strong without label smoothing": ("strong", ["loss.label_smoothing=0"]),
    "strong at last stride 2": ("strong", ["model.last_stride=2"]),
    "strong with GeM": ("strong", ["model.pooling=gem"]),
    "strong with erasing": ("strong", ["data.erasing=0.5"]),
    "strong with jitter": ("strong", ["data.color_jitter=0.2"]),
    "strong with soft margin": ("strong", ["loss.triplet=soft"]),
    "strong without EMA": ("strong", ["optim.ema_decay=null"]),
    "seed with BNNeck and cosine": ("seed", ["model.neck=bnneck", "eval.metric=cosine"]),
    "seed at 1e-3": ("seed", ["optim.learning_rate=1e-3"]),
}
COLUMNS = ("mAP", "rank1", "color_accuracy", "type_accuracy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds veri/")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_recipes"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--set", nargs="+", default=[], help="overrides of every run")
    args = parser.parse_args()
    rows = [
        run(name, seed, args) | {"change": name, "seed": seed}
        for name in args.only
        for seed in args.seeds
    ]
    table = summarise(pd.DataFrame(rows))
    print(table.to_string())
    print(json.dumps({"epochs": args.epochs, "image_size": args.image_size, "runs": rows}))
    return 0


def run(name: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    recipe, overrides = VARIANTS[name]
    folder = args.out / f"{name.replace(' ', '_').replace(',', '')}-{seed}"
    validation = folder / "validation.csv"
    done = folder / "seconds.json"
    if not done.exists():
        started = time.perf_counter()
        command = [sys.executable, "-m", "mtn_core", "train", "--root", str(args.root)]
        command += ["--out", str(folder), "--recipe", recipe, "--overwrite"]
        command += ["--epochs", str(args.epochs), "--seed", str(seed), "--set"]
        # The seed's recipe names no maps: segments, the document's cheaper choice, unless a row
        # says otherwise.
        command += ["model.segments=true", *overrides, f"model.image_size={args.image_size}"]
        command += [f"train.eval_every={args.epochs}", "train.keep_checkpoints=1", *args.set]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done.write_text(json.dumps(time.perf_counter() - started))
    last = pd.read_csv(validation).iloc[-1]
    minutes = json.loads(done.read_text()) / 60
    return {c: float(last[c]) for c in COLUMNS} | {"minutes": round(minutes, 2)}


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    groups = frame.groupby("change", sort=False)
    table = (100 * groups[list(COLUMNS)].mean()).round(1)
    spread = (100 * groups["mAP"].std(ddof=1)).round(1)
    table.insert(1, "+-", spread.replace({np.nan: ""}))
    table["seeds"] = groups.size()
    table["minutes"] = groups["minutes"].mean().round(1)
    return table


if __name__ == "__main__":
    sys.exit(main())
