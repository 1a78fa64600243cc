"""A MindIR that the MindSpore Lite runtime runs, made from an export.

The runtime wants a fixed batch size and, in the release that is fetched here, MindIR of version 1;
MindSpore writes version 3. So the exported ONNX file is converted with Lite's own converter.
"""

import contextlib
import os
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtn_core.errors import ConfigError, DataError, MissingFileError
from mtn_core.files import atomic_path, why_no_file
from mtn_core.predict.model_json import ModelSpec, load_spec

_VERSION_FIELD = 13  # `mind_ir_version` in MindSpore's mind_ir.proto


@lru_cache(maxsize=1)
def _header_class() -> Any:
    """A message of nothing but the version: the other fields are skipped as unknown."""
    with contextlib.suppress(ImportError):
        import mindspore  # noqa: F401 - chooses protobuf's implementation, and must do it first
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="mtn_mind_ir.proto", package="mtn")
    field = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name="Header").field.add(
        name="mind_ir_version",
        number=_VERSION_FIELD,
        type=field.TYPE_INT64,
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mtn.Header"))


def mind_ir_version(path: str | Path) -> int:
    """Version of a MindIR file.

    Raises:
        DataError: The file is empty, cut short, or not a MindIR.
    """
    header_class = _header_class()
    from google.protobuf.message import DecodeError

    try:
        header = header_class.FromString(Path(path).read_bytes())
    except DecodeError as error:
        raise DataError(
            f"{path} is not a whole MindIR file; copy it again or export the checkpoint again"
        ) from error
    if not header.HasField("mind_ir_version"):
        raise DataError(f"{path} is not a MindIR file: it has no version")
    return header.mind_ir_version


def find_onnx(model_path: str | Path, spec: ModelSpec) -> Path:
    """The float32 ONNX file of the export that ``model_path`` belongs to.

    Raises:
        MissingFileError: The export has none.
    """
    folder = Path(model_path).parent
    for name, file in spec.files.items():
        fits = (file.format, file.precision, file.inputs) == ("ONNX", "float32", "stack")
        if fits and (folder / name).is_file():
            return folder / name
    raise MissingFileError(
        f"there is no ONNX file beside {model_path}; MindSpore Lite's converter needs it. Export "
        "with `mtn export --file_format MINDIR ONNX`"
    )


def input_shapes(spec: ModelSpec, batch: int) -> str:
    """``image:1,3,256,256;keypoints:1,108``: what the converters take."""
    shapes = {}
    for name, tensor in spec.inputs.items():
        shapes[name] = ",".join(str(n) for n in (batch, *tensor.shape[1:]))
    return ";".join(f"{name}:{shape}" for name, shape in shapes.items())


def convert_for_lite(
    model_path: str | Path, out_path: str | Path, converter: str | Path, *, batch: int = 1
) -> Path:
    """Convert the ONNX file of an export to a MindIR for the Lite runtime.

    Args:
        model_path: Any file of the export, ``.mindir`` or ``.onnx``; ``model.json`` lies beside.
        out_path: ``.mindir`` file to write.
        converter: ``ascend_310_infer/out/convert``, or a Lite release's ``converter_lite``.
        batch: Images a prediction.

    Returns:
        ``out_path``.

    Raises:
        ConfigError: Batch size or name do not do, or there is no converter.
        DataError: The model is damaged or does not convert.
        MissingFileError: Model, ``model.json`` or ONNX file missing.
    """
    out_path, converter = Path(out_path), Path(converter)
    if batch < 1:
        raise ConfigError(f"--batch must be 1 or more, got {batch}")
    if out_path.suffix != ".mindir":
        raise ConfigError(f"the result must be named .mindir, got {out_path}")
    if not converter.is_file() or not os.access(converter, os.X_OK):
        what = "cannot be run as a program" if converter.is_file() else why_no_file(converter)
        raise ConfigError(
            f"the converter {converter} {what}; build it with ascend_310_infer/build.sh"
        )
    spec = load_spec(model_path)
    if Path(model_path).suffix == ".mindir":
        mind_ir_version(model_path)
    onnx_path = find_onnx(model_path, spec)
    if out_path.resolve() in {(onnx_path.parent / name).resolve() for name in spec.files}:
        raise ConfigError(
            f"{out_path} is a file of the export that is converted; choose another --out"
        )
    if out_path.is_dir():
        raise ConfigError(f"{out_path} is a folder; --out takes the name of a file")
    with atomic_path(out_path) as temporary:
        _run_converter(converter, onnx_path, temporary, input_shapes(spec, batch))
    return out_path


def _run_converter(converter: Path, onnx_path: Path, out_path: Path, shapes: str) -> None:
    if converter.name.startswith("converter_lite"):
        command = [
            str(converter),
            "--fmk=ONNX",
            f"--modelFile={onnx_path}",
            f"--outputFile={out_path.with_suffix('')}",
            "--saveType=MINDIR",
            f"--inputShape={shapes}",
        ]
    else:
        command = [str(converter), str(onnx_path), str(out_path), shapes]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise ConfigError(
            f"{converter} cannot be run ({error.strerror}); give the converter that "
            "ascend_310_infer/build.sh builds for this machine"
        ) from error
    if done.returncode != 0 or not out_path.is_file() or not out_path.stat().st_size:
        *_, last = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise DataError(
            f"{converter.name} did not convert {onnx_path} (exit code {done.returncode}): "
            f"{last[-300:]}"
        )
