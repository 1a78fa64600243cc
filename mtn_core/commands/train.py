"""`mtn train` and `mtn eval`."""

import argparse
import os
from pathlib import Path

from mtn_core.commands.arguments import add_boolean, add_device, add_maps, add_out, add_root
from mtn_core.config import Config, load_config, parse_overrides, recipe_names


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of this module's commands."""
    _register_train(subparsers)
    _register_eval(subparsers)


def _register_train(subparsers) -> None:
    parser = subparsers.add_parser("train", help="train MultiTaskNet into a run folder")
    add_root(parser, several=True)
    add_out(parser)
    parser.add_argument(
        "--recipe",
        default="seed",
        help=f"{', '.join(recipe_names())}, or a .yaml file (default: seed)",
    )
    parser.add_argument("--eval_root", type=Path, help="evaluate on this root instead of the first")
    add_boolean(parser, "pre_trained", "start from --pre_ckpt_path")
    parser.add_argument("--pre_ckpt_path", type=Path, help="weights to start from")
    add_device(parser)
    add_maps(parser)
    add_boolean(parser, "distribute", "one of several processes started by msrun", default=False)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--epochs", type=int, help="same as --set train.epochs=N")
    parser.add_argument("--seed", type=int, help="same as --set train.seed=N")
    _add_set(parser)
    parser.set_defaults(run=run_train)


def _register_eval(subparsers) -> None:
    parser = subparsers.add_parser("eval", help="evaluate a checkpoint, print the result table")
    add_root(parser)
    parser.add_argument("--ckpt_path", type=Path, required=True)
    add_out(parser)
    add_device(parser)
    add_maps(parser)
    add_boolean(parser, "distribute", "one of several processes started by msrun", default=False)
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="also what the untrained network and a colour histogram reach, for the report",
    )
    _add_set(parser)
    parser.set_defaults(run=run_eval)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override the recipe, such as optim.learning_rate=1e-3",
    )


def config_from_arguments(args: argparse.Namespace) -> Config:
    """Recipe, then the flags that have a name of their own, then ``--set``."""
    overrides = {}
    for key, value in (
        ("model.heatmaps", args.heatmapaware),
        ("model.segments", args.segmentaware),
        ("train.epochs", getattr(args, "epochs", None)),
        ("train.seed", getattr(args, "seed", None)),
    ):
        if value is not None:
            overrides[key] = value
    return load_config(args.recipe, overrides | parse_overrides(args.set))


def run_train(args: argparse.Namespace) -> int:
    """Handle `mtn train`."""
    from mtn_core.errors import ConfigError

    config = config_from_arguments(args)
    if args.pre_trained and args.pre_ckpt_path is None:
        raise ConfigError("--pre_trained True needs --pre_ckpt_path FILE (see `mtn convert`)")
    use_weights = args.pre_trained is not False and args.pre_ckpt_path is not None

    from mtn_core.device import setup_device
    from mtn_core.engine.multitask import train

    device = setup_device(args.device_target, args.device_id, distribute=args.distribute)
    progress = train(
        config,
        args.root,
        args.out,
        device,
        eval_root=args.eval_root,
        pre_ckpt_path=args.pre_ckpt_path if use_weights else None,
        resume=args.resume,
        overwrite=args.overwrite,
        echo=lambda line: print(line, flush=True),
    )
    if device.is_main:
        if progress.best_score is not None:
            print(f"best mAP: {progress.best_score:.2%} (epoch {progress.best_epoch})")
        print(f"checkpoints: {args.out / 'ckpt'}{os.sep}")
    return 0


def run_eval(args: argparse.Namespace) -> int:
    """Handle `mtn eval`."""
    from mtn_core.device import setup_device
    from mtn_core.predict.evaluate import evaluate_into_run, write_baselines

    device = setup_device(args.device_target, args.device_id, distribute=args.distribute)
    result = evaluate_into_run(
        args.ckpt_path,
        args.root,
        args.out,
        device,
        heatmaps=args.heatmapaware,
        segments=args.segmentaware,
        overrides=parse_overrides(args.set),
        overwrite=args.overwrite,
    )
    if device.is_main:
        print(result.format_table())
    if args.baselines:
        from mtn_core.report.verdict import list_baselines
        from mtn_core.runs import read_run_config

        config, _ = read_run_config(args.out)
        baselines = write_baselines(config, args.root, args.out, device)
        if device.is_main:
            for name, score in list_baselines({n: b["mAP"] for n, b in baselines.items()}):
                print(f"Baseline, {name}: mAP {score:.2%}")
    return 0
