"""Choose the device; what is asked for and missing is an error, never a silent CPU run."""

import dataclasses
import os

import mindspore as ms
from mindspore import communication

from mtn_core.cuda import explain, explain_error
from mtn_core.errors import DeviceError, first_line

# What is proven without hardware: with CUDA 11 from wheels (see mtn_core/cuda.py) MindSpore's GPU
# plugin loads and asks the driver (tests/test_cuda.py). No kernel has run on a GPU or on Ascend.
_NEEDS = {
    "GPU": "an NVIDIA driver and `bash scripts/install.sh gpu`",
    "Ascend": (
        "the Ascend driver and CANN toolkit (check npu-smi info) and the environment that CANN's "
        "set_env.sh sets"
    ),
}


@dataclasses.dataclass(frozen=True)
class Device:
    """The device of this process and its place among the processes of the job."""

    target: str
    device_id: int = 0
    rank: int = 0
    rank_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def to_dict(self) -> dict[str, object]:
        """For ``environment.json``."""
        return dataclasses.asdict(self)


def setup_device(target: str = "CPU", device_id: int = 0, *, distribute: bool = False) -> Device:
    """Select the device in graph mode and, for a distributed job, join the cluster.

    Args:
        target: ``CPU``, ``GPU`` or ``Ascend``.
        device_id: Which accelerator; under a launcher each process takes its own.
        distribute: Join the processes that ``msrun`` (or an Ascend rank table) started.

    Raises:
        DeviceError: The device or the launcher is missing.
    """
    if target == "CPU" and device_id:
        raise DeviceError(f"there is no CPU device {device_id}; use --device_id 0")
    ms.set_context(mode=ms.GRAPH_MODE)
    if target != "CPU":
        _require(target, device_id)
    try:
        if target == "CPU" or distribute:
            # A launcher hands each process its own accelerator.
            ms.set_device(target)
        else:
            ms.set_device(target, device_id)
    except (RuntimeError, ValueError) as error:
        # Once something has been computed, the device stays what it is; that may be the one wanted.
        current = ms.get_context("device_target"), ms.get_context("device_id")
        if distribute or current != (target, 0 if target == "CPU" else device_id):
            raise DeviceError(_missing(target, device_id, _reason(target, error))) from error
    if not distribute:
        return Device(target, device_id)
    if not (os.environ.get("MS_ROLE") or os.environ.get("RANK_TABLE_FILE")):
        raise DeviceError(
            "--distribute needs a launcher: start the job with msrun "
            "(scripts/run_distribute_train_*.sh does), or set RANK_TABLE_FILE on Ascend"
        )
    communication.init()
    rank, rank_size = communication.get_rank(), communication.get_group_size()
    ms.set_auto_parallel_context(
        parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True, device_num=rank_size
    )
    return Device(target, device_id, rank, rank_size)


def _require(target: str, device_id: int) -> None:
    try:
        available = ms.hal.is_available(target)
        count = ms.hal.device_count(target) if available else 0
    except (RuntimeError, ValueError) as error:
        raise DeviceError(_missing(target, device_id, _reason(target, error))) from error
    if not available or count == 0:
        raise DeviceError(_missing(target, device_id, _reason(target)))
    if not 0 <= device_id < count:
        raise DeviceError(f"--device_id {device_id}: {target} devices here are 0..{count - 1}")


def _reason(target: str, error: Exception | None = None) -> str:
    """Why, and what mends it."""
    if target == "GPU":
        known = (explain_error(error) if error else "") or explain()
        if known:
            return known
    said = first_line(error) if error else "this MindSpore sees none"
    return f"{said}; {target} needs {_NEEDS[target]}" if target in _NEEDS else said


def _missing(target: str, device_id: int, reason: str) -> str:
    return (
        f"{target} device {device_id} was asked for and is not available: {reason}. `mtn doctor "
        f"--device_target {target}` shows what is there; or run with --device_target CPU"
    )
