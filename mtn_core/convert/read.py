"""Weight files as NumPy arrays, without running anything that such a file may hold.

A ``.pth`` file is a pickle, and a pickle can call any function when it is read. It is only ever
read with torch's restricted reader (``weights_only=True``), which knows tensors and containers.
``.safetensors`` files hold plain numbers and need no torch, and neither do MindSpore's ``.ckpt``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtn_core.errors import CheckpointError, MissingFileError, MissingPackageError, first_offenders
from mtn_core.files import why_no_file

# Where training scripts put the weights when a file holds more than them.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_SAFETENSORS_TYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
}


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Read the named arrays of a ``.pth``, ``.pth.tar``, ``.pt``, ``.safetensors`` or ``.ckpt``.

    Args:
        path: The file. ``.ckpt`` is MindSpore's, as MindCV publishes them; anything but that and
            ``.safetensors`` is taken for a file written by ``torch.save``: a state dict, or a
            mapping that holds one under ``state_dict``.

    Returns:
        Arrays by their name in the file, without the ``module.`` that ``DataParallel`` puts in
        front; floating-point arrays as float32, whole numbers as int64.

    Raises:
        MissingFileError: ``path`` is not a file.
        CheckpointError: The file is damaged, would run code, holds no named arrays, or is a
            checkpoint of this package, which needs no conversion.
        MissingPackageError: torch is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        if path.is_dir():
            raise CheckpointError(f"weight file {path} is a folder; give a file in it")
        raise MissingFileError(f"weight file {path} {why_no_file(path)}")
    readers = {".safetensors": _read_safetensors, ".ckpt": _read_mindspore}
    arrays = readers.get(path.suffix, _read_torch)(path)
    if not arrays:
        raise CheckpointError(f"{path} holds no weights: expected named arrays, got an empty file")
    return _without_prefix(arrays)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    arrays = {}
    for name, entry in sorted(entries, key=lambda pair: pair[0]):
        kind = entry["dtype"]
        if kind == "BF16":
            # NumPy has no bfloat16: it is the upper half of a float32.
            half = np.frombuffer(entry["data"], "<u2").astype(np.uint32) << 16
            array = half.view(np.float32)
        elif kind in _SAFETENSORS_TYPES:
            array = np.frombuffer(entry["data"], _SAFETENSORS_TYPES[kind])
        else:
            raise CheckpointError(
                f"{path}: {name} is stored as {kind}; expected one of "
                f"{', '.join([*_SAFETENSORS_TYPES, 'BF16'])}"
            )
        arrays[name] = _plain(array.reshape(entry["shape"]))
    return arrays


def _read_mindspore(path: Path) -> dict[str, np.ndarray]:
    from mtn_core.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    if checkpoint.meta:
        raise CheckpointError(
            f"{path} is a checkpoint of this package and needs no conversion: give it to "
            "--pre_ckpt_path as it is"
        )
    return {name: _plain(array) for name, array in checkpoint.weights.items()}


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise MissingPackageError(
            f"reading {path.name} needs torch, which is not installed: run "
            "`pip install 'mtn_core[convert]'` (or `pip install torch`), or give a .safetensors "
            "file, which needs no torch"
        ) from error

    try:
        with torch.serialization.safe_globals(_number_types()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged bytes led it to
        raise CheckpointError(_refusal(path, error)) from error
    arrays = {}
    strangers = []
    for name, value in _state_dict(path, content).items():
        if isinstance(value, torch.Tensor) and not value.is_complex() and not value.is_quantized:
            tensor = value.detach().to_dense() if value.is_sparse else value.detach()
            array = tensor.float() if tensor.is_floating_point() else tensor.long()
            arrays[str(name)] = _plain(array.numpy())
        else:
            strangers.append(f"{name} ({type(value).__name__})")
    if strangers:
        raise CheckpointError(
            f"{path}: expected real-valued tensors only, got {first_offenders(strangers)}"
        )
    return arrays


def _number_types() -> list[Any]:
    """NumPy scalars, which training scripts leave beside the weights (``rank1``, ``best_mAP``).

    Rebuilding one copies bytes into a number; with these number types alone nothing can be called.
    """
    scalar = np.float64(0).__reduce__()[0]
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
    ]


def _refusal(path: Path, error: Exception) -> str:
    wanted = re.search(r"GLOBAL (\S+)", str(error))
    if wanted:
        return (
            f"{path} is refused: besides weights it wants to run {wanted[1]}, and a pickle that "
            "runs code is never loaded. Save the weights alone, `torch.save(model.state_dict(), "
            "path)`, where you trust the file, or use a .safetensors file"
        )
    # The first sentence of torch's advice recommends to switch the protection off.
    reason = str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()
    return (
        f"{path} is not a weight file that torch can read safely: "
        f"{reason[0] if reason else type(error).__name__}. Expected what "
        "`torch.save(model.state_dict(), path)` writes; is the download complete?"
    )


def _state_dict(path: Path, content: Any) -> Mapping[str, Any]:
    if isinstance(content, Mapping):
        for key in _WRAPPERS:
            if isinstance(content.get(key), Mapping):
                return content[key]
        return content
    raise CheckpointError(
        f"{path}: expected a state dict (names to tensors), got {type(content).__name__}"
    )


def _without_prefix(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = "module."
    if all(name.startswith(prefix) for name in arrays):
        return {name.removeprefix(prefix): array for name, array in arrays.items()}
    return arrays


def _plain(array: np.ndarray) -> np.ndarray:
    kind = np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64
    return np.array(array, dtype=kind, order="C")
