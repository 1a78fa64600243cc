"""A hand-made exported network that needs neither training nor MindSpore.

python tiny_onnx.py FOLDER [NAME=VALUE ...] writes one, with what differs from the usual network.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mtn_core.config import ModelConfig
from mtn_core.files import sha256_of
from mtn_core.predict.model_json import (
    BATCH,
    OUTPUT_NAMES,
    FileSpec,
    ModelSpec,
    TensorSpec,
    channel_names,
    hash_of_pids,
)

PIDS = (3, 5, 8, 9, 11, 20, 31)
TINY_EMBEDDING = 6


def make_spec(
    embedding: int = TINY_EMBEDDING, name: str = "tiny", checkpoint: str = "0" * 64, **network
) -> ModelSpec:
    config = ModelConfig(**{"image_size": 32, "num_ids": len(PIDS), **network})
    channels, size = channel_names(config), config.image_size
    maps = {}
    for key, used, count in (("heatmaps", config.heatmaps, 36), ("segments", config.segments, 13)):
        if used:
            maps[key] = TensorSpec(shape=(BATCH, count, 64, 64), dtype="uint8", content="maps")
    keypoints = TensorSpec(shape=(BATCH, 108), dtype="float32", content="keypoints")
    stack = TensorSpec(shape=(BATCH, len(channels), size, size), dtype="float32", content="stack")
    pixels = TensorSpec(shape=(BATCH, size, size, 3), dtype="uint8", content="pixels")
    widths = (config.num_ids, config.num_colors, config.num_types, embedding)
    return ModelSpec(
        name=name,
        network=config,
        inputs={"image": stack, "keypoints": keypoints},
        pixel_inputs={"image": pixels, **maps, "keypoints": keypoints},
        outputs={
            output: TensorSpec(shape=(BATCH, width), dtype="float32", content=output)
            for output, width in zip(OUTPUT_NAMES, widths, strict=True)
        },
        channels=channels,
        image_mean=(0.485, 0.456, 0.406),
        image_std=(0.229, 0.224, 0.225),
        map_mean=0.449,
        map_std=0.226,
        map_size=64,
        color_names=tuple(f"color {i}" for i in range(config.num_colors)),
        type_names=tuple(f"type {i}" for i in range(config.num_types)),
        pids=PIDS,
        pids_sha256=hash_of_pids(PIDS),
        metric="euclidean",
        opset=11,
        checkpoint_sha256=checkpoint,
    )


def make_onnx(spec: ModelSpec, seed: int = 0) -> onnx.ModelProto:
    """One convolution, its mean joined with the keypoints, a linear layer for every output."""
    rng = np.random.default_rng(seed)
    channels = spec.stack_shape[0]
    weights = {
        "filters": rng.normal(size=(8, channels, 3, 3)) / channels,
        "to_embedding": rng.normal(size=(8 + 108, spec.width("embedding"))) / 10,
    }
    nodes = [
        helper.make_node("Conv", ["image", "filters"], ["c"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("Concat", ["m", "keypoints"], ["joined"], axis=1),
        helper.make_node("MatMul", ["joined", "to_embedding"], ["embedding"]),
    ]
    for name in OUTPUT_NAMES[:3]:
        weights[f"to_{name}"] = rng.normal(size=(spec.width("embedding"), spec.width(name)))
        nodes.append(helper.make_node("MatMul", ["embedding", f"to_{name}"], [name]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        *(
            [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, list(t.shape))
                for n, t in tensors.items()
            ]
            for tensors in (spec.inputs, spec.outputs)
        ),
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 6
    helper.set_model_props(model, spec.to_metadata())
    return model


def write_export(folder: Path, spec: ModelSpec) -> ModelSpec:
    """The folder that an export leaves, with the hand-made network in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{spec.name}.onnx"
    onnx.save(make_onnx(spec), str(path))
    file = FileSpec(format="ONNX", sha256=sha256_of(path), bytes=path.stat().st_size)
    spec = spec.model_copy(update={"files": {path.name: file}})
    spec.write(folder)
    return spec


if __name__ == "__main__":
    changes = dict(argument.split("=", 1) for argument in sys.argv[2:])
    network = {k: json.loads(v) for k, v in changes.items() if k != "checkpoint"}
    checkpoint = changes.get("checkpoint", "0" * 64)
    write_export(Path(sys.argv[1]), make_spec(checkpoint=checkpoint, **network))
