"""What one look at the machine gave."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "poor", "missing"]
_PATIENCE = 300  # seconds; a cold disk, or a driver that hangs


@dataclass(frozen=True)
class Finding:
    """One part of the machine.

    Attributes:
        part: Its name.
        state: ``ok``; ``poor``: works, but not as it could; ``missing``: not there, or broken.
        found: What is there.
        lacks: What it needs and has not.
        mend: The commands that mend it.
        figures: Numbers for ``--json``.
    """

    part: str
    state: State
    found: str
    lacks: tuple[str, ...] = ()
    mend: tuple[str, ...] = ()
    figures: dict[str, Any] | None = None


class ProbeError(Exception):
    """A process that tried a part failed; the message is its last line."""


def run(command: list[str], environ: dict[str, str] | None = None) -> str:
    """Standard output of a command.

    Raises:
        ProbeError: It cannot be started, takes for ever, or fails.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"no answer in {_PATIENCE} s") from None
    except OSError as error:
        raise ProbeError(str(error)) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or done.stdout.strip().splitlines()
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
        raise ProbeError(lines[-1].strip()[:300] if lines else how)
    return done.stdout


def probe(program: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """Run Python code in a process of its own.

    Args:
        program: Prints a JSON object as its last line.
        environ: Variables beside those of this process.

    Raises:
        ProbeError: It failed, or printed something else.
    """
    lines = run([sys.executable, "-c", program], environ).strip().splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise ProbeError("it printed nothing that can be read") from None
    if not isinstance(answer, dict):
        raise ProbeError("it printed nothing that can be read")
    return answer
