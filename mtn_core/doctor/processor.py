"""Python, the processor, and how fast it multiplies."""

import importlib.metadata
import os
import platform
import re
import sys
import time

from mtn_core.blas import CORETYPE_VARIABLE, KERNELS, read_processor, runnable_kernels
from mtn_core.doctor.finding import Finding

_PYTHONS = ((3, 11), (3, 12))
_SIZE = 1024  # rows of the square product that is measured
_SECONDS = 0.3
# Kernels for processors without AVX2, and what other releases of OpenBLAS call them.
_OLD_KERNELS = {name for name, needs in KERNELS.items() if "avx2" not in needs}
_OLD_KERNELS |= {"Katmai", "Core2", "Atom", "Penryn", "Dunnington", "Barcelona"}


def check_python() -> Finding:
    """Version, and packages that the project names and this environment lacks."""
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] not in _PYTHONS:
        lack = f"a release that MindSpore has wheels for; this is {platform.python_version()}"
        mend = "install python3.11, then: bash scripts/install.sh"
        return Finding("Python", "missing", found, (lack,), (mend,))
    absent = [name for name in _required_packages() if not _is_installed(name)]
    if absent:
        lack = f"packages: {', '.join(absent)}"
        return Finding("Python", "missing", found, (lack,), ("bash scripts/install.sh",))
    return Finding("Python", "ok", found)


def _required_packages() -> list[str]:
    try:
        lines = importlib.metadata.requires("mtn_core") or []
    except importlib.metadata.PackageNotFoundError:
        return []  # run from a checkout that is not installed
    names = [re.match(r"[\w.-]+", line) for line in lines if "extra ==" not in line]
    # MindSpore and ONNX Runtime have lines of their own.
    return [n[0] for n in names if n and not n[0].startswith(("mindspore", "onnxruntime"))]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check_blas() -> Finding:
    """The kernel behind NumPy's matrix products, and a measurement."""
    try:
        import numpy as np
        import threadpoolctl
    except ImportError as error:
        return Finding("BLAS", "missing", str(error), ("NumPy",), ("bash scripts/install.sh",))
    own = [
        pool
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas" and pool["filepath"].startswith(np.__path__[0])
    ]
    pool = (own or [{}])[0]
    kernel, threads = pool.get("architecture"), pool.get("num_threads")
    speed = measure_product()
    library = f"{pool.get('internal_api', 'unknown library')} {pool.get('version') or ''}".strip()
    found = (
        f"NumPy {np.__version__}, {library}, kernel {kernel or 'unknown'}, "
        f"{threads or '?'} threads: {speed:.0f} GFLOP/s in float32"
    )
    figures = {"kernel": kernel, "threads": threads, "gflops": round(speed, 1)}
    better = runnable_kernels(read_processor())
    if kernel not in _OLD_KERNELS or not set(better) - _OLD_KERNELS:
        return Finding("BLAS", "ok", found, figures=figures)
    best = "SkylakeX" if "SkylakeX" in better else "Haswell"
    lack = f"a kernel for this processor: {best} is several times as fast"
    if CORETYPE_VARIABLE in os.environ:
        mend = f"unset {CORETYPE_VARIABLE}, which is {os.environ[CORETYPE_VARIABLE]}"
    else:
        mend = f"export {CORETYPE_VARIABLE}={best}"  # NumPy was loaded before this package
    return Finding("BLAS", "poor", found, (lack,), (mend,), figures)


def measure_product(size: int = _SIZE, seconds: float = _SECONDS) -> float:
    """Billions of float32 operations a second, the best of several square products.

    Args:
        size: Rows and columns.
        seconds: How long to try.
    """
    import numpy as np

    matrix = np.ones((size, size), np.float32)
    matrix @ matrix  # the threads start
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        matrix @ matrix
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return 2 * size**3 / best / 1e9
