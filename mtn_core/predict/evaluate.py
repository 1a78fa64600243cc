"""Evaluation: embed query and gallery, compare, write the results into a run."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtn_core.config import Config, EvalConfig, ModelConfig, Recipe, config_from_dict
from mtn_core.data.layout import GALLERY
from mtn_core.data.leaks import warn_of_leaks
from mtn_core.data.protocol import read_protocol
from mtn_core.data.roles import count_roles, without_junk
from mtn_core.data.source import Source, open_source
from mtn_core.data.split import load_split
from mtn_core.errors import ConfigError
from mtn_core.files import explain_full_disk, write_json
from mtn_core.metrics.covisible import COVISIBLE, global_part
from mtn_core.pixel_limit import limited_pixels
from mtn_core.predict.backend import Backend, embed_split
from mtn_core.predict.histogram import HistogramBackend
from mtn_core.provenance import describe_environment
from mtn_core.results import RetrievalResult
from mtn_core.runs import RunFolder

Evaluation = tuple[Source, Source]
# What a network was trained as stands in its file; only these keys are the evaluation's.
_OWN_SECTION = "eval."
_OWN_KEYS = ("data.num_workers", "data.max_pixels")


def open_evaluation(root: str | Path, model: ModelConfig) -> Evaluation:
    """Query and gallery of a root, opened: what the network needs is there, packed or in folders.

    Args:
        root: The folder that holds ``veri/``.
        model: What the network sees.

    Raises:
        DataError: Labels, images or maps are missing.
    """
    query, gallery = (
        open_source(split, heatmaps=model.heatmaps, segments=model.segments)
        for split in (load_split(root, "query"), without_junk(load_split(root, GALLERY)))
    )
    warn_of_leaks(root, query.split, gallery.split)
    return query, gallery


def evaluation_config(backend: Backend, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration that the evaluation of a network amounts to.

    Args:
        backend: The network.
        overrides: ``eval.*``, ``data.num_workers`` and ``data.max_pixels``.

    Raises:
        ConfigError: Another key, which the network's file has settled, or a bad value.
    """
    for key in overrides or {}:
        if not key.startswith(_OWN_SECTION) and key not in _OWN_KEYS:
            raise ConfigError(
                f"{key} is settled by the network that is evaluated, or plays no part; an "
                f"evaluation takes eval.*, {' and '.join(_OWN_KEYS)}"
            )
    values = {"recipe": backend.recipe or "eval", "eval": {"metric": backend.metric}}
    return config_from_dict(values, overrides).model_copy(update={"model": backend.model})


def compare(
    backend: Backend,
    evaluation: Evaluation,
    settings: EvalConfig | None = None,
    *,
    num_workers: int | None = None,
    shown: bool = True,
) -> RetrievalResult:
    """Embed query and gallery, and evaluate the one against the other.

    Args:
        backend: The network.
        evaluation: From :func:`open_evaluation`.
        settings: Batch size, metric and length of the CMC curve; by default the network's metric.
            Another metric than ``covisible`` compares the global embeddings of a network with
            parts, and leaves them alone in the result.
        num_workers: Decoding threads; by default as many as the machine has processors.
        shown: Whether progress bars are shown on a terminal.

    Raises:
        DataError: An image cannot be read, or the embeddings are not finite.
        ConfigError: ``covisible`` for a network without parts.
    """
    settings = settings or evaluation_config(backend).eval
    if settings.metric == COVISIBLE and not backend.model.pools_parts:
        raise ConfigError(
            "eval.metric covisible compares parts, and this network has none (model.pose is "
            f"{backend.model.pose}); use euclidean or cosine"
        )
    query, gallery = (
        embed_split(
            backend,
            source,
            batch_size=settings.batch_size,
            num_workers=num_workers,
            shown=shown,
        )
        for source in evaluation
    )
    if backend.model.pools_parts and settings.metric != COVISIBLE:
        query, gallery = (
            dataclasses.replace(part, features=global_part(part.features))
            for part in (query, gallery)
        )
    split = evaluation[0].split
    root, rule = split.root, read_protocol(split.root)
    held_out = split.name == "train"
    if held_out:
        # Its queries stand in its gallery, so there is nothing to draw.
        rule = rule.model_copy(update={"name": "held-out training vehicles", "draws": 0})
    result = RetrievalResult.from_embeddings(
        query,
        gallery,
        metric=settings.metric,
        max_rank=settings.max_rank,
        rule=rule,
        provenance=backend.provenance,
    )
    roles = {} if held_out else count_roles(root)
    result.protocol.update({f"num_{role}": n for role, n in roles.items()})
    return result


