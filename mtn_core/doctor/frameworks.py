"""MindSpore on the processor, ONNX Runtime, torch."""

from collections.abc import Mapping
from typing import Any

from mtn_core.doctor.finding import Finding, ProbeError, probe
from mtn_core.environment import ONEDNN_VARIABLE, has_onednn_trap

_INSTALL = "bash scripts/install.sh"
_CUDA = "install NVIDIA's driver, then: pip install 'onnxruntime-gpu[cuda,cudnn]'"
_MINDSPORE = """
import json, os, pathlib, mtn_core, mindspore as ms
plugins = pathlib.Path(ms.__file__).parent / "lib" / "plugin"
facts = {"version": ms.__version__, "onednn": os.environ.get("ONEDNN_MAX_CPU_ISA"), "devices": {},
         "plugins": sorted(p.name for p in plugins.glob("libmindspore_*.so*"))}
for target in ("GPU", "Ascend"):
    try:
        count = ms.hal.device_count(target) if ms.hal.is_available(target) else 0
        facts["devices"][target] = int(count), ""
    except Exception as error:
        facts["devices"][target] = 0, str(error).strip().partition("\\n")[0]
try:
    ms.set_device("CPU")
    facts["sum"] = float((ms.ops.ones((2, 3)) @ ms.ops.ones((3, 2))).sum().asnumpy())
except Exception as error:
    facts["broken"] = str(error).strip().partition("\\n")[0]
print(json.dumps(facts))
"""
_ONNXRUNTIME = """
import contextlib, ctypes, io, json, pathlib, onnxruntime
facts = {"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}
capi = pathlib.Path(onnxruntime.__file__).parent / "capi"
if "CUDAExecutionProvider" in facts["providers"]:
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    try:
        for name in ("shared", "cuda"):
            ctypes.CDLL(str(capi / f"libonnxruntime_providers_{name}.so"))
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        facts["cuda"] = str(error)
print(json.dumps(facts))
"""
_TORCH = "import json, torch; print(json.dumps({'version': torch.__version__}))"


def probe_mindspore(device_target: str | None) -> dict[str, Any]:
    """Import MindSpore and ask it for devices, as a command for that device would.

    Args:
        device_target: ``CPU``, ``GPU``, ``Ascend`` or None.

    Returns:
        What it said; ``{"error": ...}`` where it does not even load.
    """
    try:
        environ = {"MTN_DEVICE_TARGET": device_target} if device_target else {}
        return probe(_MINDSPORE, environ)
    except ProbeError as error:
        return {"error": str(error)}


def check_mindspore(facts: Mapping[str, Any]) -> Finding:
    """Version, and whether its wheel has the oneDNN trap.

    Args:
        facts: From :func:`probe_mindspore`.
    """
    if "error" in facts:
        lack = "MindSpore, which trains and evaluates; reports, search and ONNX do without"
        return Finding(
            "MindSpore", "missing", f"does not load: {facts['error']}", (lack,), (_INSTALL,)
        )
    found = str(facts["version"])
    if not has_onednn_trap(found):
        return Finding("MindSpore", "ok", f"{found}, without the oneDNN trap of 2.9.0 and later")
    if facts.get("onednn"):
        guarded = f"{ONEDNN_VARIABLE}={facts['onednn']} is set against its oneDNN trap"
        return Finding("MindSpore", "ok", f"{found}, {guarded}")
    lack = "a guard against its oneDNN trap: large convolutions are a hundred times slower"
    mend = f"export {ONEDNN_VARIABLE}=AVX2 (the package does so for work on a CPU)"
    return Finding("MindSpore", "poor", found, (lack,), (mend,))


def check_onnxruntime() -> Finding:
    """Its execution providers, and why CUDA's does not load."""
    try:
        facts = probe(_ONNXRUNTIME)
    except ProbeError as error:
        lack = "ONNX Runtime, for `mtn eval-onnx` and the parity of exports"
        return Finding("ONNX Runtime", "missing", f"does not load: {error}", (lack,), (_INSTALL,))
    names = [name.removesuffix("ExecutionProvider") for name in facts["providers"]]
    found = f"{facts['version']}, providers {', '.join(names)}"
    if "cuda" not in facts:
        return Finding("ONNX Runtime", "ok", found)
    lack = f"for its CUDA provider: {facts['cuda']}"
    return Finding("ONNX Runtime", "ok", found, (lack,), (_CUDA,))


def check_torch() -> Finding:
    """Only for reading ``.pth`` files."""
    try:
        return Finding("torch", "ok", str(probe(_TORCH)["version"]))
    except ProbeError as error:
        lack = "for `mtn convert` of .pth files; .safetensors and MindCV's .ckpt need none"
        mend = "pip install -e '.[convert]'"
        return Finding("torch", "missing", f"does not load: {error}", (lack,), (mend,))
