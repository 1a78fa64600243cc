"""The C++ program from Python: is it possible here, build it, run it on a folder of inputs."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtn_core.errors import ProgramError
from mtn_core.export.preprocess import IMAGE_FOLDER, KEYPOINT_FOLDER

_TOOLS = ("bash", "cmake", "g++")
# Lite's own messages from errors on; the programs say what went wrong themselves.
_QUIET = {"GLOG_v": "3"}


def missing_requirements(source_dir: str | Path) -> list[str]:
    """What this machine lacks to build the program; empty where it can be built.

    Nothing is downloaded: MindSpore Lite counts as there when ``LITE_HOME`` names it or
    ``scripts/fetch_mindspore_lite.sh`` was run.

    Args:
        source_dir: ``ascend_310_infer`` of the repository.
    """
    source_dir = Path(source_dir)
    missing = [f"{tool} (install it)" for tool in _TOOLS if shutil.which(tool) is None]
    fetch = source_dir.parent / "scripts" / "fetch_mindspore_lite.sh"
    if not (source_dir / "build.sh").is_file() or not fetch.is_file():
        return [*missing, f"the sources in {source_dir}"]
    if "bash (install it)" not in missing:
        found = _run(["bash", str(fetch), "--no-download"])
        if found.returncode != 0:
            missing.append(f"MindSpore Lite: {found.stderr.strip()}")
    return missing


@dataclass(frozen=True)
class Programs:
    """The built programs.

    Attributes:
        folder: Holds ``main`` and, where Lite brings a converter library, ``convert``.
    """

    folder: Path

    @classmethod
    def build(cls, source_dir: str | Path) -> "Programs":
        """Build in ``source_dir``; quick where nothing changed.

        Raises:
            ProgramError: Something is missing, or the compiler failed.
        """
        missing = missing_requirements(source_dir)
        if missing:
            raise ProgramError(
                f"the C++ program cannot be built: {'; '.join(missing)} (see `mtn doctor`)"
            )
        done = _run(["bash", str(Path(source_dir) / "build.sh")])
        if done.returncode != 0:
            raise ProgramError(
                f"building {source_dir} failed with exit code {done.returncode}: "
                f"{done.stderr.strip()[-800:]}"
            )
        return cls(Path(done.stdout.strip().splitlines()[-1]))

    @property
    def converter(self) -> Path:
        """The program that converts ONNX for the Lite runtime, or Lite's own."""
        own = self.folder / "convert"
        lite = Path(os.environ.get("LITE_HOME", "")) / "tools/converter/converter/converter_lite"
        return own if own.is_file() else lite

    def infer(
        self,
        model: str | Path,
        inputs: str | Path,
        results: str | Path,
        *,
        times: str | Path,
        device_target: str = "CPU",
        device_id: int = 0,
        warmup: int = 2,
        threads: int = 0,
    ) -> dict[str, Any]:
        """Run the program on one folder of inputs.

        Args:
            model: MindIR from :func:`mtn_core.export.lite.convert_for_lite`.
            inputs: Folder with ``img/`` and ``vkeypt/``.
            results: Folder for the result files.
            times: Folder for the timing report.
            device_target: ``CPU`` or ``Ascend``.
            device_id: Ascend device.
            warmup: Untimed predictions.
            threads: CPU threads; 0 for the runtime's choice.

        Returns:
            The program's ``performance.json``.

        Raises:
            ProgramError: It ended with an error; the message is the program's.
        """
        values = {
            "mindir_path": model,
            "input0_path": Path(inputs) / IMAGE_FOLDER,
            "input1_path": Path(inputs) / KEYPOINT_FOLDER,
            "output_path": results,
            "time_path": times,
            "device_target": device_target,
            "device_id": device_id,
            "warmup": warmup,
            "threads": threads,
        }
        command = [str(self.folder / "main")]
        done = _run(command + [f"--{name}={value}" for name, value in values.items()])
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if not line.startswith("[")]
            raise ProgramError(
                f"the C++ program ended with exit code {done.returncode}: {' '.join(lines)[-800:]}"
            )
        return json.loads((Path(times) / "performance.json").read_text(encoding="utf-8"))


def _run(command: list[str]) -> subprocess.CompletedProcess:
    environment = {**_QUIET, **os.environ}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
