"""Command line of the workbook: parse, call, print."""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from mtn_core import __version__
from mtn_core.environment import guard_onednn
from mtn_core.errors import MtnError

_COMMAND_MODULES = ("data", "convert", "train", "analysis", "export", "pose", "workbook")
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def create_parser() -> argparse.ArgumentParser:
    """The parser of ``mtn`` with all its subcommands."""
    parser = argparse.ArgumentParser(
        prog="mtn",
        description="Vehicle re-identification workbook: MultiTaskNet on MindSpore.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mtn_core {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more, show tracebacks")
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_Subparser
    )
    for name in _COMMAND_MODULES:
        import_module(f"mtn_core.commands.{name}").register(subparsers)
    return parser


class _Subparser(argparse.ArgumentParser):
    """A subcommand's parser; abbreviations would let a misspelt flag pass as another."""

    def __init__(self, **kwargs):
        super().__init__(**{"allow_abbrev": False, **kwargs})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 1 failed, 130 interrupted; wrong usage leaves through ``SystemExit(2)``.
    """
    args = create_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    guard_onednn(getattr(args, "device_target", None))
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (MtnError, OSError) as error:
        if args.verbose:
            logging.getLogger(__name__).exception("%s failed", args.command)
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
