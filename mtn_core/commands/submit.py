"""`mtn submit`: the notebooks as jobs of Slurm or Kubernetes, or on this machine."""

import argparse
from pathlib import Path

from mtn_core.commands.arguments import positive
from mtn_core.commands.parser import CommandParser
from mtn_core.commands.workbook import register as register_workbook

_SET_HERE = (
    *("--workers", "--local_workers", "--master_addr", "--master_port", "--node_rank"),
    *("--from-env", "--from_env", "--only"),
)


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of this module's command."""
    parser = subparsers.add_parser(
        "submit",
        group="run",
        help="run the notebooks as jobs of a cluster",
        description=(
            "Gives the notebooks to Slurm, to Ascend's operator on Kubernetes, or to this machine. "
            "--dry_run shows the job and starts nothing."
        ),
        example="mtn submit --on slurm --nodes 2 --dry_run -- workbook --profile demo",
    )
    parser.add_argument(
        "--on", choices=("slurm", "ascendjob", "local"), required=True, help="what runs the job"
    )
    parser.add_argument("--nodes", type=positive, default=1, help="machines that train")
    parser.add_argument("--local_workers", type=positive, default=1, help="processes on each")
    parser.add_argument("--name", help="of the job (default: mtn-PROFILE)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="--NAME=VALUE",
        help="a further option of sbatch, as --option=--partition=gpu",
    )
    parser.add_argument(
        "--job_dir", type=Path, help="scripts and what jobs print (default: jobs/NAME)"
    )
    parser.add_argument("--image", default="", help="ascendjob: container image with mtn in it")
    parser.add_argument(
        "--claim", default="", help="ascendjob: volume claim that holds this working folder"
    )
    parser.add_argument("--dry_run", action="store_true", help="show the job, start nothing")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="-- workbook [its arguments]")
    parser.set_defaults(
        run=run_submit, kept=lambda args: "jobs that the cluster has taken go on without it"
    )


def run_submit(args: argparse.Namespace) -> int:
    """Handle `mtn submit`."""
    from mtn_core.jobs import submit

    request = _request(args)
    if args.on == "local":
        if not args.dry_run:
            return submit.run_here(request)
        print(submit.local_command(request))
    elif args.on == "slurm":
        if args.dry_run:
            for part, script in submit.slurm_scripts(request).items():
                print(f"# {request.folder / part}.sh\n{script}")
        else:
            submit.submit_to_slurm(request, print)
    elif args.dry_run:
        print(submit.ascend_job_yaml(request), end="")
    else:
        submit.submit_to_kubernetes(request, print)
    return 0


def _request(args: argparse.Namespace):
    from mtn_core.errors import ConfigError
    from mtn_core.jobs.submit import Request
    from mtn_core.jobs.workbook import find_notebooks

    words = args.arguments[1:] if args.arguments[:1] == ["--"] else args.arguments
    if words[:1] != ["workbook"]:
        raise ConfigError("mtn submit runs a workbook: mtn submit --on slurm -- workbook ...")
    parser = CommandParser(prog="mtn")
    register_workbook(parser.add_subparsers(required=True))
    workbook = parser.parse_args(words)  # what is wrong is said now, not on the cluster
    only, kept = _without_only(words[1:])
    taken = [word for word in kept if word.partition("=")[0] in _SET_HERE]
    if taken:
        raise ConfigError(f"{taken[0]} is for mtn submit to say: --nodes and --local_workers do")
    name = args.name or f"mtn-{workbook.profile}"
    return Request(
        name=name,
        arguments=tuple(kept),
        notebooks=tuple(path.name[:2] for path in find_notebooks(workbook.notebooks, only)),
        nodes=args.nodes,
        local_workers=args.local_workers,
        options=tuple(args.option),
        folder=args.job_dir or Path("jobs") / name,
        image=args.image,
        claim=args.claim,
    )


def _without_only(words: list[str]) -> tuple[list[str], list[str]]:
    """The notebook numbers, and the other words."""
    if "--only" not in words:
        return [], words
    start = words.index("--only")
    end = start + 1
    while end < len(words) and not words[end].startswith("-"):
        end += 1
    return words[start + 1 : end], words[:start] + words[end:]
