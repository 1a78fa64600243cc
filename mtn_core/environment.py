"""The environment variables that this package sets by itself, never over a user's own.

``ONEDNN_MAX_CPU_ISA``: MindSpore 2.9.0 and later run every convolution larger than 1x1 through
oneDNN's reference code on AVX-512 processors, about a hundred times slower than before. Limiting
oneDNN to AVX2 avoids it, but only before ``mindspore`` is first imported.

``OPENBLAS_CORETYPE``: see :mod:`mtn_core.blas`; only before ``numpy`` is first imported.

``GLOG_v``: MindSpore's C++ part prints warnings about its own graphs into progress bars; 3 leaves
its errors.
"""

import os
import platform
import sys
from collections.abc import MutableMapping
from importlib import metadata
from pathlib import Path

from mtn_core.blas import guard_blas

ONEDNN_VARIABLE = "ONEDNN_MAX_CPU_ISA"
DEVICE_VARIABLE = "MTN_DEVICE_TARGET"
LOG_VARIABLE = "GLOG_v"
_ERRORS_ONLY = "3"
_FIRST_AFFECTED = (2, 9)


def guard_environment(environ: MutableMapping[str, str] | None = None) -> None:
    """Set what NumPy and MindSpore read when they are loaded; importing the package does it.

    A program that imports one of them earlier than anything of this package calls it first of all.

    Args:
        environ: Where variables are read and set; ``os.environ`` by default.
    """
    environ = os.environ if environ is None else environ
    guard_blas(environ)
    guard_onednn(environ=environ)
    environ.setdefault(LOG_VARIABLE, _ERRORS_ONLY)


def guard_onednn(
    device_target: str | None = None,
    environ: MutableMapping[str, str] | None = None,
    mindspore_version: str | None = None,
) -> bool:
    """Limit oneDNN to AVX2 where the installed MindSpore needs it.

    Does nothing when the user has set the variable, when mindspore is already imported, when the
    release is not affected, or when the work goes to an accelerator.

    Args:
        device_target: ``CPU``, ``GPU`` or ``Ascend``; by default ``MTN_DEVICE_TARGET``, else CPU
            unless the machine has an accelerator.
        environ: Where the variable is read and set; ``os.environ`` by default.
        mindspore_version: For tests; by default the installed release.

    Returns:
        Whether the variable was set by this call.
    """
    environ = os.environ if environ is None else environ
    if ONEDNN_VARIABLE in environ or "DNNL_MAX_CPU_ISA" in environ or "mindspore" in sys.modules:
        return False
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    target = device_target or environ.get(DEVICE_VARIABLE) or _default_target()
    if target.upper() != "CPU":
        return False
    if mindspore_version is None:
        try:
            mindspore_version = metadata.version("mindspore")
        except metadata.PackageNotFoundError:
            return False
    if not has_onednn_trap(mindspore_version):
        return False
    environ[ONEDNN_VARIABLE] = "AVX2"
    return True


def has_onednn_trap(mindspore_version: str) -> bool:
    """Whether a release of MindSpore falls to oneDNN's reference code on AVX-512 processors."""
    return _release(mindspore_version) >= _FIRST_AFFECTED


def _default_target() -> str:
    has_accelerator = Path("/dev/davinci_manager").exists() or Path("/dev/nvidiactl").exists()
    return "accelerator" if has_accelerator else "CPU"


def _release(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)
