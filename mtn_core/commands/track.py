"""`mtn track`: runs in TensorBoard or MLflow."""

import argparse
import shlex
from pathlib import Path

TRACKERS = ("tensorboard", "mlflow")


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of this module's command."""
    parser = subparsers.add_parser(
        "track",
        group="analyse",
        help="show runs in TensorBoard or MLflow",
        description=(
            "Turns run folders, of trainings that run or have ended, into event files of "
            "TensorBoard or runs of MLflow in a SQLite store. A second call adds what is new. "
            "Nothing is sent anywhere."
        ),
        example=(
            "mtn track runs/first runs/second --to tensorboard",
            "mtn track runs/first --to mlflow --out tracking",
        ),
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--to", choices=TRACKERS, required=True, help="the tracker")
    parser.add_argument(
        "--out", type=Path, help="its log folder, or folder of its store (default: that name)"
    )
    parser.add_argument("--experiment", help="of MLflow (default: mtn)")
    parser.set_defaults(
        run=run_track,
        next_step=_view_next,
        kept=lambda args: "whole files alone were written; the same command adds the rest",
    )


def _place(args: argparse.Namespace) -> Path:
    return args.out or Path(args.to)


def _view_next(args: argparse.Namespace) -> str:
    if args.to == "tensorboard":
        return shlex.join(["tensorboard", "--logdir", str(_place(args))])
    from mtn_core.track.mlflow import store_uri

    return shlex.join(["mlflow", "ui", "--backend-store-uri", store_uri(_place(args))])


def run_track(args: argparse.Namespace) -> int:
    """Handle `mtn track`."""
    from mtn_core.errors import ConfigError
    from mtn_core.track.record import Record

    if args.experiment and args.to != "mlflow":
        raise ConfigError("--experiment goes with --to mlflow")
    records = [Record.read(run) for run in args.runs]
    names = [record.folder.name for record in records]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and args.to == "tensorboard":
        raise ConfigError(f"two runs are called {twice[0]}; give each a call with another --out")
    for record in records:
        if args.to == "tensorboard":
            from mtn_core.track.tensorboard import track_with_tensorboard

            added = track_with_tensorboard(record, _place(args))
        else:
            from mtn_core.track.mlflow import track_with_mlflow

            added = track_with_mlflow(record, _place(args), args.experiment or "mtn")
        state = "complete" if record.complete else "still running, or stopped"
        print(f"{record.folder.name}: {added} numbers added ({state})")
    return 0
