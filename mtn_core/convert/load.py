"""Start a network from pretrained weights that were made for other inputs or other classes."""

import re
from pathlib import Path

import mindspore as ms
import numpy as np

from mtn_core.convert.multitask import (
    STEM_INPUTS,
    ConversionReport,
    check_fit,
    convert_file,
    convert_state_dict,
)
from mtn_core.convert.names import BACKBONE, MINDCV_RESNET_SIGN, MINDCV_SIGN
from mtn_core.errors import CheckpointError
from mtn_core.models.checkpoint import load_checkpoint
from mtn_core.models.multitask import MultiTaskNet
from mtn_core.models.stem import RGB_CHANNELS
from mtn_core.vehicle import NUM_KEYPOINTS, NUM_SEGMENTS

_DENSENET_STEM, _RESNET_STEM = f"{BACKBONE}conv0.weight", f"{BACKBONE}conv1.weight"
# Everything that some MultiTaskNet has besides its backbone.
_HEAD_PARTS = frozenset(
    [
        "pool",
        "fc_id",
        "neck",
        "classifier_id",
        "fc_color",
        "classifier_color",
        "fc_type",
        "classifier_type",
        "parts",
    ]
)


def load_pretrained(network: MultiTaskNet, path: str | Path) -> ConversionReport:
    """Put pretrained weights into a network, as far as they fit.

    The backbone must fit completely but for its first filters: those for RGB are taken, those for
    heatmaps and segments where the file has them, else they keep their own initial values. Heads
    are taken where name and shape agree; the report says what was not.

    Args:
        network: Changed in place, and not at all when the file is refused.
        path: A ``.ckpt`` from ``mtn convert``, ``mtn train`` or MindCV, or a PyTorch file to be
            converted.

    Returns:
        What was mapped, what was skipped and why, and what keeps its initial value and why.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, or holds something else than the network's backbone
            or a MultiTaskNet on it.
    """
    path = Path(path)
    arrays = _read(path)
    backbone = network.config.backbone
    stem_name = _DENSENET_STEM if backbone == "densenet121" else _RESNET_STEM
    if stem_name not in arrays and {_DENSENET_STEM, _RESNET_STEM} & arrays.keys():
        theirs = "DenseNet-121" if _DENSENET_STEM in arrays else "ResNet-50"
        raise CheckpointError(
            f"{path} holds a {theirs}, and this network stands on model.backbone={backbone}; "
            "change the recipe or the file"
        )
    if backbone == "resnet50_ibn_a":
        arrays = _split_norms(arrays)
    current = {name: p.asnumpy() for name, p in network.parameters_dict().items()}
    _check_backbone(arrays, current, stem_name, path)

    report = ConversionReport(path.name, "pretrained weights for MultiTaskNet")
    values: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if name not in current:
            report.skipped[name] = "this network is built without it"
        elif name == stem_name:
            values[name] = _merge_stem(name, array, current[name], report)
        elif array.shape == current[name].shape:
            values[name] = array
        else:
            reason = _explain_shape(name, array.shape, current[name].shape)
            report.skipped[name] = report.kept[name] = reason
    report.mapped.update({name: name for name in values})
    report.kept.update({name: "not in the file" for name in current if name not in arrays})
    parameters = network.parameters_dict()
    for name, value in values.items():
        parameter = parameters[name]
        parameter.set_data(ms.Tensor(value, parameter.dtype))
    return report


def _read(path: Path) -> dict[str, np.ndarray]:
    """Arrays by the network's names."""
    if path.suffix != ".ckpt":
        return convert_file(path).parameters
    arrays = load_checkpoint(path).weights
    if MINDCV_SIGN in arrays:
        return convert_state_dict(arrays, str(path)).parameters
    if MINDCV_RESNET_SIGN in arrays:
        # ImageNet's classes are not vehicles; the other names are the backbone's own.
        return {
            BACKBONE + name: array
            for name, array in arrays.items()
            if not name.startswith("classifier.")
        }
    return arrays


def _split_norms(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of a plain ResNet-50 for one with IBN-a.

    Both halves of a norm begin with the scale and shift that the batch norm had; what the instance
    norm does without, the moving statistics of its channels, is left out.
    """
    split: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        norm, _, value = name.rpartition(".")
        if re.fullmatch(rf"{BACKBONE}layer[123]\.\d+\.bn1", norm):
            half = len(array) // 2
            split[f"{norm}.norm.{value}"] = array[half:]
            if value in ("gamma", "beta"):
                split[f"{norm}.instance_{value}"] = array[:half]
        else:
            split[name] = array
    return split


def _check_backbone(
    arrays: dict[str, np.ndarray], current: dict[str, np.ndarray], stem_name: str, path: Path
) -> None:
    known = {n: a for n, a in arrays.items() if n.split(".")[0] not in _HEAD_PARTS}
    expected = {n: a.shape for n, a in current.items() if n.startswith(BACKBONE)}
    stem = known.get(stem_name)
    if stem is not None and stem.ndim == 4 and stem.shape[1] in STEM_INPUTS:
        expected[stem_name] = (expected[stem_name][0], stem.shape[1], *expected[stem_name][2:])
    check_fit(known, expected, str(path))
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite")


def _merge_stem(
    name: str, stem: np.ndarray, own: np.ndarray, report: ConversionReport
) -> np.ndarray:
    """The network's filters with all of the file's that look at the same channels."""
    merged = own.copy()
    merged[:, :RGB_CHANNELS] = stem[:, :RGB_CHANNELS]
    theirs, ours = _map_channels(stem.shape[1]), _map_channels(own.shape[1])
    for maps in ("heatmaps", "segments"):
        label = f"{name} [{maps}]"
        if maps in theirs and maps in ours:
            merged[:, ours[maps]] = stem[:, theirs[maps]]
        elif maps in ours:
            report.kept[label] = f"the file's network sees no {maps}"
        elif maps in theirs:
            report.skipped[label] = f"this network sees no {maps}"
    return merged


def _map_channels(in_channels: int) -> dict[str, slice]:
    heatmaps, segments = STEM_INPUTS[in_channels]
    channels = {}
    start = RGB_CHANNELS
    for name, used, count in (
        ("heatmaps", heatmaps, NUM_KEYPOINTS),
        ("segments", segments, NUM_SEGMENTS),
    ):
        if used:
            channels[name] = slice(start, start + count)
            start += count
    return channels


def _explain_shape(name: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> str:
    if name.startswith("classifier_"):
        return f"the file has {theirs[0]} classes, this network {ours[0]}"
    if name.startswith("fc_"):
        return (
            f"the file's layer has {theirs[-1]} inputs, this network's {ours[-1]}: "
            "only one of them sees keypoints"
        )
    return f"shape {theirs} in the file, {ours} in this network"
