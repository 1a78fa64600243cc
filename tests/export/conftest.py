"""Models for the tests of export and 310 inference.

``tiny_export`` is a hand-made network that needs neither training nor MindSpore; ``exported`` is
the real network, small, with random weights, through the whole export.
"""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import mindspore  # noqa: F401 - before onnx, whose protobuf it could not share
import numpy as np
import onnx
import pytest
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

REPOSITORY = Path(__file__).resolve().parents[2]
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


@pytest.fixture(scope="session")
def tools():
    """The functions above, for tests that need a model of their own."""
    return SimpleNamespace(make_spec=make_spec, make_onnx=make_onnx, write_export=write_export)


@pytest.fixture
def tiny_export(tmp_path):
    """``.path`` of the ONNX file and ``.spec`` of a fresh hand-made export."""
    spec = write_export(tmp_path / "tiny_export", make_spec())
    return SimpleNamespace(path=tmp_path / "tiny_export" / "tiny.onnx", spec=spec)


def write_checkpoint(path: Path, **network) -> Path:
    """A checkpoint of the real network with random weights and lively batch-norm statistics."""
    import mindspore as ms

    from mtn_core.models.checkpoint import network_weights, save_checkpoint
    from mtn_core.models.multitask import MultiTaskNet

    config = ModelConfig(**{"image_size": 64, "num_ids": len(PIDS), **network})
    ms.set_seed(1)
    weights = network_weights(MultiTaskNet(config))
    rng = np.random.default_rng(0)
    for name, value in weights.items():
        if name.endswith("moving_mean"):
            weights[name] = rng.normal(0, 0.1, value.shape).astype(np.float32)
        if name.endswith("moving_variance"):
            weights[name] = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
    meta = {
        "kind": "multitask",
        "model": config.model_dump(mode="json"),
        "pids": list(PIDS),
        "metric": "cosine",
        "recipe": "smoke",
        "epoch": 2,
        "seed": 4,
        "config_sha256": "c" * 64,
    }
    save_checkpoint(path, weights, meta)
    return path


@pytest.fixture(scope="session")
def device():
    from mtn_core.device import setup_device

    return setup_device("CPU")


@pytest.fixture(scope="session")
def make_checkpoint():
    return write_checkpoint


@pytest.fixture(scope="session")
def exported(device, tmp_path_factory):
    """The real network with segments: ``.checkpoint``, ``.folder``, ``.spec``, ``.lines``."""
    from mtn_core.export.exporter import ExportOptions, export_checkpoint
    from mtn_core.models.checkpoint import load_checkpoint

    folder = tmp_path_factory.mktemp("exported")
    checkpoint = write_checkpoint(folder / "best.ckpt", segments=True)
    lines = []
    spec = export_checkpoint(
        load_checkpoint(checkpoint),
        folder / "files",
        ["MINDIR", "ONNX"],
        device,
        ExportOptions(pixels=True),
        echo=lines.append,
    )
    return SimpleNamespace(checkpoint=checkpoint, folder=folder / "files", spec=spec, lines=lines)


def _lite_or_skip() -> None:
    missing = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed; the C++ program cannot be built")
    found = subprocess.run(
        ["bash", "scripts/fetch_mindspore_lite.sh", "--no-download"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode == 3:
        pytest.skip("MindSpore Lite is not here; run scripts/fetch_mindspore_lite.sh")
    assert found.returncode == 0, found.stderr


def _build(*arguments: str) -> Path:
    _lite_or_skip()
    done = subprocess.run(
        ["bash", "ascend_310_infer/build.sh", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def programs(tmp_path_factory) -> Path:
    """Folder of the built ``main`` and ``convert``."""
    return _build("--out", str(tmp_path_factory.mktemp("programs")))


@pytest.fixture(scope="session")
def sanitized_programs(tmp_path_factory) -> Path:
    """The same with the address and undefined-behaviour sanitizers."""
    return _build("--sanitize", "--out", str(tmp_path_factory.mktemp("sanitized")))
