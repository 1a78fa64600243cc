"""Arguments that several commands share, with the seed's spelling."""

import argparse
from datetime import datetime
from pathlib import Path

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


def add_root(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add ``--root``: the folder that holds ``veri/``."""
    text = "the folder that holds veri/"
    if several:
        parser.add_argument(
            "--root", type=Path, action="append", required=True, help=text + "; may be repeated"
        )
    else:
        parser.add_argument("--root", type=Path, required=True, help=text)


def add_device(parser: argparse.ArgumentParser, default: str | None = "CPU") -> None:
    """Add ``--device_target`` and ``--device_id``."""
    parser.add_argument("--device_target", choices=DEVICE_TARGETS, default=default)
    parser.add_argument("--device_id", type=int, default=0)


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


def with_default_out(arguments: list[str], name: str) -> list[str]:
    """Add ``--out runs/NAME-DATE-TIME`` where it is missing; the seed has no such flag."""
    if any(a == "--out" or a.startswith("--out=") or a in ("-h", "--help") for a in arguments):
        return arguments
    return [*arguments, "--out", f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"]
