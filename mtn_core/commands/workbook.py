"""`mtn workbook`: the notebooks, in order, through papermill."""

import argparse
from pathlib import Path

import yaml

from mtn_core.commands.arguments import add_device


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of `mtn workbook`."""
    parser = subparsers.add_parser("workbook", help="run the notebooks and write their pages")
    parser.add_argument("--profile", choices=("smoke", "demo", "veri"), default="smoke")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="notebook numbers")
    parser.add_argument("--root", type=Path, help="data root in place of the profile's")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="notebook parameter; may be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    add_device(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes of the whole job")
    parser.add_argument("--local_workers", type=int, help="processes on this machine")
    parser.add_argument("--master_addr", default="127.0.0.1")
    parser.add_argument("--master_port", type=int, default=8118)
    parser.add_argument("--node_rank", type=int, default=0)
    parser.set_defaults(run=run_workbook_command)


def run_workbook_command(args: argparse.Namespace) -> int:
    """Handle `mtn workbook`."""
    from mtn_core.cluster import Cluster
    from mtn_core.workbook import PROFILES, run_workbook

    cluster = Cluster(
        worker_num=args.workers,
        local_worker_num=args.local_workers,
        master_addr=args.master_addr,
        master_port=args.master_port,
        node_rank=args.node_rank,
    )
    index = run_workbook(
        PROFILES[args.profile],
        notebooks=args.notebooks,
        runs_dir=args.runs,
        reports_dir=args.reports,
        root=args.root,
        only=args.only,
        cluster=cluster,
        parameters={name: yaml.safe_load(value) for name, value in args.parameter},
        device_target=args.device_target,
        overwrite=args.overwrite,
        echo=lambda line: print(line, flush=True),
    )
    print(f"report: {index}")
    return 0
