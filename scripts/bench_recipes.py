"""Recipes and their parts against each other: a table, and one JSON line.

python scripts/bench_recipes.py --root data/synthveri-demo --seeds 0 1 2 --only seed strong

Every run is a process of its own and leaves a run folder; runs that passed are not repeated, and
those that were stopped go on. `--on slurm` gives them to a cluster and waits for it.
The score is that of the last epoch, so that nothing is chosen on the data it is measured on; where
recipes are chosen by it, `--set data.val_ids=0.15` measures held-out training vehicles instead.
`--against CHANGE` also evaluates the last checkpoints image by image and prints how the rows differ
from that one: means over the seeds, paired, with 95 % intervals over vehicles. What another seed
would do is not in the interval; the deviation in the table says that.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.jobs import arrays, submit
from mtn_core.metrics.attributes import unique_rows
from mtn_core.metrics.breakdown import rank_hits
from mtn_core.metrics.statistics import Interval, paired_difference
from mtn_core.results import RetrievalResult

RGB_ALONE = ["model.segments=false", "model.heatmaps=false", "model.keypoints=false"]
# What each row changes: recipe and overrides. The order is that of the table.
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "seed": ("seed", []),
    "strong": ("strong", []),
    "strong, RGB alone": ("strong", RGB_ALONE),
    "strong, parts": ("strong", ["model.pose=parts"]),
    "strong, input and parts": ("strong", ["model.pose=both"]),
    "strong, heatmaps": ("strong", ["model.segments=false", "model.heatmaps=true"]),
    "strong without BNNeck": ("strong", ["model.neck=none"]),
    "strong without schedule": ("strong", ["optim.schedule=constant", "optim.warmup_epochs=0"]),
    "strong without label smoothing": ("strong", ["loss.label_smoothing=0"]),
    "strong at last stride 2": ("strong", ["model.last_stride=2"]),
    "strong with GeM": ("strong", ["model.pooling=gem"]),
    "strong with erasing": ("strong", ["data.erasing=0.5"]),
    "strong with jitter": ("strong", ["data.color_jitter=0.2"]),
    "strong with margin 0.3": ("strong", ["loss.triplet=margin"]),
    "strong with attribute weights 0.5": (
        "strong",
        ["loss.color_weight=0.5", "loss.type_weight=0.5"],
    ),
    "strong with EMA": ("strong", ["optim.ema_decay=0.98"]),
    "strong with erasing and jitter": ("strong", ["data.erasing=0.5", "data.color_jitter=0.2"]),
    "strong with circle loss for triplets": (
        "strong",
        ["loss.circle_weight=1", "loss.triplet_weight=0"],
    ),
    "strong with contrastive loss for triplets": (
        "strong",
        ["loss.contrastive_weight=1", "loss.triplet_weight=0"],
    ),
    "strong with centre loss": ("strong", ["loss.center_weight=5e-4"]),
    "strong on ResNet-50": ("strong", ["model.backbone=resnet50"]),
    "strong on ResNet-50-IBN-a": ("strong", ["model.backbone=resnet50_ibn_a"]),
    "seed with BNNeck and cosine": ("seed", ["model.neck=bnneck", "eval.metric=cosine"]),
    "seed at 1e-3": ("seed", ["optim.learning_rate=1e-3"]),
}
# The same weights, evaluated otherwise.
EVALUATIONS = {"strong by Euclidean distance": ("strong", ["eval.metric=euclidean"])}
# Pose from pixels: the maps and keypoints that `mtn trans` wrote.
PREDICTED_VARIANTS = {
    "strong, predicted segments": ("strong", []),
    "strong, predicted heatmaps": ("strong", ["model.segments=false", "model.heatmaps=true"]),
}
TRAININGS = {**VARIANTS, **PREDICTED_VARIANTS}
# On real crops, which have neither keypoints nor maps: the crops alone, SynthVeRi mixed in, and
# SynthVeRi first. The last starts from the run "strong, RGB alone" of the same seed.
PRETRAINED_BY = "strong, RGB alone"
REAL_VARIANTS = ("real crops alone", "real crops and SynthVeRi mixed", "SynthVeRi, then real crops")
COLUMNS = ("mAP", "rank1", "color_accuracy", "type_accuracy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds veri/")
    parser.add_argument("--real", type=Path, help="a root of real crops: adds the rows about them")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_recipes"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--real_epochs", type=int, default=30)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--predicted", type=Path, help="ROOT with predicted pose: adds its rows")
    names = [*TRAININGS, *EVALUATIONS, *REAL_VARIANTS]
    parser.add_argument("--only", nargs="+", default=None, choices=names, metavar="CHANGE")
    parser.add_argument("--against", default=None, choices=names, metavar="CHANGE")
    parser.add_argument("--set", nargs="+", default=[], help="overrides of every run")
    parser.add_argument(
        "--jobs", type=int, default=1, help="runs at once; here each gets its share of the cores"
    )
    parser.add_argument("--on", choices=("local", "slurm"), default="local")
    parser.add_argument("--option", action="append", default=[], help="further ones of sbatch")
    args = parser.parse_args()
    needs = {"real": REAL_VARIANTS, "predicted": PREDICTED_VARIANTS}
    lacking = {name for flag, group in needs.items() if not getattr(args, flag) for name in group}
    asked = args.only or [name for name in names if name not in lacking]
    if lacking & set(asked):
        parser.error(f"{', '.join(sorted(lacking & set(asked)))}: give --real or --predicted")
    # Seed by seed, so that a run that is interrupted has all rows of the first seeds.
    jobs = [(name, seed) for seed in args.seeds for name in asked]
    first = [job for job in jobs if job[0] in TRAININGS]
    rest = [job for job in jobs if job not in first]
    stages = [
        [arrays.Task(label(*job), command(*job, args)) for job in group] for group in (first, rest)
    ]
    if args.against:
        compared = [job for job in jobs if job[0] not in EVALUATIONS]
        stages.append(
            [arrays.Task(f"{label(*job)}-eval", evaluation(*job, args)) for job in compared]
        )
    for number, tasks in enumerate(stages):
        if not tasks:
            continue
        if args.on == "local":
            arrays.run_here(tasks, args.out, at_once=args.jobs, echo=log)
        else:
            arrays.write_records(tasks, args.out)
            script = arrays.slurm_script(
                tasks, args.out, name="mtn-bench", at_once=args.jobs, options=args.option
            )
            submit.submit_script(script, args.out / f"array{number}.sh", log, ["--wait"])
    rows = [figures_of(name, seed, args) for name, seed in jobs]
    frame = pd.DataFrame(rows)
    frame["change"] = pd.Categorical(frame["change"], asked, ordered=True)
    print(summarise(frame).to_string())
    differences = compare(asked, args) if args.against else {}
    for name, intervals in differences.items():
        print(f"{name} against {args.against}:", *map(describe, intervals.items()), sep="\n  ")
    figures = {"epochs": args.epochs, "real_epochs": args.real_epochs, "jobs": args.jobs}
    paired = {n: {m: vars(i) for m, i in by.items()} for n, by in differences.items()}
    figures |= {"image_size": args.image_size, "against": args.against, "differences": paired}
    print(json.dumps({**figures, "runs": rows}))
    return 0


def log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def label(name: str, seed: int) -> str:
    return f"{name.replace(' ', '_').replace(',', '')}-{seed}"


def folder_of(name: str, seed: int, args: argparse.Namespace) -> Path:
    return args.out / label(name, seed)


def figures_of(name: str, seed: int, args: argparse.Namespace) -> dict:
    """The figures of a run at its last epoch."""
    folder = folder_of(name, seed, args)
    if name in EVALUATIONS:
        found = json.loads((folder / "results.json").read_text())
        found["rank1"] = found["cmc"][0]
    else:
        found = pd.read_csv(folder / "validation.csv").iloc[-1]
    figures = {c: float(found[c]) for c in COLUMNS}
    minutes = round(arrays.seconds_of(args.out, folder.name) / 60, 2)
    return {"change": name, "seed": seed, **figures, "minutes": minutes}


def command(name: str, seed: int, args: argparse.Namespace) -> tuple[str, ...]:
    """What follows `mtn`."""
    if name in EVALUATIONS:
        trained, overrides = EVALUATIONS[name]
        ckpt = folder_of(trained, seed, args) / "ckpt" / "last.ckpt"
        words = ["eval", "--root", str(args.root), "--ckpt_path", str(ckpt)]
        words += ["--out", str(folder_of(name, seed, args)), "--overwrite", "--set", *overrides]
        return tuple(words)
    recipe, overrides = TRAININGS.get(name, ("strong", RGB_ALONE))
    epochs, roots = args.epochs, [args.predicted if name in PREDICTED_VARIANTS else args.root]
    words = []
    if name in REAL_VARIANTS:
        epochs, roots = args.real_epochs, [args.real]
        if "mixed" in name:
            roots.append(args.root)
        if name.startswith("SynthVeRi"):
            start = folder_of(PRETRAINED_BY, seed, args) / "ckpt" / "last.ckpt"
            words += ["--pre_ckpt_path", str(start)]
    # The seed's recipe names no maps: segments, the document's cheaper choice, unless a row says
    # otherwise.
    overrides = ["model.segments=true", *overrides, f"model.image_size={args.image_size}"]
    for root in roots:
        words += ["--root", str(root)]
    words += ["--out", str(folder_of(name, seed, args)), "--recipe", recipe]
    words += ["--epochs", str(epochs), "--seed", str(seed), "--set", *overrides]
    words += [f"train.eval_every={epochs}", "train.keep_checkpoints=1", *args.set]
    return ("train", *words)


def evaluation(name: str, seed: int, args: argparse.Namespace) -> tuple[str, ...]:
    """What follows `mtn` to evaluate a run's last checkpoint image by image, into the run."""
    folder = folder_of(name, seed, args)
    root = args.predicted if name in PREDICTED_VARIANTS else args.root
    root = args.real if name in REAL_VARIANTS else root
    ckpt = folder / "ckpt" / "last.ckpt"
    words = ("eval", "--root", str(root), "--ckpt_path", str(ckpt), "--out", str(folder))
    return (*words, "--overwrite")


