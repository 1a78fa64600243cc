"""`mtn workbook`: the notebooks, in order; `mtn launch`: any command on several processes."""

import argparse
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtn_core.commands.arguments import add_device, add_set, positive, whole_number
from mtn_core.config import Config, load_config, parse_overrides
from mtn_core.strict_yaml import parse_yaml


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of this module's commands."""
    parser = subparsers.add_parser(
        "workbook",
        group="run",
        help="run the notebooks and write their pages",
        description=(
            "Runs the notebooks in order, without a browser, and writes their pages, the retrieval "
            "report and an index. What the notebooks' programs print goes to RUNS/NAME/logs."
        ),
        example=(
            "mtn workbook --profile demo",
            "mtn workbook --root data/mine --name mine --recipe strong",
        ),
    )
    parser.add_argument(
        "--profile",
        choices=("smoke", "demo", "veri"),
        default="smoke",
        help="data and recipes: the smallest that runs, ten minutes on two cores, or VeRi's",
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NN", help="notebook numbers (default: all)"
    )
    parser.add_argument("--root", type=Path, help="data root in place of the profile's")
    parser.add_argument(
        "--name", type=_folder_name, help="of run and pages (default: the profile's)"
    )
    parser.add_argument("--recipe", help="in place of the profile's, such as strong")
    parser.add_argument("--pose_recipe", help="of notebook 07, in place of the profile's")
    add_set(parser, Config, "optim.learning_rate=1e-3")
    parser.add_argument(
        "--notebooks", type=Path, default=Path("notebooks"), help="folder of the notebooks"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run folders")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of the pages")
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="notebook parameter",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    parser.add_argument(
        "--resume", action="store_true", help="go on with an earlier run: what passed is kept"
    )
    add_device(parser)
    _add_cluster(parser)
    parser.set_defaults(run=run_workbook_command, next_step=_open_next, kept=_kept)
    _register_launch(subparsers)


def _open_next(args: argparse.Namespace) -> str | None:
    index = args.reports / (args.name or args.profile) / "index.html"
    return f"open {index} in a browser" if index.is_file() else None


def _kept(args: argparse.Namespace) -> str:
    how = "with --resume in place of --overwrite" if args.overwrite else "with --resume"
    return (
        f"notebooks that passed are kept in {args.runs / (args.name or args.profile)}; the same "
        f"command {'' if args.resume else how + ' '}goes on"
    )


def _folder_name(text: str) -> str:
    if not text.strip() or text.startswith(".") or "/" in text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected the name of a folder, got {text!r}")
    return text


def _register_launch(subparsers) -> None:
    parser = subparsers.add_parser(
        "launch",
        group="run",
        help="run an mtn command on several processes, with msrun",
        description=(
            "Starts the command in several processes, on this machine or on several, that train "
            "one network together, and ends all when one fails."
        ),
        example="mtn launch --workers 2 -- train --distribute --root data --out runs/two",
    )
    _add_cluster(parser)
    parser.add_argument("--log_dir", type=Path, default=Path("msrun_logs"), help="logs by rank")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the command, after --")
    parser.set_defaults(
        run=lambda args: run_launch(args, subparsers.choices),
        kept=lambda args: (
            f"all processes were ended, their logs are in {args.log_dir}; a training "
            "goes on from what it saved with --resume"
        ),
    )


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=positive, help="processes of the whole job (default: 1)")
    parser.add_argument(
        "--local_workers", type=positive, help="processes on this machine (default: all)"
    )
    parser.add_argument("--master_addr", help="machine with node rank 0 (default: 127.0.0.1)")
    parser.add_argument(
        "--master_port",
        type=whole_number(1, 65535),
        help="a free port there (default: any on one machine, 8118 on several)",
    )
    parser.add_argument(
        "--node_rank", type=whole_number(0), help="this machine's place (default: 0)"
    )
    parser.add_argument("--rank_table_file", type=Path, help="Ascend rank table")
    parser.add_argument(
        "--from-env",
        "--from_env",
        action="store_true",
        help="take these numbers from Slurm (one task a node) or Ascend's operator on Kubernetes",
    )


def _cluster(args: argparse.Namespace):
    from mtn_core.errors import ConfigError
    from mtn_core.jobs.cluster import Cluster
    from mtn_core.jobs.surroundings import cluster_from_environment

    if args.from_env:
        given = ("workers", "node_rank", "rank_table_file")
        twice = [f"--{name}" for name in given if getattr(args, name) is not None]
        if twice:
            raise ConfigError(f"--from-env says what {', '.join(twice)} says; give one of them")
        return cluster_from_environment(
            os.environ,
            local_workers=args.local_workers,
            master_addr=args.master_addr,
            master_port=args.master_port,
        )
    return Cluster(
        worker_num=args.workers or 1,
        local_worker_num=args.local_workers,
        master_addr=args.master_addr or Cluster.master_addr,
        master_port=args.master_port,
        node_rank=args.node_rank or 0,
        rank_table_file=str(args.rank_table_file) if args.rank_table_file else None,
    )


def run_launch(args: argparse.Namespace, commands: Mapping[str, argparse.ArgumentParser]) -> int:
    """Handle `mtn launch`.

    Args:
        args: Parsed.
        commands: Parsers of all commands, to refuse before any process starts what none would take.
    """
    from mtn_core.errors import ConfigError, nearest
    from mtn_core.jobs.cluster import launch

    command = [a for i, a in enumerate(args.arguments) if a != "--" or i]
    if not command:
        raise ConfigError("mtn launch needs a command after --, such as -- train --distribute ...")
    if command[0] not in commands:
        close = nearest(command[0], commands)
        hint = f"; did you mean {close}?" if close else ""
        raise ConfigError(f"there is no command mtn {command[0]} to launch{hint}; see `mtn --help`")
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

    parameters = _parameters(args.parameter)
    if args.set:
        parameters["overrides"] = parse_overrides(args.set) | parameters.get("overrides", {})
    preset = PROFILES[args.profile]
    changed = {"name": args.name, "recipe": args.recipe, "pose_recipe": args.pose_recipe}
    given = {key: value for key, value in changed.items() if value is not None}
    if args.name and args.root:
        given["synth_size"] = None  # own data are brought, not drawn where the path is mistyped
    if args.recipe or args.set:
        load_config(args.recipe or preset.recipe, parameters.get("overrides"))
    if args.recipe and Path(args.recipe).is_file():  # notebooks work in their own folder
        given["recipe"] = str(Path(args.recipe).resolve())
    index = run_workbook(
        dataclasses.replace(preset, **given),
        notebooks=args.notebooks,
        runs_dir=args.runs,
        reports_dir=args.reports,
        root=args.root,
        only=args.only,
        cluster=_cluster(args),
        parameters=parameters,
        device_target=args.device_target,
        overwrite=args.overwrite,
        resume=args.resume,
        echo=lambda line: print(line, flush=True),
    )
    if index is not None:
        print(f"report: {index}")
    return 0
