"""An exported ONNX file in onnxruntime; MindSpore is not needed.

>>> model = OnnxModel("MultiTask_export.onnx")  # doctest: +SKIP
>>> outputs = model.run(batch)  # doctest: +SKIP
"""

import contextlib
import ctypes
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtn_core.cuda import DRIVER, HOME_VARIABLE, OWN_VARIABLE, is_active
from mtn_core.environment import DEVICE_VARIABLE
from mtn_core.errors import (
    DataError,
    DeviceError,
    MissingFileError,
    MissingPackageError,
    first_line,
)
from mtn_core.files import sha256_of, why_no_file
from mtn_core.predict.backend import Outputs
from mtn_core.predict.host_input import model_inputs
from mtn_core.predict.model_json import (
    KEYPOINTS,
    METADATA_KEY,
    MODEL_JSON,
    OUTPUT_NAMES,
    ModelSpec,
    check_file,
    load_spec,
    parse_spec,
)
from mtn_core.predict.provenance import model_provenance

PROVIDERS = {
    "CPU": "CPUExecutionProvider",
    "GPU": "CUDAExecutionProvider",
    "Ascend": "CANNExecutionProvider",
}
# What each provider is called, the release that has it, and what else it needs.
_NAMES = {"GPU": "CUDA", "Ascend": "CANN"}
_RELEASES = {
    "GPU": "install onnxruntime-gpu, which is for x86-64",
    "Ascend": "run `bash scripts/install.sh ascend`, which puts onnxruntime-cann in its place",
}
_NEEDS = {
    "GPU": "Install the NVIDIA driver and CUDA with cuDNN for this onnxruntime-gpu "
    "(`pip install 'onnxruntime-gpu[cuda,cudnn]'`)",
    "Ascend": "Install the Ascend driver and CANN, and source CANN's set_env.sh",
}


