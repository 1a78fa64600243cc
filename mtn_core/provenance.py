"""Where a result was made: versions, processor, device and commit."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mtn_core import __version__

_PACKAGES = ("mindspore", "numpy", "pandas", "onnxruntime-gpu", "opencv-python-headless", "pillow")


def describe_environment(**device: Any) -> dict[str, Any]:
    """Versions, processor, device and git commit, for ``environment.json``."""
    packages: dict[str, str | None] = {}
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
        "git_commit": git_commit(),
        "arguments": sys.argv[1:],
    }


def git_commit() -> str | None:
    """Commit of this package's checkout, ``-dirty`` where files differ; None outside of one."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
