"""Errors that a user can mend; the command line prints them without a traceback."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class MtnError(Exception):
    """Base of the errors whose message is meant for a person."""


class DataError(MtnError, ValueError):
    """Input data is not what it must be."""


class ConfigError(MtnError, ValueError):
    """A configuration value, recipe or flag is not usable: wrong usage, exit code 2."""


class CheckpointError(MtnError, ValueError):
    """A checkpoint cannot be read or does not fit the network."""


class DeviceError(MtnError, RuntimeError):
    """The requested device is not available."""


class RunFolderError(MtnError, FileExistsError):
    """An output already holds something, or a folder is not a run folder."""


class MissingFileError(MtnError, FileNotFoundError):
    """A file that was named is not there."""


class DiskError(MtnError, OSError):
    """A folder cannot be written to: full, read-only, or not allowed.

    Attributes:
        place: The file or folder that the message names.
    """

    place: Path | None = None


class MissingPackageError(MtnError, ImportError):
    """An optional package is needed; the message names the install command."""


class TrainingDivergedError(MtnError, ArithmeticError):
    """Loss or gradient stopped being finite."""


class ParityError(MtnError, ArithmeticError):
    """An exported file does not compute what the network computes."""


class ProgramError(MtnError, RuntimeError):
    """The C++ program cannot be built, or failed."""


class NotebookError(MtnError, RuntimeError):
    """A notebook stopped with an error; its executed copy was kept."""


# The extra of pyproject.toml that brings a module which the base installation does not have.
EXTRA_OF = {
    "IPython": "notebooks",
    "faiss": "search",
    "fastapi": "serve",
    "google": "onnx",
    "imagehash": "data",
    "ipywidgets": "notebooks",
    "jupyter_client": "notebooks",
    "lancedb": "gallery",
    "mindcv": "backbones",
    "mindspore": "train",
    "mlflow": "mlflow",
    "nbconvert": "notebooks",
    "nbformat": "notebooks",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "optuna": "tune",
    "papermill": "notebooks",
    "pygments": "notebooks",
    "pymilvus": "milvus",
    "safetensors": "train",
    "shtab": "completion",
    "starlette": "serve",
    "tensorboardX": "tensorboard",
    "torch": "convert",
    "traitlets": "notebooks",
    "uvicorn": "serve",
    "zstandard": "data",
}


def explain_missing_package(error: ModuleNotFoundError, what: str) -> MissingPackageError | None:
    """The error that names the install command; None where no extra brings the module.

    Args:
        error: Of an import that failed.
        what: What needed it.
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRA_OF:
        return None
    return MissingPackageError(
        f"{what} needs the package {module}, which is not installed: "
        f"pip install 'mtn_core[{EXTRA_OF[module]}]' (everything: 'mtn_core[all]')"
    )


def nearest(word: str, words: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The most alike of ``words``; None where none is alike.

    Swapped letters and capitals are the most alike.
    """
    words = list(words)
    swapped = [one for one in words if sorted(one.lower()) == sorted(word.lower())]
    if swapped:
        return swapped[0]
    close = difflib.get_close_matches(word, words, n=1, cutoff=cutoff)
    return close[0] if close else None


# What other programs call a key of the recipes, where no likeness leads to it.
_OTHER_NAMES = {"batch_size": "data.ids_per_batch", "bs": "data.ids_per_batch"}


def nearest_key(word: str, keys: Iterable[str]) -> str | None:
    """The dotted key that a wrong one means: ``optim.lr`` is ``optim.learning_rate``.

    Args:
        word: What was typed.
        keys: The dotted keys that there are.
    """
    keys = list(keys)
    name = word.rpartition(".")[2]
    if word == name or word.startswith(("data.", "train.")):
        known = _OTHER_NAMES.get(name)
        if known in keys:
            return known
    leaves = {key: key.rpartition(".")[2] for key in keys}
    same = [key for key, leaf in leaves.items() if leaf == name and "." in key]
    initials = [key for key, leaf in leaves.items() if _initials(leaf) == name and len(name) > 1]
    for found in (same, initials):
        if found:
            return nearest(word, found, cutoff=0.0)
    return nearest(word, keys) or nearest(word, [key for key in keys if "." in key], cutoff=0.4)


def _initials(name: str) -> str:
    return "".join(part[0] for part in name.split("_") if part)


def first_offenders(offenders: Sequence[object], limit: int = 5) -> str:
    """``a, b, c (and 4 more)``: the first offenders and how many there are."""
    shown = ", ".join(str(o) for o in offenders[:limit])
    rest = len(offenders) - limit
    return f"{shown} (and {rest} more, {len(offenders)} in all)" if rest > 0 else shown


def first_line(error: BaseException) -> str:
    """The first line of an error's text; other people's errors can have hundreds."""
    text = str(error).strip()
    return text.splitlines()[0] if text else repr(error)
