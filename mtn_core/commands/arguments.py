"""Arguments that several commands share, with the seed's spelling."""

import argparse
import shlex
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from mtn_core.commands.parser import CommandParser
from mtn_core.data.layout import SPLITS

DEVICE_TARGETS = ("CPU", "GPU", "Ascend")
_TRUE = ("true", "1", "yes", "y", "t")
_FALSE = ("false", "0", "no", "n", "f")


def boolean(text: str) -> bool:
    """Parse the seed's ``True`` / ``False`` flag values."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")


def add_boolean(
    parser: argparse.ArgumentParser, name: str, help: str, default: bool | None = None
) -> None:
    """Add a flag for which ``--name`` alone and ``--name True`` both work."""
    parser.add_argument(
        f"--{name}", type=boolean, nargs="?", const=True, default=default, metavar="B", help=help
    )


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A parser of whole numbers within limits, for ``type=``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
        if value < least or (most is not None and value > most):
            limits = f"{least} or more" if most is None else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"expected {limits}, got {value}")
        return value

    return parse


positive = whole_number(1)


def add_splits(parser: argparse.ArgumentParser, *, all_by_default: bool = True) -> None:
    """Add ``--splits``: some of train, query and test; by default all, or None."""
    default = list(SPLITS) if all_by_default else None
    text = "some of the splits" if all_by_default else "some of the splits (default: those there)"
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=default, help=text)


def add_batch_size(parser: argparse.ArgumentParser, default: int = 32) -> None:
    """Add ``--batch_size``."""
    parser.add_argument(
        "--batch_size",
        type=whole_number(1, 4096),
        default=default,
        help="images that go through the network at once",
    )


def add_root(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add ``--root``: the folder that holds ``veri/``."""
    text = "the folder that holds veri/"
    if several:
        parser.add_argument("--root", type=Path, action="append", required=True, help=text)
    else:
        parser.add_argument("--root", type=Path, required=True, help=text)


def add_device(parser: argparse.ArgumentParser, default: str | None = "CPU") -> None:
    """Add ``--device_target`` and ``--device_id``."""
    parser.add_argument(
        "--device_target", choices=DEVICE_TARGETS, default=default, help="what computes"
    )
    parser.add_argument(
        "--device_id", type=whole_number(0), default=0, help="which of several such devices"
    )


def add_maps(parser: argparse.ArgumentParser) -> None:
    """Add ``--heatmapaware`` and ``--segmentaware``."""
    add_boolean(parser, "heatmapaware", "feed the 36 keypoint heatmaps to the network")
    add_boolean(parser, "segmentaware", "feed the 13 surface segments to the network")


def add_out(parser: argparse.ArgumentParser, help: str = "run folder to write") -> None:
    """Add ``--out`` and ``--overwrite``."""
    parser.add_argument("--out", type=Path, required=True, help=help)
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that already holds results"
    )


def add_set(parser: argparse.ArgumentParser, schema: type, example: str) -> None:
    """Add ``--set``.

    Args:
        parser: The command's.
        schema: Of the recipe; a flag that is misspelt may mean one of its keys.
        example: Of a key and its value.
    """
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=f"override the recipe, such as {example}",
    )
    if isinstance(parser, CommandParser):
        parser.schema = schema


def with_default_out(arguments: list[str], name: str) -> list[str]:
    """Add ``--out runs/NAME-DATE-TIME`` where it is missing; the seed has no such flag."""
    if any(a == "--out" or a.startswith("--out=") or a in ("-h", "--help") for a in arguments):
        return arguments
    return [*arguments, "--out", f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"]


def mtn(*words: object) -> str:
    """``mtn`` with these words, as a shell takes it."""
    return "mtn " + shlex.join(str(word) for word in words)


def kept_training(args: argparse.Namespace) -> str:
    """What an interrupted training leaves in its ``--out``; for ``set_defaults(kept=...)``."""
    from mtn_core.runs import RunFolder

    last = RunFolder(args.out).last_checkpoint
    try:
        written = last.stat().st_mtime >= args.started - 1
    except OSError:
        written = False
    if not (written or args.resume):
        return "no step was saved, and nothing of it is kept"
    how = "--resume in place of --overwrite" if args.overwrite else "--resume"
    again = "the same command" if args.resume else f"the same command with {how}"
    return f"all steps up to the last one saved are in {last}; {again} goes on from there"
