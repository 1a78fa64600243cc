"""The run folder: where it is refused, what it says of itself, how it is read back."""

import functools
import hashlib
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from mtn_core import __version__
from mtn_core.config import Config, Schema, config_from_dict, to_yaml, with_overrides
from mtn_core.errors import ConfigError, RunFolderError
from mtn_core.files import write_json, write_text

CONFIG_FILE = "config.yaml"
ENVIRONMENT_FILE = "environment.json"
TRAIN_FILE = "train.csv"
RESULTS_FILE = "results.json"
CHECKPOINT_FOLDER = "ckpt"
_RESULT_NAMES = (CONFIG_FILE, TRAIN_FILE, RESULTS_FILE, CHECKPOINT_FOLDER)
# What an earlier run may have left that would be taken for the new run's.
_STALE = (
    TRAIN_FILE,
    RESULTS_FILE,
    "validation.csv",
    "per_query.parquet",
    "embeddings_query.npz",
    "embeddings_gallery.npz",
    "baselines.json",
    "diagnosis.json",
    "report.html",
)
_PACKAGES = ("mindspore", "numpy", "pandas", "onnxruntime-gpu", "opencv-python-headless", "pillow")
# Keys of config.yaml that stand beside the sections of Config.
_CONTEXT_KEYS = ("command", "root", "device_target", "rank_size", "checkpoint", "pre_ckpt_path")


def claim_run_folder(path: str | Path, *, overwrite: bool = False) -> Path:
    """Create the folder, or refuse it when it already holds a run.

    Raises:
        RunFolderError: Results are there and ``overwrite`` is false, or the path is a file.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path} is a file; a run needs a folder")
    present = [name for name in _RESULT_NAMES if (path / name).exists()]
    if present and not overwrite:
        raise RunFolderError(
            f"{path} already holds a run ({', '.join(present)}); choose another folder, "
            "or give --overwrite to write into it"
        )
    path.mkdir(parents=True, exist_ok=True)
    for name in _STALE:
        (path / name).unlink(missing_ok=True)
    return path


def write_run_context(
    path: Path, config: Config, *, environment: dict[str, Any], **context: Any
) -> None:
    """Write ``config.yaml`` and ``environment.json``, before the work starts."""
    write_text(path / CONFIG_FILE, to_yaml(config, **context))
    write_json(path / ENVIRONMENT_FILE, environment)


def read_run_config(
    path: str | Path, schema: type[Schema] = Config
) -> tuple[Schema, dict[str, Any]]:
    """The configuration of a run and the context (root, device) that it was given.

    Args:
        path: Run folder.
        schema: What the configuration must be; PoseEstNet's runs have their own.

    Raises:
        RunFolderError: There is no ``config.yaml``.
    """
    file = Path(path) / CONFIG_FILE
    if not file.is_file():
        raise RunFolderError(f"{path} is not a run folder: it has no {CONFIG_FILE}")
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    context = {key: values.pop(key) for key in _CONTEXT_KEYS if key in values}
    return config_from_dict(values, schema=schema), context


def read_resumed_config(path: str | Path, asked: Schema, from_data: Sequence[str] = ()) -> Schema:
    """The configuration of a run that is to go on; what is asked for must agree with it.

    Args:
        path: Run folder.
        asked: Resolved from the command line.
        from_data: Dotted keys that the run found out from its data, and nobody asks for.

    Raises:
        RunFolderError: There is no ``config.yaml``.
        ConfigError: Something differs; the message names every key.
    """
    saved, _ = read_run_config(path, type(asked))
    kept = {key: functools.reduce(getattr, key.split("."), saved) for key in from_data}
    asked = with_overrides(asked, kept)
    if asked == saved:
        return saved
    wanted = asked.model_dump()
    different = [
        f"{section}.{key}: the run has {value!r}, asked for {wanted[section][key]!r}"
        for section, values in saved.model_dump(exclude={"recipe"}).items()
        for key, value in values.items()
        if value != wanted[section][key]
    ]
    raise ConfigError(
        f"{path} was started with another configuration; resume with the same recipe and "
        "settings:\n  " + "\n  ".join(different or [f"recipe: {saved.recipe}"])
    )


def read_train_log(path: str | Path) -> pd.DataFrame:
    """``train.csv`` of a run; empty where it was only evaluated."""
    file = Path(path) / TRAIN_FILE
    return pd.read_csv(file) if file.is_file() else pd.DataFrame()


def config_sha256(config: Config) -> str:
    """Hex SHA-256 of the resolved configuration."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def describe_environment(**device: Any) -> dict[str, Any]:
    """Versions, processor, device and git commit, for ``environment.json``."""
    packages = {}
    for package in _PACKAGES:
        try:
            packages[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            packages[package] = None
    return {
        "mtn_core": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "packages": packages,
        "device": device,
        "git_commit": _git_commit(),
        "arguments": sys.argv[1:],
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git_commit() -> str | None:
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
