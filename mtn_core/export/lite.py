"""A MindIR that the MindSpore Lite runtime runs, made from an export.

The runtime wants a fixed batch size and, in the release that is fetched here, MindIR of version 1;
MindSpore writes version 3. So the exported ONNX file is converted with Lite's own converter.
"""

import os
import subprocess
from pathlib import Path

from mtn_core.errors import ConfigError, DataError
from mtn_core.predict.model_json import ModelSpec, load_spec

_VERSION_FIELD = 13  # `mind_ir_version` in MindSpore's mind_ir.proto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def mind_ir_version(path: str | Path) -> int:
    """Version of a MindIR file, read without MindSpore.

    Raises:
        DataError: The file is empty, cut short, or not a MindIR.
    """
    version = None
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            while file.tell() < size:
                key = _read_varint(file)
                field, wire = key >> 3, key & 7
                if wire == _VARINT:
                    value = _read_varint(file)
                    version = value if field == _VERSION_FIELD else version
                else:
                    skip = {_FIXED64: 8, _FIXED32: 4}.get(wire)
                    skip = _read_varint(file) if wire == _BYTES else skip
                    if skip is None or file.tell() + skip > size:
                        raise ValueError("cut short")
                    file.seek(skip, os.SEEK_CUR)
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{path} is not a whole MindIR file; copy it again or export the checkpoint again"
        ) from error
    if version is None:
        raise DataError(f"{path} is not a MindIR file: it has no version")
    return version


def find_onnx(model_path: str | Path, spec: ModelSpec) -> Path:
    """The float32 ONNX file of the export that ``model_path`` belongs to.

    Raises:
        FileNotFoundError: The export has none.
    """
    folder = Path(model_path).parent
    for name, file in spec.files.items():
        fits = (file.format, file.precision, file.inputs) == ("ONNX", "float32", "stack")
        if fits and (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
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
        FileNotFoundError: Model, ``model.json`` or ONNX file missing.
    """
    out_path, converter = Path(out_path), Path(converter)
    if batch < 1:
        raise ConfigError(f"--batch must be 1 or more, got {batch}")
    if out_path.suffix != ".mindir":
        raise ConfigError(f"the result must be named .mindir, got {out_path}")
    if not os.access(converter, os.X_OK):
        raise ConfigError(
            f"there is no converter program {converter}; build it with ascend_310_infer/build.sh"
        )
    spec = load_spec(model_path)
    if Path(model_path).suffix == ".mindir":
        mind_ir_version(model_path)
    onnx_path = find_onnx(model_path, spec)
    shapes = input_shapes(spec, batch)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    out_path.unlink(missing_ok=True)
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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not out_path.is_file():
        raise DataError(
            f"{converter.name} did not convert {onnx_path} (exit code {done.returncode}): "
            f"{(done.stderr or done.stdout).strip()[-500:]}"
        )
    return out_path


def _read_varint(file) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
        if shift > 63:
            raise ValueError("not a protocol buffer")