class OnnxModel:
    """An exported model, ready to run; also a :class:`mtn_core.predict.backend.Backend`.

    Args:
        path: ``.onnx`` file that `mtn export` wrote; what it takes and gives stands inside it.
        device_target: ``CPU``, ``GPU`` (CUDA) or ``Ascend`` (CANN); never another than the one
            asked for.
        device_id: CUDA or Ascend device; 0 on CPU.
        num_threads: CPU threads; by default onnxruntime's choice.

    Attributes:
        spec: What the model takes and gives.
        takes_pixels: Whether it wants uint8 pixels and maps instead of the normalised stack.

    Raises:
        MissingFileError: No such file.
        DataError: Not an ONNX file, damaged, or of another kind of model.
        DeviceError: The device is not available; the message names the reason.
    """

    rank, rank_size = 0, 1

    def __init__(
        self,
        path: str | Path,
        *,
        device_target: str = "CPU",
        device_id: int = 0,
        num_threads: int | None = None,
    ):
        self.path = Path(path)
        check_onnx_file(self.path)
        self.device_target, self.device_id = device_target, device_id
        beside = self.path.parent / MODEL_JSON
        if beside.is_file():
            check_file(self.path, load_spec(beside), beside)
        self._session = create_session(self.path, device_target, device_id, num_threads)
        self.spec = _read_spec(self._session, self.path)
        names = [i.name for i in self._session.get_inputs()]
        self.takes_pixels = names == list(self.spec.pixel_inputs) and any(
            i.type == "tensor(uint8)" for i in self._session.get_inputs()
        )
        _check_interface(self._session, self.spec, self.takes_pixels, self.path)
        self.model, self.recipe = self.spec.network, self.spec.recipe
        self.metric: str = self.spec.metric
        self.provenance: Mapping[str, Any] = spec_provenance(
            self.spec,
            backend="onnxruntime",
            model_file=self.path.name,
            model_sha256=sha256_of(self.path),
        )

    def run(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run on a loader's batch (uint8 pixels and maps, keypoints).

        Returns:
            ``id_logits``, ``color_logits``, ``type_logits``, ``embedding``: ``(N, width) float32``.
        """
        return self.predict(model_inputs(batch, self.spec, pixels=self.takes_pixels))

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run on the file's own inputs, by name, through I/O binding.

        Inputs are handed over without a copy on CPU and copied once to a CUDA device; outputs are
        written into memory that is there before the run. Ascend's provider copies by itself.
        """
        import onnxruntime

        device, device_id = ("cuda", self.device_id) if self.device_target == "GPU" else ("cpu", 0)
        binding = self._session.io_binding()
        count = len(inputs[KEYPOINTS])
        for name, array in inputs.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array, device, device_id)
            binding.bind_ortvalue_input(name, value)
        outputs = {}
        for name in OUTPUT_NAMES:
            outputs[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                [count, self.spec.width(name)], np.float32, device, device_id
            )
            binding.bind_ortvalue_output(name, outputs[name])
        self._session.run_with_iobinding(binding)
        return {name: value.numpy() for name, value in outputs.items()}

    def embed(self, batch: Mapping[str, np.ndarray]) -> Outputs:
        """See :class:`mtn_core.predict.backend.Backend`."""
        outputs = self.run(batch)
        if not self.model.attributes:  # such a network gives zeros, which name no class
            return Outputs(outputs["embedding"])
        return Outputs(outputs["embedding"], outputs["color_logits"], outputs["type_logits"])

    def gather(self, values: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.predict.backend.Backend`."""
        return values


def spec_provenance(spec: ModelSpec, **more: Any) -> dict[str, Any]:
    """Where the embeddings of an exported model come from.

    Args:
        spec: What the model says of itself.
        more: What is particular to whatever runs it.
    """
    return model_provenance(
        spec.network,
        checkpoint_sha256=spec.checkpoint_sha256,
        config_sha256=spec.config_sha256,
        recipe=spec.recipe,
        epoch=spec.epoch,
        seed=spec.seed,
        **more,
    )


def check_onnx_file(path: Path) -> None:
    """Refuse what cannot be an ONNX file, before onnxruntime says so in its own words.

    Raises:
        MissingFileError: No such file.
        DataError: A folder, an empty file, or one of another format.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the .onnx file in it")
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file; give the .onnx file of the export")
    if not path.is_file():
        raise MissingFileError(f"ONNX file {path} {why_no_file(path)}; `mtn export` writes it")
    if path.suffix != ".onnx":
        raise DataError(f"{path} is not named .onnx; give the .onnx file of the export")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes); export the checkpoint again with `mtn export`")


def create_session(path: Path, device_target: str, device_id: int, num_threads: int | None):
    """``onnxruntime.InferenceSession`` on exactly the device that is asked for.

    Raises:
        MissingPackageError: onnxruntime is not installed.
        DataError: The file is not readable ONNX.
        DeviceError: The device is not there.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            "onnxruntime is not installed; install it with `pip install onnxruntime` (CPU), "
            "`pip install onnxruntime-gpu` (CUDA) or `pip install onnxruntime-cann` (Ascend)"
        ) from error
    provider = _check_device(onnxruntime, device_target, device_id)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    settings = [{}] if device_target == "CPU" else [{"device_id": str(device_id)}]
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=[provider], provider_options=settings
        )
    except (
        errors.InvalidProtobuf,
        errors.InvalidGraph,
        errors.InvalidArgument,
        errors.NoModel,
        errors.NotImplemented,
    ) as error:
        raise DataError(_not_readable(path, error)) from error
    except (errors.Fail, errors.RuntimeException, RuntimeError, ValueError) as error:
        # That a file is of no version it knows, onnxruntime says as a failure, too.
        if device_target != "CPU" and not re.search("opset|version", str(error)):
            raise DeviceError(_no_device(device_target, device_id, _reason(error))) from error
        raise DataError(_not_readable(path, error)) from error
    # onnxruntime goes on with the CPU when a provider cannot start; here that is an error.
    if session.get_providers()[0] != provider:
        reason = _why_no_provider(onnxruntime, device_target)
        raise DeviceError(_no_device(device_target, device_id, reason))
    return session


def _not_readable(path: Path, error: Exception) -> str:
    return (
        f"{path} is not a readable ONNX file: cut short, damaged or another format "
        f"({_reason(error)}); export the checkpoint again with `mtn export`"
    )


def _reason(error: Exception) -> str:
    """What onnxruntime says, without its own source lines and the path that it repeats."""
    text = first_line(error).rpartition("failed:")[2]
    text = re.sub(r"^\S*onnxruntime\S*:\d+ .*?\) ", "", text)
    return text.partition(". ")[0].rstrip(".")[:200]


def _check_device(onnxruntime, device_target: str, device_id: int) -> str:
    if device_target not in PROVIDERS:
        raise DeviceError(
            f"onnxruntime runs here on {', '.join(PROVIDERS)}, not on {device_target}"
        )
    provider = PROVIDERS[device_target]
    if device_target == "CPU":
        if device_id != 0:
            raise DeviceError(f"there is no CPU device {device_id}; use --device_id 0")
    elif provider not in onnxruntime.get_available_providers():
        reason = f"this onnxruntime has no {_NAMES[device_target]}; {_RELEASES[device_target]}"
        raise DeviceError(_no_device(device_target, device_id, reason))
    else:
        if device_target == "GPU":
            _refuse_cuda_of_mindspore()
        reason = _why_no_provider(onnxruntime, device_target)
        if reason:
            raise DeviceError(_no_device(device_target, device_id, reason))
    return provider


def _refuse_cuda_of_mindspore() -> None:
    """The two need different releases of CUDA, one of whose libraries has the same name in both."""
    if is_active():
        raise DeviceError(
            "this process, or the one that started it, uses MindSpore's CUDA 11, which must not "
            f"meet ONNX Runtime's; unset {OWN_VARIABLE}, {HOME_VARIABLE} and {DEVICE_VARIABLE} "
            "and run this in a process of its own (`mtn eval-onnx` does), or with "
            "--device_target CPU"
        )


def _why_no_provider(onnxruntime, device_target: str) -> str:
    """Load the provider's library as onnxruntime does, for the loader's message."""
    name = _NAMES[device_target]
    folder = Path(onnxruntime.__file__).parent / "capi"
    library = folder / f"libonnxruntime_providers_{name.lower()}.so"
    if library.is_file():
        # It prints what it does not find; the loader's own message below says more.
        with (
            contextlib.suppress(AttributeError, OSError, RuntimeError),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            onnxruntime.preload_dlls()
        try:
            ctypes.CDLL(str(library.with_name("libonnxruntime_providers_shared.so")))
            ctypes.CDLL(str(library))
        except OSError as error:
            return f"the {name} provider does not load ({error})"
    if device_target == "GPU":
        try:
            ctypes.CDLL(DRIVER)
        except OSError as error:
            return f"there is no NVIDIA driver ({error})"
    return ""


def _no_device(device_target: str, device_id: int, reason: str) -> str:
    return (
        f"{_NAMES[device_target]} device {device_id} was asked for and is not available: "
        f"{reason or 'no such device'}. {_NEEDS[device_target]}; or run with --device_target CPU"
    )


def _read_spec(session, path: Path) -> ModelSpec:
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise DataError(
            f"{path} is not a model that `mtn export` wrote: it has no {METADATA_KEY} metadata, "
            "its inputs are "
            f"{', '.join(f'{i.name} {i.shape}' for i in session.get_inputs())}. Give the .onnx "
            "file of an export of this project"
        )
    return parse_spec(metadata[METADATA_KEY], path)


def _check_interface(session, spec: ModelSpec, takes_pixels: bool, path: Path) -> None:
    wanted = spec.pixel_inputs if takes_pixels else spec.inputs
    expected = {name: list(tensor.shape) for name, tensor in (wanted | spec.outputs).items()}
    found = {v.name: list(v.shape) for v in (*session.get_inputs(), *session.get_outputs())}
    if expected != found:
        raise DataError(
            f"{path} has other inputs and outputs than it says: expected {expected}, got {found}; "
            "export the checkpoint again with `mtn export`"
        )
