"""`mtn workbook`: the notebooks, in order; `mtn launch`: any command on several processes."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtn_core.commands.arguments import add_device, positive, whole_number
from mtn_core.strict_yaml import parse_yaml


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of this module's commands."""
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
    _add_cluster(parser)
    parser.set_defaults(run=run_workbook_command)
    _register_launch(subparsers)


def _register_launch(subparsers) -> None:
    parser = subparsers.add_parser(
        "launch",
        help="run an mtn command on several processes, with msrun",
        epilog="example: mtn launch --workers 2 -- train --distribute --root data --out runs/two",
    )
    _add_cluster(parser)
    parser.add_argument("--log_dir", type=Path, default=Path("msrun_logs"), help="logs by rank")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the command, after --")
    parser.set_defaults(run=lambda args: run_launch(args, subparsers.choices))


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=positive, default=1, help="processes of the whole job")
    parser.add_argument("--local_workers", type=positive, help="processes on this machine (all)")
    parser.add_argument("--master_addr", default="127.0.0.1", help="machine with node rank 0")
    parser.add_argument(
        "--master_port",
        type=whole_number(1, 65535),
        help="a free port there (one machine: any; several: 8118)",
    )
    parser.add_argument("--node_rank", type=whole_number(0), default=0, help="this machine's place")
    parser.add_argument("--rank_table_file", type=Path, help="Ascend rank table")


def _cluster(args: argparse.Namespace):
    from mtn_core.jobs.cluster import Cluster

    return Cluster(
        worker_num=args.workers,
        local_worker_num=args.local_workers,
        master_addr=args.master_addr,
        master_port=args.master_port,
        node_rank=args.node_rank,
        rank_table_file=str(args.rank_table_file) if args.rank_table_file else None,
    )


def run_launch(args: argparse.Namespace, commands: Mapping[str, argparse.ArgumentParser]) -> int:
    """Handle `mtn launch`.

    Args:
        args: Parsed.
        commands: Parsers of all commands, to refuse before any process starts what none would take.
    """
    from mtn_core.errors import ConfigError
    from mtn_core.jobs.cluster import launch

    command = [a for i, a in enumerate(args.arguments) if a != "--" or i]
    if not command:
        raise ConfigError("mtn launch needs a command after --, such as -- train --distribute ...")
    if command[0] not in commands:
        raise ConfigError(f"there is no command mtn {command[0]} to launch; see `mtn --help`")
    parsed = commands[command[0]].parse_args(command[1:])
    cluster = _cluster(args)
    if cluster.worker_num > 1 and not getattr(parsed, "distribute", None):
        remedy = "add --distribute" if hasattr(parsed, "distribute") else "run it without launch"
        raise ConfigError(
            f"mtn {command[0]} without --distribute would run {cluster.worker_num} times, each on "
            f"its own and into the same place; {remedy}"
        )
    return launch(cluster, "mtn_core", command, args.log_dir.resolve())


def _parameters(given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Notebook parameters from YAML texts."""
    from mtn_core.errors import ConfigError

    values: dict[str, Any] = {}
    for name, text in given:
        if name in values:
            raise ConfigError(f"-p {name} is given twice")
        values[name] = parse_yaml(text, f"-p {name} {text}")
        try:
            json.dumps(values[name], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"-p {name} {text}: a notebook takes numbers, texts, lists and mappings; got "
                f"{type(values[name]).__name__} (put a text into quotation marks)"
            ) from error
    return values


def run_workbook_command(args: argparse.Namespace) -> int:
    """Handle `mtn workbook`."""
    from mtn_core.jobs.workbook import PROFILES, run_workbook

    index = run_workbook(
        PROFILES[args.profile],
        notebooks=args.notebooks,
        runs_dir=args.runs,
        reports_dir=args.reports,
        root=args.root,
        only=args.only,
        cluster=_cluster(args),
        parameters=_parameters(args.parameter),
        device_target=args.device_target,
        overwrite=args.overwrite,
        echo=lambda line: print(line, flush=True),
    )
    print(f"report: {index}")
    return 0
