"""HRNet weights of PyTorch under the names of PoseEstNet, every one of them accounted for.

Known layouts, all with the names of the original code: PAMTRI's PoseEstNet (36 keypoints), HRNet
for human pose (17 keypoints of COCO, 16 of MPII), HRNet for ImageNet (with ``incre_modules`` and a
classifier), the last one also as timm's ``.safetensors``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from mtn_core.convert.multitask import ConversionReport, check_fit
from mtn_core.convert.read import read_state_dict
from mtn_core.errors import CheckpointError, first_offenders
from mtn_core.files import sha256_of
from mtn_core.models.checkpoint import load_checkpoint, save_checkpoint
from mtn_core.pose.config import KIND, PoseModelConfig
from mtn_core.pose.network import PoseEstNet
from mtn_core.vehicle import NUM_KEYPOINTS

POSE_BACKBONE_KIND = "pose backbone"
_HEAD = "final_layer."
_NORM_VALUES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_COUNTER = "counts batches in PyTorch; nothing here needs it"
_CLASSIFIER = "belongs to ImageNet classification, behind the part that both share"
_CLASSIFIER_PATTERN = re.compile(r"(incre_modules|downsamp_modules|classifier|final_layer\.\d)\b")
_COARSE = "coarser outputs of the last module, which only classification uses"


@dataclass(frozen=True)
class PoseConversion:
    """Converted weights.

    Attributes:
        parameters: float32 arrays under PoseEstNet's names.
        model: Shape of the network that they belong to.
        has_head: Whether the keypoint head is among them.
        report: What became of every parameter.
    """

    parameters: dict[str, np.ndarray]
    model: PoseModelConfig
    has_head: bool
    report: ConversionReport


def is_posenet(arrays: dict[str, np.ndarray]) -> bool:
    """Whether PyTorch weights are those of an HRNet."""
    return {"conv1.weight", "stage2.0.branches.0.0.conv1.weight"} <= arrays.keys()


def convert_pose_file(path: str | Path) -> PoseConversion:
    """Read a PyTorch weight file and convert it; see :func:`convert_pose_state_dict`."""
    return convert_pose_state_dict(read_state_dict(path), Path(path).name)


def convert_pose_state_dict(
    arrays: dict[str, np.ndarray], source: str = "state dict"
) -> PoseConversion:
    """Rename an HRNet's PyTorch parameters to PoseEstNet's and check that they fit.

    Args:
        arrays: Arrays by their PyTorch name.
        source: What to call the input in messages.

    Raises:
        CheckpointError: It is no HRNet, or a parameter is missing, unexpected, of another shape, or
            not finite.
    """
    if not is_posenet(arrays):
        raise CheckpointError(
            f"{source} is not an HRNet: expected conv1.weight and stage2.0.branches.0.0.conv1."
            f"weight, got parameters such as {first_offenders(list(arrays))}"
        )
    has_head = f"{_HEAD}weight" in arrays
    model = _infer_model(arrays, has_head, source)
    expected = {name: tuple(p.shape) for name, p in PoseEstNet(model).parameters_dict().items()}
    if not has_head:
        expected = {name: s for name, s in expected.items() if not name.startswith(_HEAD)}
    last_fusion = f"stage4.{model.modules[2] - 1}.fuse_layers."
    report = ConversionReport(source, _name_layout(model, has_head))
    strangers = []
    for name in arrays:
        if name.endswith("num_batches_tracked"):
            report.skipped[name] = _COUNTER
        elif _CLASSIFIER_PATTERN.match(name):
            report.skipped[name] = _CLASSIFIER
        elif name.startswith(last_fusion) and not name.startswith(f"{last_fusion}0."):
            report.skipped[name] = _COARSE
        elif (target := _target_name(name, expected)) is not None:
            report.mapped[name] = target
        else:
            strangers.append(name)
    if strangers:
        raise CheckpointError(
            f"{source}: does not know the parameters: {first_offenders(strangers)}"
        )
    parameters = {target: arrays[name] for name, target in report.mapped.items()}
    check_fit(parameters, expected, source)
    broken = [name for name in report.mapped if not np.isfinite(arrays[name]).all()]
    if broken:
        raise CheckpointError(
            f"{source}: holds values that are not finite in: {first_offenders(broken)}"
        )
    ordered = {name: np.ascontiguousarray(parameters[name], np.float32) for name in expected}
    return PoseConversion(ordered, model, has_head, report)


def save_converted_pose(conversion: PoseConversion, out: str | Path, source: str | Path) -> None:
    """Write converted weights as a checkpoint, whole or not at all.

    With the head of 36 keypoints, ``mtn eval-pose`` and ``mtn trans`` take it as it is; anything
    else is something to start ``mtn train-pose`` from.
    """
    meta = {
        "kind": KIND if conversion.has_head else POSE_BACKBONE_KIND,
        "model": conversion.model.model_dump(mode="json"),
        "source": {
            "file": Path(source).name,
            "sha256": sha256_of(source),
            "layout": conversion.report.layout,
        },
    }
    save_checkpoint(out, conversion.parameters, meta)


def load_pretrained_pose(network: nn.Cell, path: str | Path) -> str:
    """Put pretrained weights into a PoseEstNet, all but a head for other keypoints.

    Args:
        network: Changed in place, and not at all when the file is refused.
        path: A ``.ckpt`` from ``mtn convert`` or ``mtn train-pose``, or a PyTorch file.

    Returns:
        What was taken and what was not, for the log.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, no HRNet, or one of another width or depth.
    """
    path = Path(path)
    if path.suffix == ".ckpt":
        arrays = load_checkpoint(path).weights
    else:
        arrays = convert_pose_file(path).parameters
    parameters = network.parameters_dict()
    expected = {name: tuple(p.shape) for name, p in parameters.items()}
    head = [name for name in expected if name.startswith(_HEAD)]
    skipped = ""
    if any(name not in arrays or arrays[name].shape != expected[name] for name in head):
        theirs = arrays.get(f"{_HEAD}weight")
        what = "no head" if theirs is None else f"a head for {len(theirs)} keypoints"
        skipped = f"; the file has {what}, so the head keeps its initial values"
        arrays = {name: a for name, a in arrays.items() if not name.startswith(_HEAD)}
        expected = {name: shape for name, shape in expected.items() if name not in head}
    check_fit(arrays, expected, f"{path} (another width, depth or network?)")
    for name, array in arrays.items():
        parameters[name].set_data(ms.Tensor(array, parameters[name].dtype))
    return f"{path.name}: {len(arrays)} parameters taken{skipped}"


def _infer_model(arrays: dict[str, np.ndarray], has_head: bool, source: str) -> PoseModelConfig:
    def count(pattern: str) -> int:
        found = [int(m[1]) for name in arrays if (m := re.match(pattern, name))]
        return max(found, default=-1) + 1

    stem = arrays["stage2.0.branches.0.0.conv1.weight"].shape
    modules = tuple(count(rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4))
    if len(stem) != 4 or min(modules) < 1:
        raise CheckpointError(
            f"{source} is not a whole HRNet: stages 2, 3 and 4 have {modules} modules"
        )
    return PoseModelConfig(
        width=stem[0],
        modules=modules,
        blocks=count(r"stage2\.0\.branches\.0\.(\d+)\."),
        num_keypoints=len(arrays[f"{_HEAD}weight"]) if has_head else NUM_KEYPOINTS,
    )


def _target_name(name: str, expected: dict[str, tuple[int, ...]]) -> str | None:
    if name in expected:
        return name
    cell, _, value = name.rpartition(".")
    target = f"{cell}.{_NORM_VALUES.get(value, value)}"
    return target if target in expected else None


def _name_layout(model: PoseModelConfig, has_head: bool) -> str:
    head = f"{model.num_keypoints} keypoints" if has_head else "ImageNet, without keypoints"
    return f"HRNet-W{model.width}, {head}"
