"""PoseEstNet as MINDIR, ONNX and AIR, proven to compute the same, and its ONNX file run again."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import onnx
from mindspore import nn
from onnx import helper, shape_inference

from mtn_core.device import Device
from mtn_core.errors import ParityError
from mtn_core.export import onnx_graph
from mtn_core.export.folder import MODEL_CARD, SUFFIXES, check_formats, export_folder
from mtn_core.export.mindspore_graphs import write_graph
from mtn_core.export.parity import TOLERANCE
from mtn_core.files import sha256_of, write_json, write_text
from mtn_core.models.checkpoint import Checkpoint, load_weights
from mtn_core.normalisation import IMAGE_MEAN, IMAGE_STD
from mtn_core.pose.config import PoseModelConfig
from mtn_core.pose.network import PoseEstNet
from mtn_core.pose.onnx_predictor import METADATA_KEY, OnnxPredictor, normalise
from mtn_core.pose.predict import pose_model_config
from mtn_core.predict.model_json import BATCH, MODEL_JSON
from mtn_core.vehicle import KEYPOINT_NAMES, NUM_KEYPOINTS

NAME = "PoseEstNet"


class _Named(nn.Cell):
    """The network with its input's public name: exporters take it from ``construct``."""

    def __init__(self, network: nn.Cell):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, image):
        return self.network(image)


