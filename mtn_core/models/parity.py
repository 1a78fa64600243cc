"""Is the converted network the original? Both run on one input and are compared stage by stage.

The original runs in float64, so that the difference is the rounding of the converted network alone.
"""

import copy
from collections.abc import Callable, Iterator

import mindspore as ms
import numpy as np
import pandas as pd
import torch

from mtn_core.models.densenet import BLOCK_LAYERS, DenseNet121
from mtn_core.models.multitask import MultiTaskNet
from mtn_core.models.torch_twin import TorchMultiTaskNet

TOLERANCE = 1e-4
COLUMNS = ["stage", "shape", "largest_value", "largest_difference"]


def compare_backbones(
    original: torch.nn.Sequential, converted: DenseNet121, image_stack: np.ndarray
) -> pd.DataFrame:
    """Feature maps of both backbones after every stage.

    Args:
        original: From :func:`mtn_core.models.torch_twin.create_features`.
        converted: The same weights, converted.
        image_stack: ``(N, C, H, W)`` float32.

    Returns:
        One row a stage: ``stage``, ``shape``, ``largest_value`` (of the original),
        ``largest_difference``; both are maxima of absolute values.
    """
    original = copy.deepcopy(original).double().eval()
    converted.set_train(False)
    rows = []
    theirs, ours = torch.from_numpy(image_stack).double(), ms.Tensor(image_stack)
    with torch.no_grad():
        for name, stage in _stages(converted):
            theirs, ours = original.get_submodule(name)(theirs), stage(ours)
            rows.append(_row(name, theirs, ours))
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_networks(
    original: TorchMultiTaskNet,
    converted: MultiTaskNet,
    image_stack: np.ndarray,
    keypoints: np.ndarray,
) -> pd.DataFrame:
    """Outputs of the two whole networks: logits and embedding; columns as above.

    Args:
        original: PAMTRI's network.
        converted: The same weights, converted.
        image_stack: ``(N, C, H, W)`` float32.
        keypoints: ``(N, 108)`` float32.
    """
    original = copy.deepcopy(original).double().eval()
    converted.set_train(False)
    names = ["id_logits", "color_logits", "type_logits", "embedding"]
    ours = dict(zip(names, converted(ms.Tensor(image_stack), ms.Tensor(keypoints)), strict=True))
    if not original.attributes:
        names = ["id_logits", "embedding"]
    with torch.no_grad():
        theirs = original(*(torch.from_numpy(x).double() for x in (image_stack, keypoints)))
    rows = [_row(name, value, ours[name]) for name, value in zip(names, theirs, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _stages(network: DenseNet121) -> Iterator[tuple[str, Callable[[ms.Tensor], ms.Tensor]]]:
    yield "conv0", network.conv0
    yield "norm0", network.norm0
    yield "relu0", network.relu
    yield "pool0", lambda x: network.pool0(network.pad0(x))
    for block in range(1, len(BLOCK_LAYERS) + 1):
        yield f"denseblock{block}", getattr(network, f"denseblock{block}")
        if block < len(BLOCK_LAYERS):
            yield f"transition{block}", getattr(network, f"transition{block}")
    yield "norm5", network.norm5


def _row(name: str, theirs: torch.Tensor, ours: ms.Tensor) -> list[object]:
    expected, got = theirs.numpy(), ours.asnumpy()
    if expected.shape != got.shape:
        raise ValueError(f"{name}: the original gives {expected.shape}, converted {got.shape}")
    return [name, expected.shape, np.abs(expected).max(), np.abs(expected - got).max()]
