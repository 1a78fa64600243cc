"""Where a result was made: versions, processor, device and commit."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mtn_core import __version__

_PACKAGES = ("mindspore", "numpy", "pandas", "opencv-python-headless", "pillow")
# One module under three names: for CUDA, for Ascend, for CPU.
ONNXRUNTIMES = ("onnxruntime-gpu", "onnxruntime-cann", "onnxruntime")


def describe_environment(**device: Any) -> dict[str, Any]:
    """Versions, processor, device and git commit, for ``environment.json``."""
    packages = {package: version_of(package) for package in _PACKAGES}
    packages |= {name: version for name in ONNXRUNTIMES if (version := version_of(name))}
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


def version_of(package: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


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
