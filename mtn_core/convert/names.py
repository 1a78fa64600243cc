"""What torchvision, MindCV and PAMTRI's original call the parameters of DenseNet-121."""

import re
from collections.abc import Iterable

BACKBONE = "backbone."
MINDCV_SIGN = "features.norm0.gamma"  # torchvision says features.norm0.weight
MINDCV_RESNET_SIGN = "layer1.0.bn1.gamma"

_NORM_VALUES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_HEADS = {
    "fc": "fc_id",
    "fc_vid": "fc_id",
    "fc_vcolor": "fc_color",
    "fc_vtype": "fc_type",
    "classifier_vid": "classifier_id",
    "classifier_vcolor": "classifier_color",
    "classifier_vtype": "classifier_type",
}
_COUNTER = "counts training batches for a running mean, which MindSpore does without"
_IMAGENET = "ImageNet's 1000 classes are not vehicles"


def match_names(names: Iterable[str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Sort parameter names of PyTorch files and of MindCV's checkpoints.

    Args:
        names: Names in the file.

    Returns:
        Name -> the network's name; name -> why it is skipped on purpose; names nobody knows.
    """
    mapped, skipped, strangers = {}, {}, []
    for name in names:
        parts = canonical_name(name).split(".")
        if parts[-1] == "num_batches_tracked":
            skipped[name] = _COUNTER
        elif parts[0] == "classifier":
            skipped[name] = _IMAGENET
        elif parts[0] in _HEADS and len(parts) == 2 and parts[1] in ("weight", "bias"):
            mapped[name] = f"{_HEADS[parts[0]]}.{parts[1]}"
        elif target := _backbone_name(parts):
            mapped[name] = BACKBONE + target
        else:
            strangers.append(name)
    return mapped, skipped, strangers


def canonical_name(name: str) -> str:
    """``features.denselayer2.norm.1.bias`` -> ``denselayer2.norm1.bias``, the newer spelling.

    MindCV's cells lie a level deeper: ``features.denseblock1.cell_list.0.norm1.gamma`` ->
    ``denseblock1.0.norm1.gamma``, ``features.transition1.features.conv.weight`` ->
    ``transition1.conv.weight``.
    """
    name = re.sub(r"^(features|base)\.", "", name)
    name = re.sub(r"^(denseblock\d+)\.cell_list\.|^(transition\d+)\.features\.", r"\1\2.", name)
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name)


def _backbone_name(parts: list[str]) -> str | None:
    *path, value = parts
    if not path or not re.fullmatch(r"(norm|conv)\d?", path[-1]):
        return None
    if path[-1].startswith("norm"):
        value = _NORM_VALUES.get(value, value)
        if value not in _NORM_VALUES.values():
            return None
    elif value != "weight":
        return None
    # Layers are numbered from 1 there and from 0 in a SequentialCell.
    path = [re.sub(r"^denselayer(\d+)$", lambda m: str(int(m[1]) - 1), part) for part in path]
    return ".".join([*path, value])
