"""`mtn train` and `mtn eval`."""

import argparse
import os
from pathlib import Path

from mtn_core.commands.arguments import (
    add_boolean,
    add_device,
    add_maps,
    add_out,
    add_root,
    add_set,
    kept_training,
    mtn,
)
from mtn_core.config import Config, load_config, parse_overrides, recipe_names, with_overrides


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of this module's commands."""
    _register_train(subparsers)
    _register_eval(subparsers)


def _register_train(subparsers) -> None:
    parser = subparsers.add_parser(
        "train",
        group="train",
        help="train MultiTaskNet into a run folder",
        description=(
            "Trains MultiTaskNet by a recipe and writes logs and checkpoints into a run folder. "
            "The checkpoint `best` is chosen on the test split, as is the habit on VeRi, or on "
            "training vehicles that --val_ids holds out."
        ),
        example=(
            "mtn train --root data/cars --out runs/first --recipe smoke",
            "mtn train --root data --out runs/long --recipe strong --set train.epochs=60",
        ),
    )
    add_root(parser, several=True)
    add_out(parser)
    parser.add_argument(
        "--recipe",
        default="seed",
        help=f"{', '.join(recipe_names())}, or a .yaml file",
    )
    parser.add_argument("--eval_root", type=Path, help="evaluate on this root instead of the first")
    add_boolean(parser, "pre_trained", "start from --pre_ckpt_path")
    parser.add_argument("--pre_ckpt_path", type=Path, help="weights to start from")
    add_device(parser)
    add_maps(parser)
    add_boolean(parser, "distribute", "one of several processes started by msrun", default=False)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--val_ids",
        metavar="SHARE|FILE",
        help="choose best on training vehicles that are held out: a share of them such as 0.15, or "
        "a file with an id in each line; same as --set data.val_ids=",
    )
    parser.add_argument("--epochs", type=int, help="same as --set train.epochs=N")
    parser.add_argument("--seed", type=int, help="same as --set train.seed=N")
    add_set(parser, Config, "optim.learning_rate=1e-3")
    parser.set_defaults(run=run_train, next_step=_eval_next, kept=kept_training)


def _register_eval(subparsers) -> None:
    parser = subparsers.add_parser(
        "eval",
        group="analyse",
        help="evaluate a checkpoint, print the result table",
        description=(
            "Embeds queries and gallery, prints mAP, the CMC curve and the accuracy of colours and "
            "types, and writes what reports and searches need into a run folder."
        ),
        example=(
            "mtn eval --root data/cars --ckpt_path runs/first/ckpt/best.ckpt --out runs/first",
        ),
    )
    add_root(parser)
    parser.add_argument(
        "--ckpt_path", type=Path, required=True, help="checkpoint of `mtn train` or `mtn convert`"
    )
    add_out(parser)
    add_device(parser)
    add_maps(parser)
    add_boolean(parser, "distribute", "one of several processes started by msrun", default=False)
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="also what the untrained network and a colour histogram reach, for the report",
    )
    add_set(parser, Config, "eval.metric=cosine")
    parser.set_defaults(
        run=run_eval,
        next_step=report_next,
        kept=lambda args: f"{args.out} is what it was before; run it again",
    )


def report_next(args: argparse.Namespace) -> str | None:
    """The report of what was written into ``--out``."""
    if args.out is None:
        return None
    return mtn("report", args.out, "--out", Path("reports") / f"{args.out.resolve().name}.html")


def _eval_next(args: argparse.Namespace) -> str:
    from mtn_core.runs import RunFolder

    run = RunFolder(args.out)
    best = run.best_checkpoint if run.best_checkpoint.is_file() else run.last_checkpoint
    root = args.eval_root or args.root[0]
    return mtn("eval", "--root", root, "--ckpt_path", best, "--out", args.out)


def config_from_arguments(args: argparse.Namespace) -> Config:
    """Recipe, then the flags that have a name of their own, then ``--set``."""
    overrides = {}
    for key, value in (
        ("model.heatmaps", args.heatmapaware),
        ("model.segments", args.segmentaware),
        ("train.epochs", getattr(args, "epochs", None)),
        ("train.seed", getattr(args, "seed", None)),
        ("data.val_ids", _share_or_file(getattr(args, "val_ids", None))),
    ):
        if value is not None:
            overrides[key] = value
    return load_config(args.recipe, parse_overrides(args.set, overrides))


def _share_or_file(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


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
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.predict.backend import check_maps
    from mtn_core.predict.evaluate import (
        evaluate_into_run,
        evaluation_config,
        open_evaluation,
        write_baselines,
    )
    from mtn_core.predict.mindspore import MindSporeBackend, untrained_backend

    device = setup_device(args.device_target, args.device_id, distribute=args.distribute)
    overrides = parse_overrides(args.set)
    checkpoint = load_checkpoint(args.ckpt_path)
    model = checkpoint.model_config
    check_maps(model, args.ckpt_path, heatmaps=args.heatmapaware, segments=args.segmentaware)
    evaluation = open_evaluation(args.root, model)
    backend = MindSporeBackend.of_checkpoint(checkpoint, device)
    result = evaluate_into_run(
        backend,
        evaluation,
        args.out,
        checkpoint=args.ckpt_path,
        device=device.to_dict(),
        overrides=overrides,
        overwrite=args.overwrite,
    )
    if device.is_main:
        print(result.format_table())
    if args.baselines:
        from mtn_core.pixel_limit import limited_pixels
        from mtn_core.report.verdict import list_baselines

        config = evaluation_config(backend, overrides)
        if checkpoint.facts.seed is not None:
            config = with_overrides(config, {"train.seed": checkpoint.facts.seed})
        untrained = untrained_backend(config, device)
        with limited_pixels(config.data.max_pixels):
            baselines = write_baselines(untrained, evaluation, args.out, config.eval)
        if device.is_main:
            for name, score in list_baselines({n: b["mAP"] for n, b in baselines.items()}):
                print(f"Baseline, {name}: mAP {score:.2%}")
    return 0
