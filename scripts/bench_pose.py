"""What PoseEstNet costs and what it is worth: speed of `mtn trans`, PCK, and retrieval with pose.

    python scripts/bench_pose.py speed
    python scripts/bench_pose.py payoff --root DATA --out RUNS
    python scripts/bench_pose.py real --root DATA --real REAL --pose_ckpt FILE --out RUNS

`speed` writes the maps of SynthVeRi crops with HRNet-W32 at 256x256 through the MindSpore graph and
through onnxruntime. `payoff` trains PoseEstNet on the training ids, writes maps from pixels for all
splits, and trains MultiTaskNet with exact, with predicted and without pose. `real` does the last
step on crops that have no keypoints. Each prints a table and ends with one JSON line.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from mtn_core.environment import guard_onednn


def measure_speed(args: argparse.Namespace) -> dict:
    import mindspore as ms

    from mtn_core.data.split import load_split
    from mtn_core.device import setup_device
    from mtn_core.models.checkpoint import load_checkpoint, network_weights, save_checkpoint
    from mtn_core.pose.config import PoseModelConfig
    from mtn_core.pose.export import export_pose
    from mtn_core.pose.maps import MapOptions, write_pose_maps
    from mtn_core.pose.network import PoseEstNet
    from mtn_core.pose.onnx_predictor import OnnxPredictor
    from mtn_core.pose.predict import load_predictor

    device = setup_device("CPU")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = args.root or write_data(folder / "data", "smoke")
        ckpt = args.pose_ckpt
        if ckpt is None:
            # Speed does not depend on the weights.
            ms.set_seed(0)
            config = PoseModelConfig(image_size=args.image_size)
            ckpt = folder / "pose.ckpt"
            meta = {"kind": "pose", "model": config.model_dump(mode="json")}
            save_checkpoint(ckpt, network_weights(PoseEstNet(config)), meta)
        checkpoint = load_checkpoint(ckpt)
        export_pose(checkpoint, folder / "export", ["ONNX"], device)
        rates = {}
        for label, predictor in (
            ("MindSpore graph", load_predictor(checkpoint)),
            ("onnxruntime", OnnxPredictor(folder / "export" / "PoseEstNet.onnx")),
        ):
            outcome = write_pose_maps(
                root,
                predictor,
                label,
                MapOptions(),
                splits=("query",),
                out=folder / label.replace(" ", "-"),
                batch_size=args.batch_size,
                progress=False,
            )[0]
            rates[label] = outcome.num_timed / outcome.seconds
        count = len(load_split(root, "query"))
    size = predictor.image_size
    print(f"mtn trans, {size}x{size}, batch {args.batch_size}, {count} crops, 49 maps each")
    for label, rate in rates.items():
        print(f"{label:<18}{rate:8.2f} images/s")
    factor = rates["onnxruntime"] / rates["MindSpore graph"]
    print(f"onnxruntime is {factor:.2f} times as fast (target: 1.5)")
    return {"images_per_s": rates, "factor": factor, "image_size": size}


def measure_payoff(args: argparse.Namespace) -> dict:
    from mtn_core.config import load_config
    from mtn_core.device import setup_device
    from mtn_core.files import sha256_of
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.pose.config import PoseConfig
    from mtn_core.pose.evaluate import evaluate_pose_into_run
    from mtn_core.pose.maps import write_pose_maps
    from mtn_core.pose.payoff import compare_variants, list_variants
    from mtn_core.pose.predict import load_predictor
    from mtn_core.pose.sources import load_pose_split
    from mtn_core.pose.task import train_pose

    device = setup_device("CPU")
    pose_run = args.out / "pose"
    test = load_pose_split(args.root, "test")
    minutes = None
    if args.pose_ckpt is None:
        config = load_config(args.pose_recipe, {}, PoseConfig)
        started = time.monotonic()
        train_pose(
            config,
            [load_pose_split(args.root, "train")],
            pose_run,
            device,
            evaluation=test,
            overwrite=args.overwrite,
            echo=print,
        )
        minutes = (time.monotonic() - started) / 60
        print(f"{args.pose_recipe}: trained in {minutes:.1f} minutes")
    ckpt = args.pose_ckpt or pose_run / "ckpt" / "last.ckpt"
    predictor = load_predictor(load_checkpoint(ckpt))
    options = load_config(args.pose_recipe, {"eval.flip_test": args.flip_test}, PoseConfig).eval
    result = evaluate_pose_into_run(
        predictor, ckpt, test, args.out / "pose-eval", options, overwrite=args.overwrite
    )
    print(result.format_table())
    predicted = args.out / "predicted"
    write_pose_maps(
        args.root, predictor, sha256_of(ckpt), out=predicted, progress=False, echo=print
    )
    table = compare_variants(
        list_variants(args.root, predicted, exact=True),
        load_config(args.recipe, parse(args.set)),
        args.out,
        device,
        seeds=args.seeds,
        overwrite=args.overwrite,
        echo=lambda line: print(line, flush=True),
    )
    print_table(table)
    return {
        "pose_minutes": minutes,
        "pck": result.errors.summary(result.thresholds),
        "rows": table.to_dict("records"),
    }


def measure_real(args: argparse.Namespace) -> dict:
    from mtn_core.config import load_config
    from mtn_core.device import setup_device
    from mtn_core.files import sha256_of
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.pose.maps import write_pose_maps
    from mtn_core.pose.payoff import compare_variants, list_variants
    from mtn_core.pose.predict import load_predictor

    if args.real is None or args.pose_ckpt is None:
        sys.exit("real needs --real and --pose_ckpt")
    device = setup_device("CPU")
    predicted = args.out / "predicted"
    write_pose_maps(
        args.real,
        load_predictor(load_checkpoint(args.pose_ckpt)),
        sha256_of(args.pose_ckpt),
        out=predicted,
        progress=False,
        echo=print,
    )
    table = compare_variants(
        list_variants(args.real, predicted, exact=False),
        load_config(args.recipe, parse(args.set)),
        args.out,
        device,
        seeds=args.seeds,
        overwrite=args.overwrite,
        echo=lambda line: print(line, flush=True),
    )
    print_table(table)
    return {"rows": table.to_dict("records")}


def print_table(table) -> None:
    from mtn_core.pose.payoff import summarise
    from mtn_core.results.retrieval import format_fraction

    print(f"{'pose':<42}{'seeds':>6}{'mAP':>9}{'Rank-1':>9}{'colour':>9}{'type':>9}{'min':>7}")
    for name, row in summarise(table).iterrows():
        shares = "".join(
            f"{format_fraction(row[c]):>9}"
            for c in ("mAP", "rank1", "color_accuracy", "type_accuracy")
        )
        print(f"{name:<42}{int(row['seeds']):>6}{shares}{row['minutes']:>7.1f}")


def write_data(root: Path, size: str) -> Path:
    from mtn_core.synthveri import write_synthveri

    write_synthveri(root, size=size, seed=0)
    return root


def parse(assignments: list[str]) -> dict:
    from mtn_core.config import parse_overrides

    return parse_overrides(assignments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("what", choices=("speed", "payoff", "real"))
    parser.add_argument("--root", type=Path, help="the folder that holds veri/")
    parser.add_argument("--real", type=Path, help="a root whose crops have no keypoints")
    parser.add_argument("--out", type=Path, help="folder for the runs")
    parser.add_argument("--pose_ckpt", type=Path, help="use this PoseEstNet in place of training")
    parser.add_argument("--pose_recipe", default="pose_demo")
    parser.add_argument("--recipe", default="demo", help="of MultiTaskNet")
    parser.add_argument("--set", nargs="+", default=[], help="override the recipe of MultiTaskNet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--flip_test", action="store_true")
    parser.add_argument("--image_size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()
    if args.what != "speed" and (args.out is None or (args.what == "payoff" and not args.root)):
        parser.error(f"{args.what} needs --root and --out")
    guard_onednn("CPU")
    if args.out is not None:
        if args.overwrite:
            shutil.rmtree(args.out / "predicted", ignore_errors=True)
        args.out.mkdir(parents=True, exist_ok=True)
    measure = {"speed": measure_speed, "payoff": measure_payoff, "real": measure_real}[args.what]
    print(json.dumps({"bench": f"pose {args.what}", **measure(args)}))


if __name__ == "__main__":
    main()
