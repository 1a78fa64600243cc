"""Which kernel NumPy's matrix products run on, and the guard against a wrong choice of it.

The OpenBLAS 0.3.23 in the wheels of NumPy 1.26 looks an Intel processor up by family and model. Of
family 6 it knows the extended models 0 to 10; for a later one (Raptor Lake, Arrow Lake, Emerald
Rapids) its search runs on into the next family, the Pentium 4, and takes the kernel ``Prescott``, a
third to a sixth as fast. Unknown models below that, and other makers, are chosen by what the
processor can do, as all are by the OpenBLAS of NumPy 2. ``OPENBLAS_CORETYPE`` names a kernel, but
only if it is set before ``numpy`` is first imported.
"""

import itertools
import os
import platform
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

CORETYPE_VARIABLE = "OPENBLAS_CORETYPE"
CPUINFO = Path("/proc/cpuinfo")
_AVX2 = frozenset({"avx", "avx2", "fma"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
# What each kernel executes, plainest first; processors without its instructions die of them.
KERNELS: dict[str, frozenset[str]] = {
    "Prescott": frozenset({"pni"}),  # Linux' name of SSE3
    "Nehalem": frozenset({"sse4_2"}),
    "Sandybridge": frozenset({"avx"}),
    "Zen": _AVX2,
    "Haswell": _AVX2,
    "Cooperlake": _AVX512 | {"avx512_bf16"},
    "SkylakeX": _AVX512,
    "SapphireRapids": _AVX512 | {"avx512_bf16", "amx_tile", "amx_bf16"},
}
# Measured on Emerald Rapids: SkylakeX 301, Cooperlake somewhat less, Haswell 150, Prescott 50
# GFLOP/s. Every OpenBLAS beside NumPy's (SciPy's, OpenCV's, faiss') knows these two names, too.
_CHOICES = ("SkylakeX", "Haswell")
_LAST_KNOWN_EXTENDED_MODEL = 10
_FIRST_HEALTHY_NUMPY = 2


@dataclass(frozen=True)
class Processor:
    """What Linux says of the first processor.

    Attributes:
        vendor: ``GenuineIntel``, ``AuthenticAMD`` or another; empty off x86.
        family: Family; 6 for all of Intel's for twenty years.
        model: Model with the extended bits, 207 for Emerald Rapids.
        name: Name in words.
        flags: Instruction sets that processor and operating system allow.
    """

    vendor: str = ""
    family: int = 0
    model: int = 0
    name: str = ""
    flags: frozenset[str] = frozenset()


def read_processor(cpuinfo: str | None = None) -> Processor:
    """Read the first entry of ``/proc/cpuinfo``.

    Args:
        cpuinfo: Its text, for tests; an unreadable one gives an empty Processor.
    """
    if cpuinfo is None:
        try:
            with CPUINFO.open(encoding="utf-8", errors="replace") as file:
                # One entry a core, and machines have hundreds of cores.
                cpuinfo = "".join(itertools.takewhile(str.strip, file))
        except OSError:
            return Processor()
    entry: dict[str, str] = {}
    for line in cpuinfo.strip().partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        entry.setdefault(key.strip(), value.strip())
    return Processor(
        vendor=entry.get("vendor_id", ""),
        family=_number(entry.get("cpu family", "")),
        model=_number(entry.get("model", "")),
        name=entry.get("model name", ""),
        flags=frozenset(entry.get("flags", "").split()),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def runnable_kernels(processor: Processor) -> list[str]:
    """OpenBLAS kernels whose instructions the processor has, plainest first."""
    return [name for name, needs in KERNELS.items() if needs <= processor.flags]


def kernel_to_set(processor: Processor) -> str | None:
    """The kernel that OpenBLAS 0.3.23 should have taken, where it takes Prescott by mistake."""
    mistaken = (
        processor.vendor == "GenuineIntel"
        and processor.family == 6
        and processor.model >> 4 > _LAST_KNOWN_EXTENDED_MODEL
    )
    runnable = runnable_kernels(processor)
    return next((name for name in _CHOICES if mistaken and name in runnable), None)


def guard_blas(
    environ: MutableMapping[str, str] | None = None,
    cpuinfo: str | None = None,
    numpy_version: str | None = None,
) -> bool:
    """Name a kernel for OpenBLAS where the installed NumPy's would choose a far slower one.

    Does nothing when the user has set the variable, when numpy is already imported, when its
    OpenBLAS chooses well, and elsewhere than on Linux and x86-64. Child processes inherit it.

    Args:
        environ: Where the variable is read and set; ``os.environ`` by default.
        cpuinfo: For tests, a text like ``/proc/cpuinfo``.
        numpy_version: For tests; by default the installed release.

    Returns:
        Whether the variable was set by this call.
    """
    environ = os.environ if environ is None else environ
    if CORETYPE_VARIABLE in environ or "numpy" in sys.modules:
        return False
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    kernel = kernel_to_set(read_processor(cpuinfo))
    if kernel is None:
        return False
    if numpy_version is None:
        try:
            numpy_version = metadata.version("numpy")
        except metadata.PackageNotFoundError:
            return False
    if _number(numpy_version.partition(".")[0]) >= _FIRST_HEALTHY_NUMPY:
        return False
    environ[CORETYPE_VARIABLE] = kernel
    return True
