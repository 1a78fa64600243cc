"""Is the converted network the original? Both see one input and are compared stage by stage.

The original is the NumPy reference, or PyTorch's (``torch_twin``) where torch is installed. Either
runs in float64, so that the difference is the rounding of the converted network alone.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import mindspore as ms
import numpy as np
import pandas as pd

from mtn_core.convert import reference
from mtn_core.convert.multitask import Conversion
from mtn_core.convert.names import BACKBONE, canonical_name
from mtn_core.errors import CheckpointError
from mtn_core.models.checkpoint import load_weights
from mtn_core.models.densenet import BLOCK_LAYERS, DenseNet121

TOLERANCE = 1e-4
COLUMNS = ["stage", "shape", "largest_value", "largest_difference"]


def check_backbone(
    arrays: Mapping[str, np.ndarray],
    conversion: Conversion,
    *,
    original: Literal["numpy", "torch"] = "numpy",
    image_size: int = 64,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare a converted backbone with the file that it came from, on random images.

    Args:
        arrays: What :func:`mtn_core.convert.read.read_state_dict` read.
        conversion: What became of it.
        original: What runs the file's weights: the NumPy reference, or PyTorch.
        image_size: Side of the images, a multiple of 32.
        seed: Seed of the images.

    Returns:
        The table of :func:`compare_backbones`.

    Raises:
        CheckpointError: A stage differs by more than ``TOLERANCE``, or where its values exceed 1
            by more than that share of the largest: float32 cannot do better in a file whose
            features are large.
    """
    weights = {canonical_name(name): array for name, array in arrays.items()}
    weights = {n: a for n, a in weights.items() if n.startswith(("conv", "norm", "dense", "trans"))}
    channels = weights["conv0.weight"].shape[1]
    stack = np.random.default_rng(seed).normal(size=(2, channels, image_size, image_size))
    stack = stack.astype(np.float32)
    if original == "torch":
        from mtn_core.convert import torch_twin

        features = torch_twin.create_features(channels)
        torch_twin.load_backbone(features, weights)
        expected = torch_twin.stage_outputs(features, stack)
    else:
        expected = reference.stage_outputs(weights, stack)
    backbone = DenseNet121(channels)
    converted = {n.removeprefix(BACKBONE): a for n, a in conversion.parameters.items()}
    own = backbone.parameters_dict()
    load_weights(backbone, {n: converted[n] for n in own}, conversion.report.source)
    table = compare_backbones(expected, backbone, stack)
    allowed = TOLERANCE * table["largest_value"].clip(lower=1)
    wrong = table.loc[table["largest_difference"] > allowed, "stage"].tolist()
    if wrong:
        raise CheckpointError(
            f"{conversion.report.source}: converted features differ from the original's by more "
            f"than {TOLERANCE} from {wrong[0]} on:\n{table.to_string(index=False)}"
        )
    return table


def compare_backbones(
    expected: Mapping[str, np.ndarray], converted: DenseNet121, image_stack: np.ndarray
) -> pd.DataFrame:
    """Compare feature maps after every stage.

    Args:
        expected: The original's maps by stage, from ``stage_outputs`` of
            :mod:`mtn_core.convert.reference` or :mod:`mtn_core.convert.torch_twin`.
        converted: The same weights, converted.
        image_stack: ``(N, C, H, W)`` float32, what ``expected`` was made from.

    Returns:
        One row a stage, and one for the ``whole`` backbone in a single call: ``stage``, ``shape``,
        ``largest_value`` (of the original), ``largest_difference``; both are maxima of absolute
        values.

    Raises:
        CheckpointError: A stage has another shape.
    """
    converted.set_train(False)
    x = ms.Tensor(image_stack)
    rows = []
    for name, stage in _stages(converted):
        x = stage(x)
        rows.append(_row(name, expected[name], x.asnumpy()))
    # The stages were called one by one; the network itself must chain them the same way.
    whole = converted(ms.Tensor(image_stack)).asnumpy()
    rows.append(_row("whole", expected["norm5"], whole))
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


def _row(name: str, expected: np.ndarray, got: np.ndarray) -> list[object]:
    if expected.shape != got.shape:
        raise CheckpointError(f"{name}: the original gives {expected.shape}, converted {got.shape}")
    return [name, expected.shape, np.abs(expected).max(), np.abs(expected - got).max()]