def compare(asked: list[str], args: argparse.Namespace) -> dict[str, dict[str, Interval]]:
    """By row and measure: the difference from `--against`, of the means over the seeds.

    Rows that were measured on other images than that one are left out.
    """

    def read(name: str) -> list[RetrievalResult]:
        return [RetrievalResult.load(folder_of(name, seed, args)) for seed in args.seeds]

    reference = read(args.against)
    measured = {name: read(name) for name in asked if name != args.against}
    return {
        name: differences
        for name, results in measured.items()
        if (differences := paired(reference, results))
    }


def paired(reference: list[RetrievalResult], results: list[RetrievalResult]) -> dict[str, Interval]:
    """mAP, Rank-1 and the two accuracies, each image once; nothing where the images differ."""
    names = results[0].per_query["name"].tolist()
    if any(r.per_query["name"].tolist() != names for r in (*reference, *results)):
        return {}
    pids = results[0].per_query["pid"].to_numpy()
    values = {
        "mAP": lambda r: r.per_query["ap"].to_numpy(float),
        "rank1": lambda r: rank_hits(r.per_query, 1),
    }
    found = {m: difference(of, pids, reference, results) for m, of in values.items()}
    splits = (results[0].query, results[0].gallery)
    image_pids = np.concatenate([split.pids for split in splits])
    once = unique_rows(np.concatenate([split.names for split in splits]))
    for kind in ("color", "type"):

        def right(result: RetrievalResult, kind: str = kind) -> np.ndarray:
            true, predicted = (
                np.concatenate(
                    [getattr(s, f"{kind}_{what}") for s in (result.query, result.gallery)]
                )
                for what in ("ids", "predictions")
            )
            return np.where(once & (true >= 1), (true == predicted).astype(float), np.nan)

        found[f"{kind}_accuracy"] = difference(right, image_pids, reference, results)
    return found


def difference(values_of, groups: np.ndarray, reference, results) -> Interval:
    first, second = (np.mean([values_of(r) for r in runs], axis=0) for runs in (reference, results))
    return paired_difference(first, second, groups)


def describe(item: tuple[str, Interval]) -> str:
    measure, interval = item
    estimate, low, high = (100 * v for v in (interval.estimate, interval.low, interval.high))
    return f"{measure:15} {estimate:+.1f} ({low:+.1f} to {high:+.1f})"


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    groups = frame.groupby("change", observed=True)
    table = (100 * groups[list(COLUMNS)].mean()).round(1)
    spread = (100 * groups["mAP"].std(ddof=1)).round(1)
    table.insert(1, "+-", spread.replace({np.nan: ""}))
    table["seeds"] = groups.size()
    table["minutes"] = groups["minutes"].mean().round(1)
    return table


if __name__ == "__main__":
    sys.exit(main())
