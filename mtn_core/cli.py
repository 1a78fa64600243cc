"""Command line of the workbook: parse, call, print."""

import argparse
import contextlib
import io
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtn_core import __version__
from mtn_core.commands.parser import create_parser
from mtn_core.cuda import use_cuda
from mtn_core.environment import guard_onednn
from mtn_core.errors import ConfigError, MtnError, explain_missing_package, first_line

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
_LONGEST_NAME = 200
_LOOP = "Symlink loop from "  # of Path.resolve, before Python 3.13


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 1 failed, 2 wrong usage that the command found, 130 interrupted; what the
        parser refuses leaves through ``SystemExit(2)``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not all file names are text, and one must not end work that is done.
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # The doctor's patients, NumPy among them, need not be well for it to be called.
        parser = create_parser(("doctor",)) if words[:1] == ["doctor"] else create_parser()
    except ImportError as error:
        print(f"error: {_name_doctor(error)}", file=sys.stderr)
        return EXIT_FAILED
    args = parser.parse_args(words)
    args.started = time.time()
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
            if code == 0:
                _say_next(args)
            return code
    except KeyboardInterrupt:
        kept = getattr(args, "kept", _kept_whole)(args)
        print(
            f"interrupted: mtn {args.command} was stopped before its end; {kept}", file=sys.stderr
        )
        return EXIT_INTERRUPTED
    except ConfigError as error:
        print(f"error: {_describe(error, args.command)}", file=sys.stderr)
        return EXIT_USAGE
    except Exception as error:
        if args.verbose:
            logging.getLogger(__name__).exception("%s failed", args.command)
        print(f"error: {_describe(error, args.command)}", file=sys.stderr)
        return EXIT_FAILED


def _say_next(args: argparse.Namespace) -> None:
    """The step after this one; on stderr, for what a command prints may be read by a program."""
    first_of_job = os.environ.get("RANK_ID", "0") in ("", "0")
    line = getattr(args, "next_step", lambda args: None)(args) if first_of_job else None
    if line:
        print(f"next: {line}", file=sys.stderr)


def _kept_whole(args: argparse.Namespace) -> str:
    return "what it had not finished is not there, and nothing is half-written; run it again"


def _leaves_mindspore_alone(args: argparse.Namespace) -> bool:
    """Whether ONNX Runtime does the work, whose CUDA is another, or processes of their own do."""
    files = [getattr(args, name, None) for name in ("onnx_path", "model")]
    return args.command == "workbook" or any(str(file).endswith(".onnx") for file in files)


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
