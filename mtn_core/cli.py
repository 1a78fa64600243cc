"""Command line of the workbook: parse, call, print."""

import argparse
import contextlib
import io
import logging
import os
import signal
import sys
import tempfile
import traceback
import unicodedata
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from mtn_core import __version__
from mtn_core.cuda import use_cuda
from mtn_core.environment import guard_onednn
from mtn_core.errors import MtnError, explain_missing_package, first_line

_COMMAND_MODULES = (
    *(
        "data",
        "convert",
        "train",
        "analysis",
        "export",
        "pose",
        "gallery",
        "search",
        "serve",
        "workbook",
        "submit",
    ),
    "doctor",
)
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_LONGEST_NAME = 200
_LOOP = "Symlink loop from "  # of Path.resolve, before Python 3.13


def create_parser(modules: Sequence[str] = _COMMAND_MODULES) -> argparse.ArgumentParser:
    """The parser of ``mtn`` with its subcommands.

    Args:
        modules: Of :mod:`mtn_core.commands`; all by default.
    """
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
    for name in modules:
        import_module(f"mtn_core.commands.{name}").register(subparsers)
    return parser


class _Subparser(argparse.ArgumentParser):
    """A subcommand's parser; abbreviations would let a misspelt flag pass as another."""

    def __init__(self, **kwargs):
        super().__init__(**{"allow_abbrev": False, **kwargs})
        self.register("type", Path, _path)


def _path(text: str) -> Path:
    """A path of the command line: not empty, as an unset variable of a shell would be."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise argparse.ArgumentTypeError(
            f"expected a path without control characters and in UTF-8, got {text!r}"
        )
    return Path(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 1 failed, 130 interrupted; wrong usage leaves through ``SystemExit(2)``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not all file names are text, and one must not end work that is done.
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # The doctor's patients, NumPy among them, need not be well for it to be called.
        parser = create_parser(("doctor",) if words[:1] == ["doctor"] else _COMMAND_MODULES)
    except ImportError as error:
        print(f"error: {_name_doctor(error)}", file=sys.stderr)
        return EXIT_FAILED
    args = parser.parse_args(words)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    device_target = getattr(args, "device_target", None)
    guard_onednn(device_target)
    if not _leaves_mindspore_alone(args):
        use_cuda(device_target)
    try:
        with _interruptible():
            code = args.run(args) or 0
            print(end="", flush=True)
            return code
    except KeyboardInterrupt:
        print(f"interrupted: mtn {args.command} was stopped before its end", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if args.verbose:
            logging.getLogger(__name__).exception("%s failed", args.command)
        print(f"error: {_describe(error, args.command)}", file=sys.stderr)
        return EXIT_FAILED


def _leaves_mindspore_alone(args: argparse.Namespace) -> bool:
    """Whether ONNX Runtime does the work, whose CUDA is another, or processes of their own do."""
    model = getattr(args, "model", None)
    if isinstance(model, Path) and model.suffix == ".onnx":
        return True
    return getattr(args, "onnx_path", None) is not None or args.command == "workbook"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the work as Ctrl-C does, so that temporary files are removed.

    MindSpore's runtime answers Ctrl-C by sending SIGTERM to its own process; SIGHUP comes when a
    terminal is closed, and is left alone where it is ignored (nohup).
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    try:
        previous = {number: signal.signal(number, interrupt) for number in numbers}
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _describe(error: Exception, command: str) -> str:
    """The error in one line."""
    if isinstance(error, BrokenPipeError):
        # What is left in the buffer would be tried again at the end, and fail with a traceback.
        if isinstance(sys.stdout, io.TextIOWrapper):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "the program that reads the output ended before this one"
    if isinstance(error, MtnError):
        text = str(error)
    elif isinstance(error, OSError):
        text = _describe_system_error(error)
    elif isinstance(error, ImportError) and not (error.name or "mtn_core").startswith("mtn_core"):
        missing = None
        if isinstance(error, ModuleNotFoundError):
            missing = explain_missing_package(error, f"mtn {command}")
        text = (
            _name_doctor(error)
            if missing is None
            else f"{missing}; `mtn doctor` says what else is missing"
        )
    elif isinstance(error, MemoryError):
        what = first_line(error) if str(error) else "no more is to be had"
        text = f"not enough memory ({what}); take smaller batches or images, or another machine"
    elif str(error).startswith(_LOOP):
        name = str(error).removeprefix(_LOOP).strip("'\"")
        text = f"{name} is a link that leads to itself; remove it, or choose another place"
    else:
        text = _report_bug(error, command)
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _describe_system_error(error: OSError) -> str:
    if error.filename is None:
        return f"the output or a file: {error.strerror or error}"
    name = str(error.filename)
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:60]}...{name[-60:]}"
    if isinstance(error, FileExistsError) and not Path(name).exists():
        return f"{shown} is a link that leads nowhere; remove it, or choose another place"
    return f"{shown}: {error.strerror}"


def _name_doctor(error: ImportError) -> str:
    return (
        f"a package is missing or broken: {first_line(error)}. `mtn doctor` says what else is, and "
        "the command that mends it"
    )


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
