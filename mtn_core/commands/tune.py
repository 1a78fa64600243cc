"""`mtn tune`: a search over recipes, scored on vehicles that are held out of training."""

import argparse
from pathlib import Path

from mtn_core.commands.arguments import (
    add_boolean,
    add_device,
    add_maps,
    add_root,
    add_set,
    mtn,
    positive,
    whole_number,
)
from mtn_core.commands.train import config_from_arguments
from mtn_core.config import MAX_SEED, Config, recipe_names, with_overrides

DEFAULT_SHARE = 0.15


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of this module's command."""
    parser = subparsers.add_parser(
        "tune",
        group="train",
        help="search for better settings of a recipe",
        description=(
            "Trains a recipe with values that Optuna chooses from a space file, such as "
            "`optim.learning_rate: {low: 1e-4, high: 1e-2, log: true}` and `loss.triplet: [margin, "
            "soft]`, a line a key. Trials are scored on training vehicles that are held out, and "
            "bad ones are ended early. Each is a run folder OUT/trial-NNNN; OUT/report.html shows "
            "all, OUT/best.yaml is the best as a recipe. The same command, also in several "
            "processes at once, goes on with the study."
        ),
        example=(
            "mtn tune --root data/cars --space space.yaml --trials 20 --out runs/search "
            "--recipe smoke",
        ),
    )
    add_root(parser, several=True)
    parser.add_argument(
        "--space", type=Path, required=True, metavar="FILE.yaml", help="keys and their values"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument(
        "--trials", type=positive, required=True, metavar="N", help="trials of the study in all"
    )
    parser.add_argument(
        "--recipe", default="seed", help=f"{', '.join(recipe_names())}, or a .yaml file"
    )
    parser.add_argument(
        "--val_ids",
        metavar="SHARE|FILE",
        help="training vehicles that are held out to score on: a share of them, or a file with an "
        f"id in each line (default: the recipe's, or {DEFAULT_SHARE})",
    )
    parser.add_argument("--pre_ckpt_path", type=Path, help="weights that every trial starts from")
    add_boolean(parser, "prune", "end trials that are worse than most at the same epoch", True)
    parser.add_argument("--epochs", type=int, help="same as --set train.epochs=N")
    parser.add_argument(
        "--seed",
        type=whole_number(0, MAX_SEED),
        default=0,
        help="of the choice of values; that of the trainings is --set train.seed=N",
    )
    add_maps(parser)
    add_device(parser)
    add_set(parser, Config, "train.epochs=5")
    parser.set_defaults(
        run=run_tune,
        next_step=_train_next,
        kept=lambda args: (
            f"all trials are kept in {args.out}, and the same command goes on with "
            "the one that was stopped"
        ),
    )


def _train_next(args: argparse.Namespace) -> str:
    from mtn_core.tune.page import RECIPE

    roots = [word for root in args.root for word in ("--root", root)]
    return mtn("train", *roots, "--out", "runs/best", "--recipe", args.out / RECIPE)


def run_tune(args: argparse.Namespace) -> int:
    """Handle `mtn tune`."""
    import optuna  # noqa: F401 - the extra that is missing is named before anything else

    from mtn_core.tune.space import read_space

    seed, args.seed = args.seed, None  # config_from_arguments would take it for the training's
    config = config_from_arguments(args)
    if config.data.val_ids is None:
        config = with_overrides(config, {"data.val_ids": DEFAULT_SHARE})
    space = read_space(args.space, config)

    from mtn_core.device import setup_device
    from mtn_core.tune.page import PAGE, best_of
    from mtn_core.tune.search import Search, tune

    device = setup_device(args.device_target, args.device_id)
    search = Search(
        config=config,
        space=space,
        roots=args.root,
        out=args.out,
        trials=args.trials,
        seed=seed,
        prune=args.prune,
        pre_ckpt_path=args.pre_ckpt_path,
    )
    outcomes = tune(search, device, echo=lambda line: print(line, flush=True))
    best = best_of(outcomes)
    if best is None or best.score is None:
        print(f"no trial is complete; report: {args.out / PAGE}")
        args.next_step = lambda args: None
        return 0
    print(f"best: trial {best.number}, validation mAP {best.score:.2%}")
    print(f"report: {args.out / PAGE}")
    return 0
