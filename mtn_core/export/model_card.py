"""``model_card.md``: for people, what ``model.json`` says for programs."""

from pathlib import Path

from mtn_core.export.parity import TOLERANCE, largest
from mtn_core.files import write_text
from mtn_core.predict.model_json import ModelSpec, TensorSpec


def write_model_card(spec: ModelSpec, path: str | Path) -> None:
    """Write the card of an export."""
    write_text(path, model_card(spec))


def model_card(spec: ModelSpec) -> str:
    """Markdown text of the card."""
    network = spec.network
    sees = ["RGB"]
    sees += ["36 keypoint heatmaps"] * network.heatmaps
    sees += ["13 surface segments"] * network.segments
    lines = [
        f"# {spec.name}",
        "",
        "MultiTaskNet (PAMTRI, ICCV 2019): vehicle re-identification with colour and type.",
        "",
        f"- Sees: {', '.join(sees)}; keypoints {'used' if network.keypoints else 'ignored'}.",
        f"- Image size: {network.image_size} x {network.image_size}.",
        f"- Checkpoint: SHA-256 `{spec.checkpoint_sha256}`, recipe {spec.recipe or 'unknown'}, "
        f"epoch {'unknown' if spec.epoch is None else spec.epoch}.",
        f"- Exported by commit `{spec.commit or 'unknown'}` with "
        + ", ".join(f"{name} {version}" for name, version in spec.versions.items() if version)
        + ".",
        f"- Compare embeddings with {spec.metric} distance.",
        "",
        "## Files",
        "",
        "| file | format | precision | takes | MB | largest difference | mAP | Rank-1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, file in spec.files.items():
        difference = f"{largest(spec.parity[name]):.1e}" if name in spec.parity else "not measured"
        accuracy = spec.accuracy.get(name, {})
        takes = "normalised stack" if file.inputs == "stack" else "uint8 pixels and maps"
        form = file.format + (f" opset {spec.opset}" if file.format == "ONNX" else "")
        lines.append(
            f"| `{name}` | {form} | {file.precision} | {takes} | {file.bytes / 1e6:.1f} | "
            f"{difference} | {_percent(accuracy.get('mAP'))} | {_percent(accuracy.get('rank1'))} |"
        )
    lines += [
        "",
        "The largest difference is to the training network, on one batch; float32 files "
        f"above {TOLERANCE:g} are not exported.",
        "",
        "## Inputs of the files that take the normalised stack",
        "",
        *_tensor_table(spec.inputs),
    ]
    if any(file.inputs == "pixels" for file in spec.files.values()):
        lines += ["", "## Inputs of the file that takes pixels", ""]
        lines += _tensor_table(spec.pixel_inputs)
    lines += [
        "",
        "## Outputs",
        "",
        *_tensor_table(spec.outputs),
        "",
        "## Numbers and names",
        "",
        f"- RGB: x / 255, minus {list(spec.image_mean)}, divided by {list(spec.image_std)}.",
        f"- Maps: {spec.map_size} x {spec.map_size}, x / 255, minus {spec.map_mean}, divided by "
        f"{spec.map_std}, then bilinear (half-pixel centres) to the image size.",
        f"- Colours 1..{len(spec.color_names)}: {', '.join(spec.color_names)}.",
        f"- Types 1..{len(spec.type_names)}: {', '.join(spec.type_names)}.",
        f"- Vehicle identities: {len(spec.pids)}, in `model.json`; SHA-256 `{spec.pids_sha256}`.",
        "",
    ]
    return "\n".join(lines)


def _tensor_table(tensors: dict[str, TensorSpec]) -> list[str]:
    rows = ["| name | shape | type | content |", "|---|---|---|---|"]
    for name, tensor in tensors.items():
        shape = " x ".join(str(n) for n in tensor.shape)
        rows.append(f"| `{name}` | {shape} | {tensor.dtype} | {tensor.content} |")
    return rows


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
