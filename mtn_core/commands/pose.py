"""`mtn train-pose`, `mtn eval-pose` and `mtn trans`: PoseEstNet."""

import argparse
import os
from pathlib import Path

from mtn_core.commands.arguments import (
    add_batch_size,
    add_boolean,
    add_device,
    add_out,
    add_root,
    add_set,
    add_splits,
    kept_training,
    mtn,
)
from mtn_core.config import load_config, parse_overrides, recipe_names, validate
from mtn_core.data.layout import SPLITS
from mtn_core.pose.config import PoseConfig, PoseEvalConfig


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of this module's commands."""
    _register_train(subparsers)
    _register_eval(subparsers)
    _register_trans(subparsers)


def _register_train(subparsers) -> None:
    parser = subparsers.add_parser(
        "train-pose",
        group="pose",
        help="train PoseEstNet, which finds the 36 keypoints of a vehicle",
        description=(
            "Trains PoseEstNet (HRNet) on data whose labels have keypoints, or on annotation "
            "files with their images, and writes logs and checkpoints into a run folder."
        ),
        example="mtn train-pose --root data/cars --out runs/pose --recipe pose_smoke",
    )
    parser.add_argument(
        "--root",
        type=Path,
        action="append",
        default=[],
        help="a folder that holds veri/ with keypoints in its labels",
    )
    _add_annotations(parser, several=True)
    add_out(parser)
    parser.add_argument(
        "--recipe",
        default="pose",
        help=f"{', '.join(recipe_names(PoseConfig))}, or a .yaml file",
    )
    parser.add_argument("--eval_root", type=Path, help="root to measure PCK on (default: first)")
    parser.add_argument("--eval_split", choices=SPLITS, default="test", help="split of that root")
    parser.add_argument("--eval_annotations", type=Path, help="measure PCK on this file instead")
    parser.add_argument("--eval_images", type=Path, help="folder of the images it names")
    parser.add_argument(
        "--pre_ckpt_path",
        type=Path,
        help="HRNet weights to start from: a checkpoint, a .pth or .safetensors file",
    )
    add_device(parser)
    add_boolean(parser, "distribute", "one of several processes started by msrun", default=False)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--epochs", type=int, help="same as --set train.epochs=N")
    parser.add_argument("--seed", type=int, help="same as --set train.seed=N")
    add_set(parser, PoseConfig, "data.weights=[1,3]")
    parser.set_defaults(run=run_train_pose, next_step=_eval_pose_next, kept=kept_training)


def _register_eval(subparsers) -> None:
    parser = subparsers.add_parser(
        "eval-pose",
        group="pose",
        help="measure how many keypoints PoseEstNet finds (PCK)",
        description=(
            "Predicts the keypoints of labelled images and prints the share that lies near enough "
            "to the label (PCK), by threshold and by keypoint."
        ),
        example=(
            "mtn eval-pose --root data/cars --ckpt_path runs/pose/ckpt/best.ckpt --out runs/pck",
        ),
    )
    parser.add_argument("--root", type=Path, help="the folder that holds veri/")
    parser.add_argument("--split", choices=SPLITS, default="test", help="split of that root")
    _add_annotations(parser, several=False)
    _add_model(parser)
    add_out(parser)
    add_device(parser)
    _add_decoding(parser)
    add_batch_size(parser, 32)
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        default=list(PoseEvalConfig().thresholds),
        help="in longer sides of the crop",
    )
    parser.set_defaults(
        run=run_eval_pose,
        next_step=_trans_next,
        kept=lambda args: f"{args.out} is what it was before; run it again",
    )


def _register_trans(subparsers) -> None:
    parser = subparsers.add_parser(
        "trans",
        group="pose",
        help="write heatmaps, segments and label keypoints from pixels with PoseEstNet",
        description=(
            "Predicts the keypoints of every image, and writes heatmaps, segments and label files "
            "from them, so that MultiTaskNet can be trained on data that nobody has annotated."
        ),
        example=(
            "mtn trans --root data/mine --ckpt_path runs/pose/ckpt/best.ckpt --out data/mine-posed",
        ),
    )
    add_root(parser)
    _add_model(parser)
    parser.add_argument(
        "--out", type=Path, help="another root to write into, with the images linked"
    )
    add_splits(parser)
    add_device(parser)
    _add_decoding(parser)
    add_batch_size(parser, 16)
    parser.add_argument(
        "--pack", action="store_true", help="write packs in place of 49 JPEG files an image"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace maps that this command did not write"
    )
    parser.set_defaults(
        run=run_trans,
        next_step=lambda args: mtn("check", "--root", args.out or args.root),
        kept=lambda args: "images that were done are kept; the same command goes on",
    )


def _add_annotations(parser: argparse.ArgumentParser, *, several: bool) -> None:
    for name, text in (
        ("annotations", "CSV: name, width, height, (x, y, visible) x 36"),
        ("images", "folder of the images that it names"),
    ):
        if several:
            parser.add_argument(f"--{name}", type=Path, help=text, action="append", default=[])
        else:
            parser.add_argument(f"--{name}", type=Path, help=text)


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--ckpt_path", type=Path, help="checkpoint of `mtn train-pose`")
    group.add_argument("--onnx_path", type=Path, help="run an exported file through onnxruntime")


def _add_decoding(parser: argparse.ArgumentParser) -> None:
    add_boolean(parser, "flip_test", "average with the mirrored crop's prediction", False)
    add_boolean(parser, "refine", "quarter-pixel refinement", True)


