"""Smaller numbers: float16, and int8 with scales measured on training images."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.source import open_source
from mtn_core.data.split import load_split
from mtn_core.export.onnx_graph import copy, scratch_folder
from mtn_core.predict.host_input import model_inputs
from mtn_core.predict.model_json import ModelSpec

NUM_CALIBRATION_IMAGES = 128
# Scales per output channel need DequantizeLinear's axis, which came with this operator set.
_OPSET_WITH_AXIS = 13
# Heads and embedding stay float: they are a thousandth of the work and most of the error.
_QUANTIZED = ["Conv"]


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and arithmetic in float16; inputs and outputs stay float32."""
    return convert_float_to_float16(copy(model), keep_io_types=True, disable_shape_infer=True)


def calibration_batches(
    spec: ModelSpec, root: str | Path, count: int = NUM_CALIBRATION_IMAGES, seed: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """Training images, one at a time, as the inputs of the file that takes the stack.

    Args:
        spec: Of the exported model.
        root: The folder that holds ``veri/``.
        count: Images, drawn without putting back; all of them where there are fewer.
        seed: Of the draw.
    """
    split = load_split(root, "train")
    rows = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    network = spec.network
    part = open_source(split.take(rows), heatmaps=network.heatmaps, segments=network.segments)
    with EvalLoader(part, model=network, batch_size=1) as loader:
        for batch in loader:
            yield model_inputs(batch, spec, pixels=False)


def to_int8(model: onnx.ModelProto, batches: Iterable[Mapping[str, np.ndarray]]) -> onnx.ModelProto:
    """Convolutions in int8: signed weights a channel, unsigned activations a tensor.

    Weights keep to seven bits, so that processors without VNNI do not overflow.

    Args:
        model: Float32, from :func:`mtn_core.export.onnx_graph.finish_graph`.
        batches: Inputs to measure the range of activations on.

    Returns:
        A model in quantise-dequantise form.
    """
    metadata = list(model.metadata_props)
    with scratch_folder() as folder:
        source, prepared, result = (Path(folder) / f"{n}.onnx" for n in ("a", "b", "c"))
        onnx.save(version_converter.convert_version(copy(model), _OPSET_WITH_AXIS), str(source))
        # Folds batch norms into the convolutions before them.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(result),
            _Batches(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantized = onnx.load(str(result))
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(metadata)
    return quantized


class _Batches(CalibrationDataReader):
    def __init__(self, batches: Iterable[Mapping[str, np.ndarray]]):
        self._batches = iter(batches)

    def get_next(self):
        batch = next(self._batches, None)
        return None if batch is None else dict(batch)
