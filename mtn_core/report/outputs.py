"""What a command that shows results may write over: its own earlier output, and nothing else."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from mtn_core.data.layout import IMAGE_SUFFIXES
from mtn_core.errors import RunFolderError
from mtn_core.files import refuse_existing
from mtn_core.runs import run_of

_HEAD_BYTES = 65536
_GENERATOR = b'<meta name="generator" content="mtn_core'
_MODEL_SUFFIXES = (".ckpt", ".onnx", ".mindir", ".air", ".pth", ".safetensors")
_LAST_LINE = re.compile(r" against \d+ gallery images of .*\(\w+ distance, ")


def check_output(path: Path, *, is_own: Callable[[Path], bool], overwrite: bool = False) -> None:
    """Refuse to replace what another command, or a person, has made.

    Args:
        path: File that is to be written.
        is_own: Whether a file is an earlier output of the same kind.
        overwrite: Whether any other file may be replaced, too; but never a file of a run, a label
            file, a model or an image.

    Raises:
        RunFolderError: It may not be written.
    """
    if path.is_dir():
        raise RunFolderError(f"{path} is a folder; --out takes the name of a file")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise RunFolderError(f"{path} cannot be made: {above} is a file; choose another --out")
    if not path.exists():
        return
    what = _what_it_is(path)
    if what and not is_own(path):
        raise RunFolderError(f"{path} is {what} and is not written over; choose another --out")
    refuse_existing(path, overwrite=overwrite or is_own(path))


def is_own_page(path: Path) -> bool:
    """Whether a file is an HTML page that this package wrote."""
    with open(path, "rb") as file:
        return _GENERATOR in file.read(_HEAD_BYTES)


def is_own_answer(path: Path) -> bool:
    """Whether a file holds the answers of a search: a page, a table or JSON."""
    if is_own_page(path):
        return True
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return bool(text) and bool(_LAST_LINE.search(text.splitlines()[-1]))
    return isinstance(value, dict) and {"image", "run", "hits"} <= value.keys()


def _what_it_is(path: Path) -> str:
    if run_of(path):
        return "a file of a run"
    if path.suffix.lower() in _MODEL_SUFFIXES:
        return "a model"
    if re.fullmatch(r"label_\w+\.csv", path.name):
        return "a label file"
    return "an image" if path.suffix.lower() in IMAGE_SUFFIXES else ""