def export_pose(
    checkpoint: Checkpoint,
    out: Path,
    formats: Sequence[str],
    device: Device,
    *,
    overwrite: bool = False,
    echo: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Export a PoseEstNet, prove parity, write ``model.json`` and ``model_card.md``.

    Args:
        checkpoint: Written by ``mtn train-pose`` or ``mtn convert``.
        out: Folder for the files; it sees whole, proven files or none.
        formats: Some of ``MINDIR``, ``ONNX``, ``AIR``.
        device: From :func:`mtn_core.device.setup_device`.
        overwrite: Replace files of an earlier export.
        echo: Told about differences.

    Returns:
        What ``model.json`` says.

    Raises:
        CheckpointError: The checkpoint is of another network.
        DeviceError: AIR was asked for elsewhere than on Ascend.
        ParityError: A file differs from the network by more than 1e-4.
        RunFolderError: ``out`` holds an export.
    """
    check_formats(formats, device)
    config = pose_model_config(checkpoint, NUM_KEYPOINTS)
    with export_folder(out, overwrite=overwrite) as work:
        spec = _write_files(checkpoint, config, work, formats, echo)
        write_text(work / MODEL_CARD, _model_card(spec))
        write_json(work / MODEL_JSON, spec)
    return spec


def _write_files(checkpoint, config: PoseModelConfig, folder: Path, formats, echo) -> dict:
    size = config.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    stack = normalise(pixels)
    expected = _create(checkpoint, config)(ms.Tensor(stack)).asnumpy()
    spec = _describe(checkpoint, config)
    for file_format in formats:
        path = folder / f"{NAME}{SUFFIXES[file_format]}"
        if file_format == "ONNX":
            onnx_graph.save(_to_onnx(checkpoint, config, spec), path)
            found = OnnxPredictor(path)(pixels)
        else:
            _export(checkpoint, config, path, file_format)
            found = None
            if file_format == "MINDIR":
                found = nn.GraphCell(ms.load(str(path)))(ms.Tensor(stack)).asnumpy()
        entry: dict[str, Any] = {
            "format": file_format,
            "sha256": sha256_of(path),
            "bytes": path.stat().st_size,
        }
        if found is not None:
            entry["largest_difference"] = _check_parity(path.name, expected, found)
            echo(
                f"{path.name}: largest difference to the network {entry['largest_difference']:.2e}"
            )
        spec["files"][path.name] = entry
    return spec


def _check_parity(name: str, expected: np.ndarray, found: np.ndarray) -> float:
    same_shape = expected.shape == found.shape
    difference = float(np.abs(expected - found).max()) if same_shape else float("inf")
    # Untrained or converted weights may give heatmaps far from 0..1.
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= limit:
        raise ParityError(
            f"{name} differs from the network by {difference:.3g}; at most {limit:g} is allowed, "
            "so nothing was exported. Check the versions of mindspore, onnx and onnxruntime"
        )
    return difference


def _create(checkpoint: Checkpoint, config: PoseModelConfig) -> nn.Cell:
    network = PoseEstNet(config)
    load_weights(network, checkpoint.weights, checkpoint.path)
    network.set_train(False)
    return network


def _export(checkpoint: Checkpoint, config: PoseModelConfig, path: Path, file_format: str) -> None:
    size = config.image_size
    network = _Named(_create(checkpoint, config))
    if file_format == "MINDIR":
        inputs = ms.Tensor(shape=[None, 3, size, size], dtype=ms.float32)
    else:
        inputs = ms.Tensor(np.zeros((1, 3, size, size), np.float32))
    write_graph(network, [inputs], path, file_format)


def _to_onnx(checkpoint: Checkpoint, config: PoseModelConfig, spec: dict) -> onnx.ModelProto:
    with onnx_graph.scratch_folder() as folder:
        path = Path(folder) / "raw.onnx"
        _export(checkpoint, config, path, "ONNX")
        model = onnx.load(str(path))
    graph = model.graph
    output = graph.output[0].name
    for node in graph.node:
        for i, name in enumerate(node.output):
            node.output[i] = "heatmaps" if name == output else name
    graph.output[0].name = "heatmaps"
    for value in (graph.input[0], graph.output[0]):
        dimension = value.type.tensor_type.shape.dim[0]
        dimension.Clear()
        dimension.dim_param = BATCH
    del graph.value_info[:]
    helper.set_model_props(model, {METADATA_KEY: json.dumps({**spec, "files": {}})})
    model.producer_name = "mtn_core"
    model.doc_string = "PoseEstNet: heatmaps of 36 vehicle keypoints (PAMTRI, ICCV 2019)"
    onnx.checker.check_model(model, full_check=True)
    return shape_inference.infer_shapes(model, strict_mode=True)


def _describe(checkpoint: Checkpoint, config: PoseModelConfig) -> dict[str, Any]:
    size, side = config.image_size, config.heatmap_size
    return {
        "kind": "pose",
        "name": NAME,
        "model": config.model_dump(mode="json"),
        "inputs": {"image": {"shape": [BATCH, 3, size, size], "dtype": "float32", "layout": "RGB"}},
        "outputs": {"heatmaps": {"shape": [BATCH, NUM_KEYPOINTS, side, side], "dtype": "float32"}},
        "image_mean": list(IMAGE_MEAN),
        "image_std": list(IMAGE_STD),
        "keypoint_names": list(KEYPOINT_NAMES),
        "checkpoint_sha256": checkpoint.sha256,
        "files": {},
    }


def _model_card(spec: dict[str, Any]) -> str:
    size = spec["inputs"]["image"]["shape"][-1]
    side = spec["outputs"]["heatmaps"]["shape"][-1]
    lines = [
        f"# {NAME}",
        "",
        "Finds 36 vehicle keypoints in a crop (HRNet; PAMTRI, ICCV 2019).",
        "",
        f"- In: `image` ({BATCH}, 3, {size}, {size}) float32, RGB, the whole crop stretched to a "
        f"square, divided by 255, mean {spec['image_mean']}, deviation {spec['image_std']}.",
        f"- Out: `heatmaps` ({BATCH}, {NUM_KEYPOINTS}, {side}, {side}) float32. Map pixel (i, j) "
        f"stands for the crop position ((j + 0.5) / {side} x width, (i + 0.5) / {side} x height); "
        "the peak's height is the confidence. Names of the maps: `model.json`.",
        f"- Made of checkpoint {spec['checkpoint_sha256']}.",
        "",
        "| file | format | bytes | largest difference to the network |",
        "|---|---|---|---|",
    ]
    for name, entry in spec["files"].items():
        difference = entry.get("largest_difference")
        shown = "not run here" if difference is None else f"{difference:.1e}"
        lines.append(f"| {name} | {entry['format']} | {entry['bytes']} | {shown} |")
    return "\n".join(lines) + "\n"
