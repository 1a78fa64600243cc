"""CPU, GPU and Ascend: what MindSpore needs to compute there."""

import ctypes
import os
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from mtn_core.blas import read_processor, runnable_kernels
from mtn_core.doctor.finding import Finding, ProbeError, run

DEVICES = Path("/dev")
CANN = Path("/usr/local/Ascend/ascend-toolkit/set_env.sh")
_CANN_WHEELS = ("te", "hccl")
_INSTALL = "bash scripts/install.sh"


def check_cpu(facts: Mapping[str, Any]) -> Finding:
    """Whether MindSpore computes here.

    Args:
        facts: From :func:`mtn_core.doctor.frameworks.probe_mindspore`.
    """
    processor = read_processor()
    sets = [s for s in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if s in processor.flags]
    found = ", ".join(
        filter(None, (processor.name or "unknown", _cores(), _memory(), " ".join(sets)))
    )
    figures = {"kernels": runnable_kernels(processor)}
    if "error" in facts:
        return Finding("CPU", "missing", found, ("MindSpore",), (_INSTALL,), figures)
    if facts.get("sum") != 12:
        said = facts.get("broken") or f"2x3 times 3x2 of ones summed to {facts.get('sum')}"
        return Finding(
            "CPU", "missing", found, (f"a MindSpore that computes: {said}",), (_INSTALL,)
        )
    return Finding("CPU", "ok", found, figures=figures)


def _cores() -> str:
    return f"{len(os.sched_getaffinity(0))} cores" if hasattr(os, "sched_getaffinity") else ""


def _memory() -> str:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return ""
    return f"{pages * size / 2**30:.1f} GiB"


def check_gpu(facts: Mapping[str, Any]) -> Finding:
    """NVIDIA's driver, CUDA's libraries, and whether MindSpore sees a GPU.

    Args:
        facts: From :func:`mtn_core.doctor.frameworks.probe_mindspore`.
    """
    count, reason = facts.get("devices", {}).get("GPU", (0, ""))
    plugins = [p for p in facts.get("plugins", ()) if "gpu" in p]
    wheels = _installed_wheels()
    home = os.environ.get("CUDA_HOME", "")
    has = [_ask_driver(), f"CUDA_HOME={home}" if home else "", *plugins]
    has += [f"{len(wheels)} CUDA 11 wheels"] if wheels else []
    found = ", ".join(filter(None, has)) or "nothing of CUDA"
    if count:
        return Finding("GPU", "ok", f"{count} for MindSpore, {found}")
    lacks, mend = [], []
    if driver := _why_not("libcuda.so.1"):
        lacks.append(f"NVIDIA's driver: {driver}")
        mend.append("install NVIDIA's driver (`nvidia-smi` must list the GPU)")
    if not wheels and not (home and Path(home).is_dir()):
        lacks.append("CUDA 11: neither its wheels nor CUDA_HOME")
    if "error" not in facts and not plugins:
        lacks.append("a MindSpore wheel with a GPU plugin")
    if not lacks or reason:
        lacks.append(f"MindSpore says: {reason or facts.get('error') or 'no GPU'}")
    return Finding("GPU", "missing", found, tuple(lacks), (*mend, "bash scripts/install.sh gpu"))


def _why_not(library: str) -> str:
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return ""


def _ask_driver() -> str:
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return "; ".join(run(query).strip().splitlines())
    except ProbeError as error:
        return f"nvidia-smi fails ({error})"


def _installed_wheels() -> list[str]:
    names = {str(d.metadata["Name"] or "").lower() for d in metadata.distributions()}
    return sorted(n for n in names if n.startswith("nvidia-") and n.endswith("-cu11"))


def check_ascend(facts: Mapping[str, Any]) -> Finding:
    """Driver, CANN and its Python packages, and whether MindSpore sees a device.

    Args:
        facts: From :func:`mtn_core.doctor.frameworks.probe_mindspore`.
    """
    count, reason = facts.get("devices", {}).get("Ascend", (0, ""))
    devices = sorted(p.name for p in DEVICES.glob("davinci[0-9]*"))
    home = os.environ.get("ASCEND_TOOLKIT_HOME") or os.environ.get("ASCEND_HOME_PATH") or ""
    smi = shutil.which("npu-smi")
    has = [*devices, f"CANN in {home}" if home else "", "npu-smi" if smi else ""]
    found = ", ".join(filter(None, has)) or "nothing of Ascend"
    if count:
        return Finding("Ascend", "ok", f"{count} for MindSpore, {found}")
    lacks, mend = [], []
    if not devices:
        lacks.append("a device: there is no /dev/davinci0")
        mend.append("install the Ascend driver (`npu-smi info` must list the device)")
    if not home:
        lacks.append("CANN's environment: ASCEND_TOOLKIT_HOME is not set")
        mend.append(f"source {CANN}" if CANN.is_file() else f"install CANN, then: source {CANN}")
    absent = [name for name in _CANN_WHEELS if not _is_installed(name)]
    if absent:
        lacks.append(f"CANN's Python packages: {', '.join(absent)}")
        mend.append("pip install $ASCEND_TOOLKIT_HOME/lib64/{te,hccl}-*-py3-none-any.whl")
    if not lacks or reason:
        lacks.append(f"MindSpore says: {reason or facts.get('error') or 'no Ascend'}")
    return Finding("Ascend", "missing", found, tuple(lacks), tuple(mend))


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
