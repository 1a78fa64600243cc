"""Pretrained weights under the names of MultiTaskNet, every one of them accounted for.

Known layouts are torchvision's DenseNet-121 (``features.*``, in both spellings of its layers),
MindCV's (``features.denseblock1.cell_list.*``) and the PyTorch original of PAMTRI (``base.*`` with
``fc_vid``, ``classifier_vcolor`` ...).
"""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mtn_core.config import ModelConfig
from mtn_core.convert.names import BACKBONE, MINDCV_SIGN, match_names
from mtn_core.convert.read import read_state_dict
from mtn_core.errors import CheckpointError, RunFolderError, first_offenders
from mtn_core.files import refuse_existing, sha256_of
from mtn_core.models.checkpoint import save_checkpoint
from mtn_core.models.densenet import NUM_FEATURES, DenseNet121
from mtn_core.models.multitask import KEYPOINT_VALUES, MultiTaskNet
from mtn_core.models.stem import RGB_CHANNELS
from mtn_core.runs import RunFolder, run_of
from mtn_core.vehicle import NUM_KEYPOINTS, NUM_SEGMENTS

# Which maps a stem sees, by its number of input channels: (heatmaps, segments).
STEM_INPUTS = {
    RGB_CHANNELS: (False, False),
    RGB_CHANNELS + NUM_KEYPOINTS: (True, False),
    RGB_CHANNELS + NUM_SEGMENTS: (False, True),
    RGB_CHANNELS + NUM_KEYPOINTS + NUM_SEGMENTS: (True, True),
}
_NO_EMBEDDING = (
    "belongs to an original without keypoints and attributes, which classifies pooled features; "
    "here a layer lies between"
)


@dataclass(frozen=True)
class ConversionReport:
    """What became of every parameter.

    Attributes:
        source: The file that was read.
        layout: Whose names it uses.
        mapped: Name in the file -> name in the network.
        skipped: Name in the file -> why it was left out.
        kept: Name in the network -> why it keeps the value that it was initialised with.
    """

    source: str
    layout: str
    mapped: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Counts, and for what was left out the reason and the first names."""
        lines = [f"{self.source}: {self.layout}", f"mapped: {len(self.mapped)} parameters"]
        for verb, names in (("skipped", self.skipped), ("keeps its initial value", self.kept)):
            reasons = defaultdict(list)
            for name, reason in names.items():
                reasons[reason].append(name)
            for reason, group in reasons.items():
                lines.append(f"{verb}: {first_offenders(group, 2)} - {reason}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Conversion:
    """Converted weights.

    Attributes:
        parameters: float32 arrays under the network's names.
        model: The network that they are the whole of; None for a backbone alone.
        report: What became of every parameter.
    """

    parameters: dict[str, np.ndarray]
    model: ModelConfig | None
    report: ConversionReport


def convert_file(path: str | Path) -> Conversion:
    """Read a PyTorch or MindCV weight file and convert it; see :func:`convert_state_dict`."""
    return convert_state_dict(read_state_dict(path), source=Path(path).name)


def convert_state_dict(arrays: dict[str, np.ndarray], source: str = "state dict") -> Conversion:
    """Rename PyTorch or MindCV parameters to MultiTaskNet's and check that they fit.

    Args:
        arrays: Arrays by their name in the file, as :func:`read_state_dict` gives them.
        source: What to call the input in messages.

    Returns:
        The backbone's parameters, or with the heads of PAMTRI's original the whole network's.

    Raises:
        CheckpointError: A parameter is missing, unexpected, given twice, of another shape, or not
            finite.
    """
    mapped, skipped, strangers = match_names(arrays)
    _raise_if(source, "does not know the parameters", strangers)
    _raise_if(source, "gives twice", _duplicates(mapped))
    stem = _mapped_array(arrays, mapped, f"{BACKBONE}conv0.weight", source)
    if stem.ndim != 4 or stem.shape[1] not in STEM_INPUTS:
        raise CheckpointError(
            f"{source}: the first convolution must be (64, C, 7, 7) with C one of "
            f"{', '.join(str(c) for c in STEM_INPUTS)}, got {stem.shape}"
        )
    targets = set(mapped.values())
    if "fc_id.weight" in targets:
        model = _infer_model(arrays, mapped, source)
        expected = {p.name: p.shape for p in MultiTaskNet(model).get_parameters()}
        layout = "PAMTRI's PyTorch original, the whole network"
    else:
        heads = [name for name, target in mapped.items() if not target.startswith(BACKBONE)]
        skipped.update({name: _NO_EMBEDDING for name in heads})
        mapped = {name: target for name, target in mapped.items() if name not in heads}
        model = None
        backbone = DenseNet121(stem.shape[1])
        expected = {BACKBONE + p.name: p.shape for p in backbone.get_parameters()}
        layout = "MindCV's DenseNet-121" if MINDCV_SIGN in arrays else "DenseNet-121"
        layout = "PAMTRI's PyTorch original, backbone" if heads else layout
    parameters = {target: arrays[name] for name, target in mapped.items()}
    labels = {target: name for name, target in mapped.items()}
    check_fit(parameters, expected, source, labels)
    whole = [name for name in mapped if arrays[name].dtype.kind != "f"]
    _raise_if(source, "holds whole numbers where weights belong", whole)
    broken = [name for name in mapped if not np.isfinite(arrays[name]).all()]
    _raise_if(source, "holds values that are not finite in", broken)
    return Conversion(
        {name: np.ascontiguousarray(parameters[name]) for name in expected},
        model,
        ConversionReport(source, layout, mapped, skipped),
    )


def check_out(out: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a place to write to, before any work is done.

    Raises:
        CheckpointError: ``out`` is not named ``.ckpt``.
        RunFolderError: ``out`` exists and ``overwrite`` is false, or a run trained it: that is
            not replaced at all.
    """
    out = Path(out)
    if out.suffix != ".ckpt":
        raise CheckpointError(f"the output must be named .ckpt, got {out}")
    if out.is_dir():
        raise RunFolderError(f"{out} is a folder; give a name for the checkpoint")
    run = run_of(out) if out.exists() else None
    if run is not None and RunFolder(run).checkpoints in out.absolute().parents:
        raise RunFolderError(
            f"{out} is a checkpoint of the run {run} and is not written over; choose another --out"
        )
    refuse_existing(out, overwrite=overwrite)


