"""`mtn submit`: the notebooks, or many trainings, as jobs of a cluster or on this machine."""

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
        help="run the notebooks, or many trainings, as jobs of a cluster or on this machine",
        description=(
            "Gives the notebooks to Slurm, to Ascend's operator on Kubernetes, or to this machine; "
            "with --array a training for every combination of values, to Slurm or this machine. "
            "--dry_run shows the job and starts nothing."
        ),
        example=(
            "mtn submit --on slurm --nodes 2 --dry_run -- workbook --profile demo",
            "mtn submit --on local --at_once 2 --array recipe=seed,strong seed=0,1,2 -- "
            "train --root data/synthveri-demo --out runs/study",
        ),
    )
    parser.add_argument(
        "--on", choices=("slurm", "ascendjob", "local"), required=True, help="what runs the job"
    )
    parser.add_argument("--nodes", type=positive, default=1, help="machines that train")
    parser.add_argument("--local_workers", type=positive, default=1, help="processes on each")
    parser.add_argument(
        "--array",
        nargs="+",
        metavar="KEY=VALUE,...",
        help="a training for every combination of these values; a key is seed, recipe or one of "
        "--set; each run folder gets a name of its own in --out",
    )
    parser.add_argument(
        "--at_once",
        type=positive,
        help="trainings of --array at once (default: 1 with local, all with slurm)",
    )
    parser.add_argument("--name", help="of the job (default: mtn-PROFILE, or mtn-train)")
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
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        help="-- workbook [its arguments], or -- train [its arguments]",
    )
    parser.set_defaults(
        run=run_submit,
        kept=lambda args: (
            "jobs that the cluster has taken go on without it, trainings that were "
            "complete are kept"
        ),
    )


def run_submit(args: argparse.Namespace) -> int:
    """Handle `mtn submit`."""
    from mtn_core.jobs import submit

    if args.array:
        return _run_array(args)
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


def _run_array(args: argparse.Namespace) -> int:
    from mtn_core.jobs import arrays, submit

    name = args.name or "mtn-train"
    folder = args.job_dir or Path("jobs") / name
    tasks = _tasks(args)
    if args.on == "slurm":
        script = arrays.slurm_script(
            tasks, folder, name=name, at_once=args.at_once, options=args.option
        )
        if args.dry_run:
            print(f"# {folder / 'array.sh'}\n{script}")
        else:
            arrays.write_records(tasks, folder)
            submit.submit_script(script, folder / "array.sh", print)
    elif args.dry_run:
        for task in tasks:
            print(submit.shown("mtn", *task.words))
    else:
        arrays.run_here(tasks, folder, at_once=args.at_once or 1, echo=print)
    return 0


def _tasks(args: argparse.Namespace):
    from mtn_core.commands.train import config_from_arguments
    from mtn_core.commands.train import register as register_train
    from mtn_core.errors import ConfigError
    from mtn_core.jobs.arrays import plan

    words = _command(args)
    if words[:1] != ["train"]:
        raise ConfigError("--array is for trainings: mtn submit --array seed=0,1 -- train ...")
    if args.on == "ascendjob" or args.nodes > 1 or args.local_workers > 1:
        raise ConfigError(
            "--array runs each training as one process, --on slurm or local, without --nodes and "
            "--local_workers"
        )
    grid: dict[str, list[str]] = {}
    for entry in args.array:
        key, _, values = entry.partition("=")
        grid.setdefault(key, [])
        if grid[key] or not all(values.split(",")):
            raise ConfigError(f"--array takes KEY=VALUE,VALUE and each key once, got {entry}")
        grid[key] = values.split(",")
    parser = CommandParser(prog="mtn")
    register_train(parser.add_subparsers(required=True))
    out = parser.parse_args(words).out
    twice = [word for word in words if word.partition("=")[0] in {f"--{key}" for key in grid}]
    if twice:
        raise ConfigError(f"{twice[0]} is given to mtn train and to --array")
    tasks = plan(grid, [*_without(words, "--out")[1]], out)
    for task in tasks:  # what is wrong is said now, and not by some of the runs
        config_from_arguments(parser.parse_args(task.words))
    return tasks


def _command(args: argparse.Namespace) -> list[str]:
    return args.arguments[1:] if args.arguments[:1] == ["--"] else args.arguments


def _request(args: argparse.Namespace):
    from mtn_core.errors import ConfigError
    from mtn_core.jobs.submit import Request
    from mtn_core.jobs.workbook import find_notebooks

    words = _command(args)
    if words[:1] == ["train"]:
        raise ConfigError("mtn submit runs trainings with --array only, such as --array seed=0,1,2")
    if words[:1] != ["workbook"]:
        raise ConfigError("mtn submit runs a workbook: mtn submit --on slurm -- workbook ...")
    if args.at_once:
        raise ConfigError("--at_once says how many trainings of --array run at once")
    parser = CommandParser(prog="mtn")
    register_workbook(parser.add_subparsers(required=True))
    workbook = parser.parse_args(words)  # what is wrong is said now, not on the cluster
    only, kept = _without(words[1:], "--only")
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


def _without(words: list[str], flag: str) -> tuple[list[str], list[str]]:
    """The values of a flag, and the other words."""
    start = next((i for i, w in enumerate(words) if w.partition("=")[0] == flag), None)
    if start is None:
        return [], words
    if "=" in words[start]:
        return [words[start].partition("=")[2]], words[:start] + words[start + 1 :]
    end = start + 1
    while end < len(words) and not words[end].startswith("-"):
        end += 1
    return words[start + 1 : end], words[:start] + words[end:]
