"""All findings, on one screen or as JSON."""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from mtn_core.doctor.accelerators import check_ascend, check_cpu, check_gpu
from mtn_core.doctor.finding import Finding
from mtn_core.doctor.frameworks import (
    check_mindspore,
    check_onnxruntime,
    check_torch,
    probe_mindspore,
)
from mtn_core.doctor.processor import check_blas, check_python
from mtn_core.doctor.tools import check_browser, check_compiler, check_lite

Check = Callable[[], Finding]


def examine(device_target: str | None = None) -> list[Finding]:
    """Look at every part of the machine.

    Args:
        device_target: MindSpore is asked as a command for ``CPU``, ``GPU`` or ``Ascend`` would.

    Returns:
        One finding a part; a look that fails in itself gives ``missing`` and its error.
    """
    # Measured first, while nothing else runs.
    first = [_look("Python", check_python), _look("BLAS", check_blas)]
    with ThreadPoolExecutor() as pool:
        facts = pool.submit(probe_mindspore, device_target)
        others: list[tuple[str, Check]] = [
            ("ONNX Runtime", check_onnxruntime),
            ("torch", check_torch),
            ("C++", check_compiler),
            ("Lite runtime", check_lite),
            ("Chromium", check_browser),
        ]
        last = list(pool.map(lambda check: _look(*check), others))
    devices = [
        _look(part, partial(check, facts.result()))
        for part, check in (
            ("MindSpore", check_mindspore),
            ("CPU", check_cpu),
            ("GPU", check_gpu),
            ("Ascend", check_ascend),
        )
    ]
    return [*first, *devices, *last]


def _look(part: str, check: Check) -> Finding:
    try:
        return check()
    except Exception as error:  # one broken part must not hide the others
        lack = f"an answer: {type(error).__name__}: {error}"
        return Finding(part, "missing", "cannot be looked at", (lack,))


def missing_for(device_target: str, findings: Sequence[Finding]) -> list[Finding]:
    """What keeps MindSpore from computing on a device.

    Args:
        device_target: ``CPU``, ``GPU`` or ``Ascend``.
        findings: From :func:`examine`.
    """
    needed = ("Python", "MindSpore", device_target)
    return [f for f in findings if f.part in needed and f.state == "missing"]


def to_text(findings: Sequence[Finding]) -> str:
    """One screen."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8} {finding.part:13} {finding.found}")
        lines += [f"{'':22} lacks {lack}" for lack in finding.lacks]
        lines += [f"{'':22} mend: {mend}" for mend in finding.mend]
    return "\n".join(lines)


def to_json(findings: Sequence[Finding], device_target: str | None) -> dict[str, Any]:
    """The same for programs.

    Args:
        findings: From :func:`examine`.
        device_target: What was asked for, if anything.
    """
    missing = missing_for(device_target, findings) if device_target else []
    return {
        "asked_for": device_target,
        "ready": not missing if device_target else None,
        "parts": [dataclasses.asdict(finding) for finding in findings],
    }