def _eval_pose_next(args: argparse.Namespace) -> str:
    from mtn_core.runs import RunFolder

    run = RunFolder(args.out)
    best = run.best_checkpoint if run.best_checkpoint.is_file() else run.last_checkpoint
    root = args.eval_root or (args.root[0] if args.root else "data")
    return mtn("eval-pose", "--root", root, "--ckpt_path", best, "--out", f"{args.out}-eval")


def _trans_next(args: argparse.Namespace) -> str:
    kind = "ckpt" if args.ckpt_path else "onnx"
    model = (f"--{kind}_path", args.ckpt_path or args.onnx_path)
    return mtn("trans", "--root", "data", *model, "--out", "data-posed")


def run_train_pose(args: argparse.Namespace) -> int:
    """Handle `mtn train-pose`."""
    overrides = {}
    for key in ("epochs", "seed"):
        if getattr(args, key) is not None:
            overrides[f"train.{key}"] = getattr(args, key)
    config = load_config(args.recipe, parse_overrides(args.set, overrides), PoseConfig)
    sets = _load_training(args)
    evaluation = _load_evaluation(args) if config.train.eval_every else None

    from mtn_core.device import setup_device
    from mtn_core.pose.task import train_pose

    device = setup_device(args.device_target, args.device_id, distribute=args.distribute)
    progress = train_pose(
        config,
        sets,
        args.out,
        device,
        evaluation=evaluation,
        pre_ckpt_path=args.pre_ckpt_path,
        resume=args.resume,
        overwrite=args.overwrite,
        echo=lambda line: print(line, flush=True),
    )
    if device.is_main:
        if progress.best_score is not None:
            print(f"best PCK@0.1: {progress.best_score:.2%} (epoch {progress.best_epoch})")
        print(f"checkpoints: {args.out / 'ckpt'}{os.sep}")
    return 0


def _load_training(args: argparse.Namespace) -> list:
    from mtn_core.data.leaks import warn_of_leaks
    from mtn_core.errors import ConfigError
    from mtn_core.pose.sources import load_pose_annotations, load_pose_split

    if len(args.annotations) != len(args.images):
        raise ConfigError(
            f"every --annotations needs its --images; got {len(args.annotations)} and "
            f"{len(args.images)}"
        )
    if not args.root and not args.annotations:
        raise ConfigError("nothing to train on: give --root, or --annotations with --images")
    sets = [load_pose_split(root, "train") for root in args.root]
    for root in args.root:
        warn_of_leaks(root)
    pairs = zip(args.annotations, args.images, strict=True)
    return sets + [load_pose_annotations(csv, images) for csv, images in pairs]


def _load_evaluation(args: argparse.Namespace):
    from mtn_core.errors import ConfigError
    from mtn_core.pose.sources import load_pose_annotations, load_pose_split

    if (args.eval_annotations is None) != (args.eval_images is None):
        raise ConfigError("--eval_annotations and --eval_images go together")
    if args.eval_annotations is not None:
        return load_pose_annotations(args.eval_annotations, args.eval_images)
    root = args.eval_root or (args.root[0] if args.root else None)
    if root is None:
        print("no --eval_root or --eval_annotations: training without evaluation", flush=True)
        return None
    return load_pose_split(root, args.eval_split)


def run_eval_pose(args: argparse.Namespace) -> int:
    """Handle `mtn eval-pose`."""
    from mtn_core.errors import ConfigError
    from mtn_core.pose.sources import load_pose_annotations, load_pose_split

    if (args.annotations is None) != (args.images is None):
        raise ConfigError("--annotations and --images go together")
    if (args.root is None) == (args.annotations is None):
        raise ConfigError("give either --root, or --annotations with --images")
    if args.root is not None:
        pose_set = load_pose_split(args.root, args.split)
    else:
        pose_set = load_pose_annotations(args.annotations, args.images)
    options = validate(
        PoseEvalConfig,
        {
            "batch_size": args.batch_size,
            "flip_test": args.flip_test,
            "refine": args.refine,
            "thresholds": tuple(args.thresholds),
        },
        "--thresholds",
    )
    predictor, model_path = _load_predictor(args)

    from mtn_core.pose.evaluate import evaluate_pose_into_run

    result = evaluate_pose_into_run(
        predictor,
        model_path,
        pose_set,
        args.out,
        options,
        overwrite=args.overwrite,
        device_target=args.device_target,
    )
    print(result.format_table())
    return 0


def run_trans(args: argparse.Namespace) -> int:
    """Handle `mtn trans`."""
    from mtn_core.files import sha256_of
    from mtn_core.pose.maps import MapOptions, write_pose_maps

    predictor, model_path = _load_predictor(args)
    write_pose_maps(
        args.root,
        predictor,
        sha256_of(model_path),
        MapOptions(flip_test=args.flip_test, refine=args.refine, pack=args.pack),
        splits=args.splits,
        out=args.out,
        batch_size=args.batch_size,
        overwrite=args.overwrite,
        echo=lambda line: print(line, flush=True),
    )
    return 0


def _load_predictor(args: argparse.Namespace):
    if args.onnx_path is not None:
        from mtn_core.pose.onnx_predictor import OnnxPredictor

        predictor = OnnxPredictor(
            args.onnx_path, device_target=args.device_target, device_id=args.device_id
        )
        return predictor, args.onnx_path

    from mtn_core.device import setup_device
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.pose.predict import load_predictor

    setup_device(args.device_target, args.device_id)
    return load_predictor(load_checkpoint(args.ckpt_path)), args.ckpt_path
