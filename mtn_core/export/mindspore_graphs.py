"""MINDIR, ONNX and AIR as MindSpore writes them, and a MINDIR run again."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import mindspore as ms
import numpy as np
import onnx
from mindspore import nn

from mtn_core.errors import DataError, first_line
from mtn_core.export.onnx_graph import scratch_folder
from mtn_core.models.checkpoint import Checkpoint, create_network
from mtn_core.predict.model_json import OUTPUT_NAMES, ModelSpec


class _Named(nn.Cell):
    """The network with the inputs' public names: exporters take them from ``construct``."""

    def __init__(self, network: nn.Cell):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, image, keypoints):
        """``image``, ``keypoints`` -> the four outputs."""
        return self.network(image, keypoints)


def write_mindir(checkpoint: Checkpoint, spec: ModelSpec, path: Path) -> None:
    """Write a MINDIR with a free batch size; names and metadata stand in its ``user_info``."""
    channels, height, width = spec.stack_shape
    inputs = (
        ms.Tensor(shape=[None, channels, height, width], dtype=ms.float32),
        ms.Tensor(shape=[None, spec.keypoint_values], dtype=ms.float32),
    )
    metadata = spec.to_metadata()

    def add_metadata(model) -> None:
        for key, value in metadata.items():
            # A map in the format; this release's Python class has it as a list of entries.
            model.user_info.add(key=key, value=value)

    _export(checkpoint, inputs, path, "MINDIR", custom_func=add_metadata)


def write_air(checkpoint: Checkpoint, spec: ModelSpec, path: Path) -> None:
    """Write an AIR file for batch size 1; on Ascend only."""
    _export(checkpoint, _fixed_inputs(spec), path, "AIR")


def to_onnx(checkpoint: Checkpoint, spec: ModelSpec) -> onnx.ModelProto:
    """MindSpore's own ONNX graph, for batch size 1 and with numbers for output names."""
    with scratch_folder() as folder:
        path = Path(folder) / "raw.onnx"
        _export(checkpoint, _fixed_inputs(spec), path, "ONNX")
        return onnx.load(str(path))


def run_mindir(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a MINDIR through ``GraphCell``.

    Args:
        path: A file that :func:`write_mindir` wrote.
        inputs: ``image`` and ``keypoints``.

    Returns:
        The four outputs by name.

    Raises:
        DataError: The file is cut short or not a MINDIR.
    """
    return MindirModel(path).run(inputs)


class MindirModel:
    """A loaded MINDIR.

    Raises:
        DataError: The file is cut short or not a MINDIR.
    """

    def __init__(self, path: Path):
        try:
            self._cell = nn.GraphCell(ms.load(str(path)))
        except (RuntimeError, ValueError, TypeError) as error:
            raise DataError(
                f"{path} cannot be loaded as a MINDIR: it is cut short or of a newer MindSpore "
                f"({first_line(error)}); export the checkpoint again"
            ) from error

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run on ``image`` and ``keypoints``; the four outputs by name."""
        outputs = self._cell(ms.Tensor(inputs["image"]), ms.Tensor(inputs["keypoints"]))
        return {name: o.asnumpy() for name, o in zip(OUTPUT_NAMES, outputs, strict=True)}


def _fixed_inputs(spec: ModelSpec) -> tuple[ms.Tensor, ms.Tensor]:
    return (
        ms.Tensor(np.zeros((1, *spec.stack_shape), np.float32)),
        ms.Tensor(np.zeros((1, spec.keypoint_values), np.float32)),
    )


def _export(checkpoint: Checkpoint, inputs, path: Path, file_format: str, **options) -> None:
    # The network is built anew each time: exporting the same object to ONNX twice fails.
    write_graph(_Named(create_network(checkpoint)), inputs, path, file_format, **options)


def write_graph(network: nn.Cell, inputs, path: Path, file_format: str, **options) -> None:
    """Write a network in one of MindSpore's formats.

    Args:
        network: Built for this call: exporting the same object to ONNX twice fails.
        inputs: Tensors that tell the shapes.
        path: File to write, with the suffix of its format.
        file_format: ``MINDIR``, ``ONNX`` or ``AIR``.
        options: Further options of ``mindspore.export``.
    """
    network.set_train(False)
    # MindSpore refuses a path with blanks or letters outside of ASCII, but only looks at what it is
    # given: from within the folder that is the name alone.
    with contextlib.chdir(path.parent):
        ms.export(network, *inputs, file_name=path.stem, file_format=file_format, **options)
    path.chmod(0o644)  # MindSpore makes it read-only for the owner alone
