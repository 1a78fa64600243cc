"""PyTorch's DenseNet-121 in NumPy and float64: slow, short, and right by reading.

It works on a state dict under torchvision's names (``conv0.weight`` ...) and knows nothing of
MindSpore, so that converted weights can be checked where torch is not installed.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_BLOCK_LAYERS = (6, 12, 24, 16)
_EPSILON = 1e-5  # of every batch norm, PyTorch's default
Arrays = dict[str, np.ndarray]


def stage_outputs(arrays: Arrays, image_stack: np.ndarray) -> Arrays:
    """Feature maps after every stage of ``densenet121().features``, in evaluation mode.

    Args:
        arrays: Weights by name, without ``features.`` in front.
        image_stack: ``(N, C, H, W)``, H and W multiples of 32.

    Returns:
        float64 arrays by stage, ``conv0`` to ``norm5``, in order.

    Source: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017, table 1.
    """
    return dict(_forward({n: a.astype(np.float64) for n, a in arrays.items()}, image_stack))


def random_state_dict(in_channels: int = 3, seed: int = 0) -> Arrays:
    """Weights that look trained: every value random, activations of order one.

    Batch-norm scales, shifts and running statistics are random, too, near those of random images;
    untouched ones (0 and 1) would hide an exchange of two of them.

    Args:
        in_channels: Channels of the input.
        seed: Seed of all values.

    Returns:
        float32 arrays (int64 counters) by name, without a prefix.
    """
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}
    for name, shape in _weight_shapes(in_channels):
        if len(shape) == 4:
            fan_in = np.prod(shape[1:])
            arrays[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / fan_in), shape)
        else:
            arrays[f"{name}.weight"] = rng.uniform(0.5, 1.5, shape)
            arrays[f"{name}.bias"] = rng.normal(0, 0.2, shape)
    # Running statistics that are missing become those of the input that passes.
    for _ in _forward(arrays, rng.normal(size=(4, in_channels, 96, 96))):
        pass
    for name in [n for n in arrays if n.endswith("running_mean")]:
        variance = name.replace("mean", "var")
        shape = arrays[name].shape
        arrays[name] = arrays[name] + 0.1 * np.sqrt(arrays[variance]) * rng.normal(size=shape)
        arrays[variance] = arrays[variance] * rng.uniform(0.8, 1.25, shape)
    counters = {n.replace("running_var", "num_batches_tracked"): 1 for n in arrays if "_var" in n}
    return {n: a.astype(np.float32) for n, a in arrays.items()} | {
        n: np.array(count, np.int64) for n, count in counters.items()
    }


def _forward(arrays: Arrays, image_stack: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    x = _conv(image_stack.astype(np.float64), arrays["conv0.weight"], stride=2)
    yield "conv0", x
    x = _norm(x, arrays, "norm0")
    yield "norm0", x
    x = np.maximum(x, 0)
    yield "relu0", x
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = _windows(x, 3, stride=2).max((4, 5))
    yield "pool0", x
    for block, depth in enumerate(_BLOCK_LAYERS, start=1):
        for layer in range(1, depth + 1):
            x = np.concatenate([x, _layer(x, arrays, f"denseblock{block}.denselayer{layer}")], 1)
        yield f"denseblock{block}", x
        if block < len(_BLOCK_LAYERS):
            name = f"transition{block}"
            x = np.maximum(_norm(x, arrays, f"{name}.norm"), 0)
            x = _conv(x, arrays[f"{name}.conv.weight"])
            n, c, h, w = x.shape
            x = x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
            yield name, x
    yield "norm5", _norm(x, arrays, "norm5")


def _layer(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    for part in (1, 2):
        x = np.maximum(_norm(x, arrays, f"{name}.norm{part}"), 0)
        x = _conv(x, arrays[f"{name}.conv{part}.weight"])
    return x


def _conv(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    size = weight.shape[-1]
    margin = (size // 2, size // 2)
    x = np.pad(x, ((0, 0), (0, 0), margin, margin))
    windows = _windows(x, size, stride)
    return np.moveaxis(np.tensordot(windows, weight, axes=([1, 4, 5], [1, 2, 3])), -1, 1)


def _windows(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """``(N, C, h, w, size, size)``: a view of what a filter sees at each of its places."""
    windows = sliding_window_view(x, (1, 1, size, size))
    return windows[:, :, ::stride, ::stride, 0, 0]


def _norm(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    if f"{name}.running_var" not in arrays:
        arrays[f"{name}.running_mean"] = x.mean((0, 2, 3))
        arrays[f"{name}.running_var"] = x.var((0, 2, 3))
    values = (arrays[f"{name}.{v}"] for v in ("weight", "bias", "running_mean", "running_var"))
    scale, shift, mean, variance = (v[:, None, None] for v in values)
    return (x - mean) / np.sqrt(variance + _EPSILON) * scale + shift


def _weight_shapes(in_channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "conv0", (64, in_channels, 7, 7)
    yield "norm0", (64,)
    channels = 64
    for block, depth in enumerate(_BLOCK_LAYERS, start=1):
        for layer in range(1, depth + 1):
            name = f"denseblock{block}.denselayer{layer}"
            yield f"{name}.norm1", (channels,)
            yield f"{name}.conv1", (128, channels, 1, 1)
            yield f"{name}.norm2", (128,)
            yield f"{name}.conv2", (32, 128, 3, 3)
            channels += 32
        if block < len(_BLOCK_LAYERS):
            yield f"transition{block}.norm", (channels,)
            channels //= 2
            yield f"transition{block}.conv", (channels, 2 * channels, 1, 1)
    yield "norm5", (channels,)
