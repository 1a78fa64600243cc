"""Where the numbers come from: commit, hashes, seed, versions, device, duration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.report.sources import RunSource

UNRECORDED = "not recorded"


def describe_provenance(run: RunSource) -> list[tuple[str, str]]:
    """Facts about a run as ``(name, value)``; what the run did not write down says so."""
    config, environment = run.config, run.environment
    provenance = run.result.provenance
    protocol = run.result.protocol
    if run.is_foreign:
        return [
            ("Run", run.folder.name),
            ("Query embeddings", _text(provenance.get("query_file"))),
            ("Gallery embeddings", _text(provenance.get("gallery_file"))),
            ("Width", f"{provenance.get('width', '?')} numbers per image"),
            ("Distance", _text(protocol.get("metric"))),
            ("Query labels", shorten_hash(protocol.get("query_sha256"))),
            ("Gallery labels", shorten_hash(protocol.get("gallery_sha256"))),
            *_describe_pictures(run),
            ("Evaluated with", _describe_versions(_without_networks(environment))),
        ]
    model = _section(config, "model")
    return [
        ("Run folder", run.folder.name),
        ("Recipe", _text(config.get("recipe"))),
        ("Network input", _describe_input(model)),
        ("Protocol", run.result.rule.to_text()),
        ("Distance", _text(protocol.get("metric"))),
        ("Seed", _text(_section(config, "train").get("seed", config.get("seed")))),
        ("Commit", _text(environment.get("git_commit"))),
        ("Configuration", shorten_hash(provenance.get("config_sha256"))),
        ("Checkpoint", shorten_hash(provenance.get("checkpoint_sha256"))),
        ("Query labels", shorten_hash(protocol.get("query_sha256"))),
        ("Gallery labels", shorten_hash(protocol.get("gallery_sha256"))),
        ("Data", ", ".join(shorten_path(root) for root in run.crops.roots) or UNRECORDED),
        ("Versions", _describe_versions(environment)),
        ("Device", _describe_device(config, environment)),
        ("Duration", describe_duration(run.train, run.validation)),
    ]


def _without_networks(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The environment without what runs networks: it had no part in another's embeddings."""
    packages = environment.get("packages")
    kept = (
        {k: v for k, v in packages.items() if not k.startswith(("mindspore", "onnxruntime"))}
        if isinstance(packages, Mapping)
        else {}
    )
    return {**environment, "packages": kept}


def _describe_pictures(run: RunSource) -> list[tuple[str, str]]:
    roots = ", ".join(shorten_path(root) for root in run.crops.roots)
    return [("Pictures", roots)] if roots else []


def describe_duration(train: pd.DataFrame | None, validation: pd.DataFrame | None) -> str:
    """Time spent in training steps and in evaluation during training, as far as it was logged."""
    if train is None:
        return "evaluated only"
    spent = [train[name].sum() / 1e3 for name in ("step_ms", "data_wait_ms") if name in train]
    if "step_ms" not in train:
        return f"{len(train)} steps, time {UNRECORDED}"
    seconds = float(np.nansum(spent))
    text = f"{format_seconds(seconds)} in {len(train)} steps"
    if validation is not None and "seconds" in validation:
        text += f", {format_seconds(float(validation['seconds'].sum()))} in evaluations"
    return text


def format_seconds(seconds: float) -> str:
    """``93`` as ``1 min 33 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def shorten_hash(sha256: Any) -> str:
    """The first 16 digits of a hash, which tell any two apart; the page has the whole below."""
    return UNRECORDED if not sha256 else f"SHA-256 {str(sha256)[:16]}…"


def shorten_path(path: str | Path) -> str:
    """A path without the folders above its last two, which say more of a machine than of data."""
    path = Path(path)
    return path.as_posix() if not path.is_absolute() else "…/" + "/".join(path.parts[1:][-2:])


def shorten_paths(value: Any) -> Any:
    """Copy of nested settings with absolute paths shortened."""
    if isinstance(value, Mapping):
        return {key: shorten_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shorten_paths(item) for item in value]
    if isinstance(value, str) and value.startswith("/"):
        return shorten_path(value)
    return value


def _describe_input(model: Mapping[str, Any]) -> str:
    if not model:
        return UNRECORDED
    parts = ["RGB"]
    parts += [name for name in ("heatmaps", "segments", "keypoints") if model.get(name)]
    size = model.get("image_size")
    return " + ".join(parts) + (f", {size}x{size} pixels" if size else "")


def _describe_versions(environment: Mapping[str, Any]) -> str:
    packages = _section(environment, "packages") or _section(environment, "versions")
    for name in ("mtn_core", "python"):
        if environment.get(name):
            packages = {name: environment[name], **packages}
    shown = [f"{name} {version}" for name, version in packages.items() if version]
    return ", ".join(shown) or UNRECORDED


def _describe_device(config: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    device = environment.get("device")
    device = device if isinstance(device, Mapping) else {}
    target = device.get("target") or config.get("device_target") or environment.get("device_target")
    size = device.get("rank_size") or config.get("rank_size") or 1
    parts = [str(target)] if target else []
    parts += [f"{size} processes"] if size != 1 else []
    parts += [str(environment[k]) for k in ("processor", "platform") if environment.get(k)]
    return ", ".join(parts) or UNRECORDED


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _text(value: Any) -> str:
    return UNRECORDED if value is None or value == "" else str(value)