def save_converted(conversion: Conversion, out: str | Path, source: str | Path) -> None:
    """Write converted weights as a checkpoint, whole or not at all.

    The checkpoint of a whole network says which network it is, so that ``mtn eval`` takes it as it
    is; a backbone is something to start training from.

    Args:
        conversion: What :func:`convert_file` gave.
        out: The ``.ckpt`` to write.
        source: The file that was converted, to be remembered by name and checksum.
    """
    meta = {
        "kind": "multitask" if conversion.model else "backbone",
        "source": {
            "file": Path(source).name,
            "sha256": sha256_of(source),
            "layout": conversion.report.layout,
        },
    }
    if conversion.model:
        meta["model"] = conversion.model.model_dump(mode="json")
    save_checkpoint(out, conversion.parameters, meta)


def check_fit(
    parameters: dict[str, np.ndarray],
    expected: dict[str, tuple[int, ...]],
    source: str,
    labels: dict[str, str] | None = None,
) -> None:
    """Raise a CheckpointError that lists what is missing, unexpected or of another shape.

    Args:
        parameters: Arrays by the network's names.
        expected: Shapes by the network's names.
        source: What to call the input in the message.
        labels: What the input itself calls a parameter, where that differs.
    """
    labels = labels or {}
    shapes = [
        f"{labels.get(name, name)} {tuple(parameters[name].shape)}, expected {tuple(shape)}"
        for name, shape in expected.items()
        if name in parameters and tuple(parameters[name].shape) != tuple(shape)
    ]
    problems = {
        "missing": [name for name in expected if name not in parameters],
        "unexpected": [labels.get(name, name) for name in parameters if name not in expected],
        "of another shape": shapes,
    }
    lines = [f"{what}: {first_offenders(names)}" for what, names in problems.items() if names]
    if lines:
        raise CheckpointError(f"{source} does not fit the network\n  " + "\n  ".join(lines))


def _mapped_array(
    arrays: dict[str, np.ndarray], mapped: dict[str, str], target: str, source: str
) -> np.ndarray:
    """The array that is mapped to ``target``; a CheckpointError where there is none."""
    for name, candidate in mapped.items():
        if candidate == target:
            return arrays[name]
    raise CheckpointError(
        f"{source} holds no {target.removeprefix(BACKBONE)}: expected a DenseNet-121 of "
        "torchvision or MindCV, or PAMTRI's original, got parameters such as "
        f"{first_offenders(list(arrays))}"
    )


def _infer_model(arrays: dict[str, np.ndarray], mapped: dict[str, str], source: str) -> ModelConfig:
    def shape(target: str) -> tuple[int, ...]:
        return _mapped_array(arrays, mapped, target, source).shape

    heatmaps, segments = STEM_INPUTS[shape(f"{BACKBONE}conv0.weight")[1]]
    joined = shape("fc_id.weight")[-1]
    if joined not in (NUM_FEATURES, NUM_FEATURES + KEYPOINT_VALUES):
        raise CheckpointError(
            f"{source}: the identity layer must have {NUM_FEATURES} inputs, or "
            f"{NUM_FEATURES + KEYPOINT_VALUES} with keypoints, got {joined}"
        )
    classes = {"num_ids": shape("classifier_id.weight")[0]}
    attributes = "fc_color.weight" in mapped.values()
    if attributes:
        classes["num_colors"] = shape("classifier_color.weight")[0]
        classes["num_types"] = shape("classifier_type.weight")[0]
    return ModelConfig(
        heatmaps=heatmaps,
        segments=segments,
        keypoints=joined > NUM_FEATURES,
        attributes=attributes,
        **classes,
    )


def _duplicates(mapped: dict[str, str]) -> list[str]:
    sources = defaultdict(list)
    for name, target in mapped.items():
        sources[target].append(name)
    return [" and ".join(names) for names in sources.values() if len(names) > 1]


def _raise_if(source: str, what: str, names: list[str]) -> None:
    if names:
        raise CheckpointError(f"{source}: {what}: {first_offenders(names)}")
