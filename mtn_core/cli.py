"""Command line of the workbook: parse, call, print."""

import argparse
import contextlib
import io
import logging
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from mtn_core import __version__
from mtn_core.environment import guard_onednn
from mtn_core.errors import MtnError, first_line

_COMMAND_MODULES = ("data", "convert", "train", "analysis", "export", "pose", "workbook")
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_LONGEST_NAME = 200


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
        self.register("type", Path, _path)


def _path(text: str) -> Path:
    """A path that is given: an empty text, as of a variable that is not set, is no folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    return Path(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 1 failed, 130 interrupted; wrong usage leaves through ``SystemExit(2)``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not all file names are text
    args = create_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    guard_onednn(getattr(args, "device_target", None))
    try:
        with _interruptible():
            return args.run(args) or 0
    except KeyboardInterrupt:
        print(f"interrupted: mtn {args.command} was stopped before its end", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (MtnError, OSError) as error:
        if args.verbose:
            logging.getLogger(__name__).exception("%s failed", args.command)
        print(f"error: {_describe(error)}", file=sys.stderr)
        return EXIT_FAILED
    except Exception as error:
        print(f"error: {_report_bug(error, args.command)}", file=sys.stderr)
        return EXIT_FAILED


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, so that temporary files are removed.

    MindSpore's runtime answers Ctrl-C by sending SIGTERM to its own process.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _describe(error: Exception) -> str:
    if isinstance(error, MtnError) or not isinstance(error, OSError) or error.filename is None:
        return str(error)
    name = str(error.filename)
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:60]}...{name[-60:]}"
    return f"{shown}: {error.strerror}"


def _report_bug(error: Exception, command: str) -> str:
    """Keep the traceback of an error that nobody foresaw; one line for the user."""
    with tempfile.NamedTemporaryFile(
        "w", prefix=f"mtn-{command}-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"mtn_core {__version__}: mtn {' '.join(sys.argv[1:])}\n\n")
        traceback.print_exception(error, file=file)
    return (
        f"mtn {command} failed in a way that it should not ({type(error).__name__}: "
        f"{first_line(error)[:200]}). This is a bug: please report it with {file.name}"
    )
