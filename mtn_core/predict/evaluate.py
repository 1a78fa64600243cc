"""Evaluation of checkpoints: embed query and gallery, compare, write the results into a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms

from mtn_core.config import Config, config_from_dict, with_overrides
from mtn_core.data.source import open_source
from mtn_core.data.split import Split, load_split
from mtn_core.device import Device
from mtn_core.errors import CheckpointError, RunFolderError
from mtn_core.files import sha256_of, write_json
from mtn_core.models.checkpoint import Checkpoint, load_checkpoint
from mtn_core.predict.histogram import color_histogram_result
from mtn_core.predict.mindspore import Embedder
from mtn_core.results import RetrievalResult
from mtn_core.runs import (
    CONFIG_FILE,
    RESULTS_FILE,
    claim_run_folder,
    config_sha256,
    describe_environment,
    read_run_config,
    write_run_context,
)

BASELINES_FILE = "baselines.json"


def embed_and_compare(
    embedder: Embedder,
    query: Split,
    gallery: Split,
    config: Config,
    provenance: Mapping[str, Any] | None = None,
) -> RetrievalResult:
    """Embed both splits and evaluate the one against the other."""
    embeddings = [
        embedder.embed(split, config.data, config.eval.batch_size) for split in (query, gallery)
    ]
    return RetrievalResult.from_embeddings(
        *embeddings,
        metric=config.eval.metric,
        max_rank=config.eval.max_rank,
        provenance=provenance,
    )


def evaluate_checkpoint(
    ckpt_path: Path,
    root: Path,
    device: Device,
    *,
    config: Config | None = None,
    heatmaps: bool | None = None,
    segments: bool | None = None,
) -> RetrievalResult:
    """Evaluate a checkpoint on the query and gallery of a data root.

    Args:
        ckpt_path: Written by training.
        root: The folder that holds ``veri/``.
        device: From :func:`mtn_core.device.setup_device`.
        config: For batch size, workers and metric; by default the metric that the training used.
        heatmaps: What the caller believes the network sees; checked against the checkpoint.
        segments: Likewise.

    Raises:
        CheckpointError: The checkpoint sees other inputs than it was said to.
    """
    checkpoint = load_checkpoint(ckpt_path)
    model = checkpoint.model_config
    for flag, wanted, has in (
        ("heatmapaware", heatmaps, model.heatmaps),
        ("segmentaware", segments, model.segments),
    ):
        if wanted is not None and wanted != has:
            raise CheckpointError(
                f"{ckpt_path} was trained with --{flag} {has}, but --{flag} {wanted} was given; "
                f"the network has {model.in_channels} input channels. Leave the flag out to use "
                "what the checkpoint says"
            )
    if config is None:
        config = with_overrides(
            Config(), {"eval.metric": checkpoint.meta.get("metric", "euclidean")}
        )
    config = config.model_copy(update={"model": model})
    query, gallery = load_evaluation(root, config)
    embedder = Embedder(model, device)
    embedder.load(checkpoint.weights, ckpt_path)
    provenance = {
        "checkpoint_sha256": sha256_of(ckpt_path),
        "config_sha256": checkpoint.meta.get("config_sha256", config_sha256(config)),
        "recipe": checkpoint.meta.get("recipe"),
        "epoch": checkpoint.meta.get("epoch"),
        "seed": checkpoint.meta.get("seed"),
        "maps": [name for name in ("heatmaps", "segments") if getattr(model, name)],
        "keypoints": model.keypoints,
    }
    return embed_and_compare(embedder, query, gallery, config, provenance)


def evaluate_untrained(config: Config, root: Path, device: Device) -> RetrievalResult:
    """The same network with its random start, as a baseline.

    Args:
        config: With ``model.num_ids`` known, such as the resolved configuration of a run.
        root: The folder that holds ``veri/``.
        device: From :func:`mtn_core.device.setup_device`.
    """
    query, gallery = load_evaluation(root, config)
    ms.set_seed(config.train.seed)
    return embed_and_compare(Embedder(config.model, device), query, gallery, config)


def load_evaluation(root: Path, config: Config) -> tuple[Split, Split]:
    """Query and gallery of a root; what the network needs is there, packed or in folders."""
    splits = load_split(root, "query"), load_split(root, "test")
    for split in splits:
        open_source(split, heatmaps=config.model.heatmaps, segments=config.model.segments)
    return splits


def evaluate_into_run(
    ckpt_path: Path,
    root: Path,
    out: Path,
    device: Device,
    *,
    heatmaps: bool | None = None,
    segments: bool | None = None,
    overrides: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> RetrievalResult:
    """Evaluate a checkpoint and write the results into a run folder.

    The folder may be the one that the checkpoint was trained in: then its configuration stays, and
    results are added. Any other folder that holds a run is refused unless ``overwrite``.

    Args:
        ckpt_path: Written by training.
        root: The folder that holds ``veri/``.
        out: Run folder.
        device: From :func:`mtn_core.device.setup_device`.
        heatmaps: See :func:`evaluate_checkpoint`.
        segments: Likewise.
        overrides: Dotted keys of the ``eval`` and ``data`` sections.
        overwrite: Replace results that are there.

    Raises:
        RunFolderError: ``out`` holds results, or another run.
    """
    checkpoint = load_checkpoint(ckpt_path)
    own = _is_own_run(out, checkpoint)
    if own and (out / RESULTS_FILE).exists() and not overwrite:
        raise RunFolderError(f"{out} already holds results; give --overwrite to replace them")
    if not own and device.is_main:
        claim_run_folder(out, overwrite=overwrite)
    metric = checkpoint.meta.get("metric", "euclidean")
    config = config_from_dict(
        {"recipe": checkpoint.meta.get("recipe") or "eval", "eval": {"metric": metric}}, overrides
    )
    config = config.model_copy(update={"model": checkpoint.model_config})
    if not own and device.is_main:
        write_run_context(
            out,
            config,
            environment=describe_environment(**device.to_dict()),
            command="eval",
            root=str(root),
            device_target=device.target,
            rank_size=device.rank_size,
            checkpoint=str(ckpt_path),
        )
    result = evaluate_checkpoint(
        ckpt_path, root, device, config=config, heatmaps=heatmaps, segments=segments
    )
    if device.is_main:
        result.save(out)
    return result


def write_baselines(config: Config, root: Path, run_dir: Path, device: Device) -> dict[str, Any]:
    """Evaluate the untrained network and a plain colour histogram; write ``baselines.json``.

    Returns:
        ``{"untrained": {"mAP": ..., "rank1": ...}, "color_histogram": {...}}``, fractions.
    """
    query, gallery = load_evaluation(root, config)
    results = {
        "untrained": evaluate_untrained(config, root, device),
        "color_histogram": color_histogram_result(query, gallery),
    }
    baselines = {
        name: {"mAP": r.mAP, "mINP": r.mINP, "rank1": float(r.cmc[0])}
        for name, r in results.items()
    }
    if device.is_main:
        write_json(run_dir / BASELINES_FILE, baselines)
    return baselines


def _is_own_run(out: Path, checkpoint: Checkpoint) -> bool:
    if not (out / CONFIG_FILE).is_file():
        return False
    config, context = read_run_config(out)
    if context.get("command") != "train":
        return False
    return config_sha256(config) == checkpoint.meta.get("config_sha256")