def evaluate_into_run(
    backend: Backend,
    evaluation: Evaluation,
    out: str | Path,
    *,
    command: str = "eval",
    checkpoint: Path | None = None,
    device: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> RetrievalResult:
    """Evaluate a network and write the results into a run folder.

    The folder may be the one that the network was trained in: then its configuration stays, and
    results are added. Any other folder that holds a run is refused unless ``overwrite``. What is
    there is replaced when the new results are complete, not before.

    Args:
        backend: The network.
        evaluation: From :func:`open_evaluation`.
        out: Run folder.
        command: That evaluates, for ``config.yaml``.
        checkpoint: File that the network was read from, likewise.
        device: For ``environment.json``, such as ``Device.to_dict()``.
        overrides: As in :func:`evaluation_config`.
        overwrite: Replace results that are there.

    Raises:
        RunFolderError: ``out`` holds results, or another run.
    """
    config = evaluation_config(backend, overrides)
    workers = config.data.num_workers
    if backend.rank:
        with limited_pixels(config.data.max_pixels):
            return compare(backend, evaluation, config.eval, num_workers=workers)
    own = RunFolder(out).trained(backend.provenance.get("config_sha256"))
    if not own:
        RunFolder(out).check_not_source(checkpoint, "checkpoint")
    context = {
        "command": command,
        "root": evaluation[0].split.root,
        "device_target": (device or {}).get("target"),
        "rank_size": backend.rank_size,
        "checkpoint": checkpoint,
    }
    with (
        limited_pixels(config.data.max_pixels),
        results_folder(
            out, config, device or {}, context, keep_training=own, overwrite=overwrite
        ) as run,
    ):
        result = compare(backend, evaluation, config.eval, num_workers=workers)
        result.save(run)
    return result


@contextlib.contextmanager
def results_folder(
    out: str | Path,
    config: Recipe,
    device: Mapping[str, Any],
    context: Mapping[str, Any],
    *,
    keep_training: bool = False,
    overwrite: bool = False,
) -> Iterator[RunFolder]:
    """A run folder to write results into, with its context; see :meth:`RunFolder.with_evaluation`.

    Args:
        out: Run folder.
        config: Resolved.
        device: For ``environment.json``.
        context: For ``config.yaml``, see :meth:`RunFolder.write_context`.
        keep_training: The weights were trained in ``out``: its own context stays.
        overwrite: Replace what is there.
    """
    with (
        explain_full_disk(out),
        RunFolder(out).with_evaluation(keep_training=keep_training, overwrite=overwrite) as run,
    ):
        if not keep_training:
            given = {key: value for key, value in context.items() if value is not None}
            run.write_context(config, describe_environment(**device), **given)
        yield run


def write_baselines(
    untrained: Backend, evaluation: Evaluation, out: str | Path, settings: EvalConfig
) -> dict[str, dict[str, float]]:
    """Evaluate the untrained network and a plain colour histogram; write ``baselines.json``.

    Args:
        untrained: From :func:`mtn_core.predict.mindspore.untrained_backend`.
        evaluation: From :func:`open_evaluation`.
        out: Run folder.
        settings: How the trained network was evaluated.

    Returns:
        ``{"untrained": {"mAP": ..., "rank1": ...}, "color_histogram": {...}}``, fractions; with
        ``color_accuracy`` and ``type_accuracy`` where a baseline judges them.
    """
    results = {
        "untrained": compare(untrained, evaluation, settings),
        "color_histogram": compare(HistogramBackend(), evaluation),
    }
    baselines = {
        name: {
            "mAP": r.mAP,
            "mINP": r.mINP,
            **{f"rank{k}": float(r.cmc[k - 1]) for k in (1, 5, 10) if k <= len(r.cmc)},
            **_finite(color_accuracy=r.color_accuracy, type_accuracy=r.type_accuracy),
        }
        for name, r in results.items()
    }
    if untrained.rank == 0:
        write_json(RunFolder(out).baselines, baselines)
    return baselines


def _finite(**numbers: float) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
