"""The one environment variable that this package sets by itself.

MindSpore 2.9.0 and later run every convolution larger than 1x1 through oneDNN's reference code on
AVX-512 processors, about a hundred times slower than before. Limiting oneDNN to AVX2 avoids it,
but only if the variable is set before ``mindspore`` is first imported.
"""

import os
import platform
import sys
from collections.abc import MutableMapping
from importlib import metadata
from pathlib import Path

ONEDNN_VARIABLE = "ONEDNN_MAX_CPU_ISA"
DEVICE_VARIABLE = "MTN_DEVICE_TARGET"
_FIRST_AFFECTED = (2, 9)


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
    if _release(mindspore_version) < _FIRST_AFFECTED:
        return False
    environ[ONEDNN_VARIABLE] = "AVX2"
    return True


def _default_target() -> str:
    has_accelerator = Path("/dev/davinci_manager").exists() or Path("/dev/nvidiactl").exists()
    return "accelerator" if has_accelerator else "CPU"


def _release(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)
