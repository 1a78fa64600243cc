"""An exported ONNX file in onnxruntime; MindSpore is not needed.

>>> model = OnnxModel("MultiTask_export.onnx")  # doctest: +SKIP
>>> outputs = model.run(batch)  # doctest: +SKIP
"""

import contextlib
import ctypes
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

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

PROVIDERS = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider"}


class OnnxModel:
    """An exported model, ready to run; also a :class:`mtn_core.predict.backend.Backend`.

    Args:
        path: ``.onnx`` file that `mtn export` wrote; what it takes and gives stands inside it.
        device_target: ``CPU`` or ``GPU`` (CUDA); never another than the one asked for.
        device_id: CUDA device; 0 on CPU.
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
        written into memory that is there before the run.
        """
        import onnxruntime

        device = "cuda" if self.device_target == "GPU" else "cpu"
        binding = self._session.io_binding()
        count = len(inputs[KEYPOINTS])
        for name, array in inputs.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array, device, self.device_id)
            binding.bind_ortvalue_input(name, value)
        outputs = {}
        for name in OUTPUT_NAMES:
            outputs[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                [count, self.spec.width(name)], np.float32, device, self.device_id
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
            "onnxruntime is not installed; install it with `pip install onnxruntime` (CPU) or "
            "`pip install onnxruntime-gpu` (CUDA)"
        ) from error
    provider = _check_device(onnxruntime, device_target, device_id)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    settings = [{"device_id": str(device_id)}] if device_target == "GPU" else [{}]
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
    ) as error:
        raise DataError(
            f"{path} is not a readable ONNX file: cut short, damaged or another format "
            f"({first_line(error)}); export the checkpoint again with `mtn export`"
        ) from error
    except (errors.Fail, errors.RuntimeException, RuntimeError, ValueError) as error:
        if device_target == "GPU":
            raise DeviceError(_no_device(device_id, first_line(error))) from error
        raise DataError(f"{path} does not load: {first_line(error)}") from error
    # onnxruntime goes on with the CPU when a provider cannot start; here that is an error.
    if session.get_providers()[0] != provider:
        raise DeviceError(_no_device(device_id, _why_no_cuda(onnxruntime)))
    return session


def _check_device(onnxruntime, device_target: str, device_id: int) -> str:
    if device_target not in PROVIDERS:
        raise DeviceError(
            f"onnxruntime runs here on CPU or GPU, not on {device_target}; for Ascend use the "
            "MINDIR (`mtn eval --device_target Ascend`, scripts/run_infer_310.sh)"
        )
    provider = PROVIDERS[device_target]
    if device_target == "CPU":
        if device_id != 0:
            raise DeviceError(f"there is no CPU device {device_id}; use --device_id 0")
    elif provider not in onnxruntime.get_available_providers():
        raise DeviceError(
            _no_device(device_id, "this onnxruntime has no CUDA (install onnxruntime-gpu)")
        )
    else:
        reason = _why_no_cuda(onnxruntime)
        if reason:
            raise DeviceError(_no_device(device_id, reason))
    return provider


def _why_no_cuda(onnxruntime) -> str:
    """Load the CUDA provider's library as onnxruntime does, for the loader's message."""
    library = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
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
            return f"the CUDA provider does not load ({error})"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"there is no NVIDIA driver ({error})"
    return ""


def _no_device(device_id: int, reason: str) -> str:
    return (
        f"CUDA device {device_id} was asked for and is not available: {reason or 'no such device'}"
        ". Install the NVIDIA driver, CUDA and cuDNN that this onnxruntime-gpu release names, or "
        "run with --device_target CPU"
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
