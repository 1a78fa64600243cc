"""`mtn completion`: what a shell needs to complete commands and flags."""

import argparse
from pathlib import Path

SHELLS = ("bash", "zsh", "tcsh")


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of this module's command."""
    parser = subparsers.add_parser(
        "completion",
        group="run",
        help="print what a shell needs to complete commands and flags",
        description=(
            "Prints a script for a shell: put it where the shell looks for completions, or "
            "evaluate it when the shell starts. The package shtab writes it."
        ),
        example=(
            "mtn completion bash  # > ~/.local/share/bash-completion/completions/mtn",
            "mtn completion zsh   # > a folder of $fpath, as _mtn",
        ),
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=run_completion, kept=lambda args: "nothing was changed")


def run_completion(args: argparse.Namespace) -> int:
    """Handle `mtn completion`."""
    import shtab

    from mtn_core.commands.parser import create_parser

    parser = create_parser()
    for action in _actions(parser):
        if action.type is Path:
            folder = action.dest in ("root", "download", "images", "runs", "reports", "notebooks")
            action.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=args.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found += _actions(command)
    return found
