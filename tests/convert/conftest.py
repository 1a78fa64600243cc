"""Weights in the layouts that people have, made without torch and under names written out here."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mtn_core.config import ModelConfig

sys.path.insert(0, str(Path(__file__).parent))  # torch_multitask


def _norm(arrays, rng, name, channels):
    arrays[f"{name}.weight"] = rng.uniform(0.5, 1.5, channels)
    arrays[f"{name}.bias"] = rng.normal(0, 0.2, channels)
    arrays[f"{name}.running_mean"] = rng.normal(0, 0.2, channels)
    arrays[f"{name}.running_var"] = rng.uniform(0.5, 1.5, channels)
    arrays[f"{name}.num_batches_tracked"] = np.array(9)


def _linear(arrays, rng, name, inputs, outputs):
    arrays[f"{name}.weight"] = rng.normal(0, 1 / np.sqrt(inputs), (outputs, inputs))
    arrays[f"{name}.bias"] = rng.normal(0, 0.1, outputs)


def backbone_arrays(prefix="features.", in_channels=3, spelling="{}{}", seed=0):
    """DenseNet-121's parameters; ``spelling`` is ``{}.{}`` in torchvision's older files."""
    rng = np.random.default_rng(seed)
    arrays = {}

    def conv(name, outputs, inputs, size):
        scale = np.sqrt(2 / (inputs * size * size))
        arrays[f"{name}.weight"] = rng.normal(0, scale, (outputs, inputs, size, size))

    conv(f"{prefix}conv0", 64, in_channels, 7)
    _norm(arrays, rng, f"{prefix}norm0", 64)
    channels = 64
    for block, depth in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, depth + 1):
            name = f"{prefix}denseblock{block}.denselayer{layer}."
            _norm(arrays, rng, name + spelling.format("norm", 1), channels)
            conv(name + spelling.format("conv", 1), 128, channels, 1)
            _norm(arrays, rng, name + spelling.format("norm", 2), 128)
            conv(name + spelling.format("conv", 2), 32, 128, 3)
            channels += 32
        if block < 4:
            _norm(arrays, rng, f"{prefix}transition{block}.norm", channels)
            conv(f"{prefix}transition{block}.conv", channels // 2, channels, 1)
            channels //= 2
    _norm(arrays, rng, f"{prefix}norm5", channels)
    return {n: a.astype(np.int64 if a.dtype.kind == "i" else np.float32) for n, a in arrays.items()}


def original_arrays(config: ModelConfig, seed=0):
    """Everything that PAMTRI's PyTorch code saves for a model."""
    rng = np.random.default_rng(seed + 1)
    arrays = {}
    joined = 1024 + 108 * config.keypoints
    if config.attributes:
        _linear(arrays, rng, "fc_vid", joined, 1024)
        _linear(arrays, rng, "fc_vcolor", joined, 512)
        _linear(arrays, rng, "fc_vtype", joined, 512)
        _linear(arrays, rng, "classifier_vcolor", 512, config.num_colors)
        _linear(arrays, rng, "classifier_vtype", 512, config.num_types)
    elif config.keypoints:
        _linear(arrays, rng, "fc", joined, 1024)
    _linear(arrays, rng, "classifier_vid", 1024, config.num_ids)
    heads = {name: array.astype(np.float32) for name, array in arrays.items()}
    return {**backbone_arrays("base.", config.in_channels, seed=seed), **heads}


@pytest.fixture(scope="session")
def torchvision_arrays():
    """``densenet121-*.pth`` with random values."""
    rng = np.random.default_rng(8)
    arrays = backbone_arrays()
    arrays["classifier.weight"] = rng.normal(size=(1000, 1024)).astype(np.float32)
    arrays["classifier.bias"] = np.zeros(1000, np.float32)
    return arrays


@pytest.fixture(scope="session")
def old_torchvision_arrays(torchvision_arrays):
    """The same in the older spelling, ``denselayer1.norm.1``, which has no counters."""
    return {
        name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2.")
        if "denselayer" in name
        else name: array
        for name, array in torchvision_arrays.items()
        if "num_batches_tracked" not in name
    }


@pytest.fixture(scope="session")
def make_original():
    return original_arrays


@pytest.fixture(scope="session")
def make_backbone():
    return backbone_arrays
