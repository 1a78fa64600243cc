"""How fast each way of running the model is: images a second, median and 95th percentile."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtn_core.export.lite import convert_for_lite
from mtn_core.export.preprocess import IMAGE_FOLDER, KEYPOINT_FOLDER, file_stem
from mtn_core.export.program import Programs


@dataclass(frozen=True)
class Speed:
    """One row of a table.

    Attributes:
        backend: What ran.
        batch: Images a call.
        calls: Timed calls.
        p50_ms: Median of a call, milliseconds.
        p95_ms: 95th percentile of a call, milliseconds.
        images_per_s: All images by all time.
    """

    backend: str
    batch: int
    calls: int
    p50_ms: float
    p95_ms: float
    images_per_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure(
    runs: Mapping[str, Callable[[], object]],
    batch: int,
    *,
    warmup: int = 2,
    rounds: int = 3,
    seconds: float = 3.0,
) -> list[Speed]:
    """Time calls in turn, so that a slow minute of the machine hits all of them.

    Args:
        runs: By name; each does the work on ``batch`` images and waits until it is done.
        batch: Images a call.
        warmup: Calls before timing: the first compile or allocate.
        rounds: How often the turn comes to each.
        seconds: At least so long a turn, and three calls.
    """
    for run in runs.values():
        for _ in range(warmup):
            run()
    latencies: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            latencies[name] += _time_calls(run, seconds)
    return [summarise(name, values, batch) for name, values in latencies.items()]


def _time_calls(run: Callable[[], object], seconds: float, min_calls: int = 3) -> list[float]:
    latencies: list[float] = []
    while len(latencies) < min_calls or sum(latencies) < seconds:
        start = time.perf_counter()
        run()
        latencies.append(time.perf_counter() - start)
    return latencies


def summarise(backend: str, latencies_s: list[float], batch: int) -> Speed:
    """A row from the durations of calls, in seconds."""
    p50, p95 = np.percentile(latencies_s, [50, 95]) * 1000
    rate = batch * len(latencies_s) / sum(latencies_s)
    return Speed(backend, batch, len(latencies_s), float(p50), float(p95), float(rate))


def measure_program(
    programs: Programs,
    model: str | Path,
    inputs: Mapping[str, np.ndarray],
    folder: str | Path,
    *,
    device_target: str = "CPU",
    device_id: int = 0,
    warmup: int = 2,
    calls: int = 10,
) -> Speed:
    """Time the C++ program; it reads its files outside the timed part.

    Args:
        programs: The built programs.
        model: Any file of an export.
        inputs: ``image`` and ``keypoints`` of one batch, float32.
        folder: Scratch folder.
        device_target: ``CPU`` or ``Ascend``.
        device_id: Ascend device.
        warmup: Untimed predictions.
        calls: Timed predictions.
    """
    folder, batch = Path(folder), len(inputs["image"])
    mindir = convert_for_lite(model, folder / "model.mindir", programs.converter, batch=batch)
    for kind, values in ((IMAGE_FOLDER, inputs["image"]), (KEYPOINT_FOLDER, inputs["keypoints"])):
        (folder / kind).mkdir(parents=True)
        for row, value in enumerate(values):
            value.tofile(folder / f"{kind}{row}")
            # Every call reads the same images: links instead of copies.
            for call in range(calls):
                name = f"{file_stem('query', kind, call * batch + row)}.bin"
                (folder / kind / name).symlink_to(folder / f"{kind}{row}")
    report = programs.infer(
        mindir,
        folder,
        folder / "results",
        times=folder / "times",
        device_target=device_target,
        device_id=device_id,
        warmup=warmup,
    )
    return Speed(
        "Lite C++",
        batch,
        report["predictions"],
        report["p50_ms"],
        report["p95_ms"],
        report["images_per_second"],
    )
