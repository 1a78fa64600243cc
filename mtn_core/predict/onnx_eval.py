"""The full evaluation through onnxruntime; MindSpore is not needed."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from mtn_core.config import Config, DataConfig, config_from_dict
from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.source import open_source
from mtn_core.data.split import Split, load_split
from mtn_core.files import explain_full_disk, sha256_of
from mtn_core.predict.model_json import ModelSpec, check_flags
from mtn_core.predict.onnx import OnnxModel
from mtn_core.results import Embeddings, RetrievalResult
from mtn_core.runs import (
    claim_run_folder,
    config_sha256,
    describe_environment,
    write_run_context,
)


def embed_split(
    model: OnnxModel,
    split: Split,
    *,
    batch_size: int = 32,
    num_workers: int | None = None,
    progress: bool = True,
) -> Embeddings:
    """Embed every image of a split, in the split's order.

    Args:
        model: Exported model.
        split: Any split.
        batch_size: Images a run.
        num_workers: Decoding threads; by default as many as the machine has processors.
        progress: Show a bar on a terminal.
    """
    spec = model.spec
    outputs, sizes = [], []
    loader = EvalLoader(
        split,
        data=DataConfig(num_workers=num_workers),
        model=spec.network,
        batch_size=min(batch_size, len(split)),
        packed=can_read_packs(),
    )
    with loader:
        bar = tqdm(
            loader,
            desc=f"embedding {split.name}",
            unit="batch",
            disable=None if progress and not os.environ.get("TQDM_DISABLE") else True,
            leave=False,
        )
        for batch in bar:
            used = batch["index"] >= 0
            result = model.run(batch)
            outputs.append({name: value[used] for name, value in result.items()})
            sizes.append(batch["size"][used])
    values = {name: np.concatenate([o[name] for o in outputs]) for name in spec.outputs}
    return to_embeddings(split, spec, values, np.concatenate(sizes))


def can_read_packs() -> bool:
    """Packs are read by MindSpore; without it the plain folders serve."""
    return find_spec("mindspore") is not None


def to_embeddings(
    split: Split, spec: ModelSpec, outputs: dict[str, np.ndarray], sizes: np.ndarray
) -> Embeddings:
    """Join a model's outputs with the labels of the split that they belong to."""
    # A network without attribute heads gives zeros, which name no class.
    attributes = spec.network.attributes
    return Embeddings.of_split(
        split,
        features=outputs["embedding"],
        color_logits=outputs["color_logits"] if attributes else None,
        type_logits=outputs["type_logits"] if attributes else None,
        sizes=sizes,
    )


def evaluation_config(spec: ModelSpec, batch_size: int) -> Config:
    """The configuration that the evaluation of an exported model amounts to."""
    values = {
        "recipe": spec.recipe or "eval",
        "eval": {"metric": spec.metric, "batch_size": batch_size},
    }
    return config_from_dict(values).model_copy(update={"model": spec.network})


def provenance_of(spec: ModelSpec, path: Path, config: Config, backend: str) -> dict[str, object]:
    """Where a result came from: the checkpoint, and the exported file that was run."""
    return {
        "checkpoint_sha256": spec.checkpoint_sha256,
        "config_sha256": spec.config_sha256 or config_sha256(config),
        "recipe": spec.recipe,
        "epoch": spec.epoch,
        "seed": spec.seed,
        "maps": [m for m in ("heatmaps", "segments") if getattr(spec.network, m)],
        "keypoints": spec.network.keypoints,
        "backend": backend,
        "model_file": path.name,
        "model_sha256": sha256_of(path),
    }


def evaluate_onnx(
    model: OnnxModel, root: str | Path, *, batch_size: int = 32, progress: bool = True
) -> RetrievalResult:
    """Evaluate an exported model on the query and gallery of a data root."""
    splits = load_split(root, "query"), load_split(root, "test")
    network = model.spec.network
    for split in splits:
        open_source(
            split,
            heatmaps=network.heatmaps,
            segments=network.segments,
            packed=can_read_packs(),
        )
    config = evaluation_config(model.spec, batch_size)
    return RetrievalResult.from_embeddings(
        *(embed_split(model, s, batch_size=batch_size, progress=progress) for s in splits),
        metric=config.eval.metric,
        max_rank=config.eval.max_rank,
        provenance=provenance_of(model.spec, model.path, config, "onnxruntime"),
    )


def evaluate_onnx_into_run(
    onnx_path: str | Path,
    root: str | Path,
    out: str | Path,
    *,
    device_target: str = "CPU",
    device_id: int = 0,
    batch_size: int = 32,
    heatmaps: bool | None = None,
    segments: bool | None = None,
    overwrite: bool = False,
) -> RetrievalResult:
    """Evaluate an ONNX file and write the results into a run folder.

    Args:
        onnx_path: Written by `mtn export`.
        root: The folder that holds ``veri/``.
        out: Run folder.
        device_target: ``CPU`` or ``GPU``.
        device_id: CUDA device.
        batch_size: Images a run.
        heatmaps: What the caller believes the network sees; checked against the file.
        segments: Likewise.
        overwrite: Replace results that are there.

    Raises:
        ConfigError: The model sees other inputs than it was said to.
        DeviceError: The device is not available.
        RunFolderError: ``out`` holds results.
    """
    model = OnnxModel(onnx_path, device_target=device_target, device_id=device_id)
    check_flags(model.spec, model.path, heatmaps=heatmaps, segments=segments)
    out = claim_run_folder(out, overwrite=overwrite)
    write_run_context(
        out,
        evaluation_config(model.spec, batch_size),
        environment=describe_environment(target=device_target, device_id=device_id),
        command="eval-onnx",
        root=str(root),
        device_target=device_target,
        checkpoint=str(onnx_path),
    )
    result = evaluate_onnx(model, root, batch_size=batch_size)
    with explain_full_disk(out):
        result.save(out)
    return result
