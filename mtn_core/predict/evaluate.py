"""Evaluation: embed query and gallery, compare, write the results into a run."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtn_core.config import Config, EvalConfig, ModelConfig, Recipe, config_from_dict
from mtn_core.data.layout import GALLERY, label_path
from mtn_core.data.leaks import find_shared_ids, find_shared_images
from mtn_core.data.source import Source, open_source
from mtn_core.data.split import load_split
from mtn_core.errors import ConfigError, DataError, first_offenders
from mtn_core.files import explain_full_disk, write_json
from mtn_core.predict.backend import Backend, embed_split
from mtn_core.predict.histogram import HistogramBackend
from mtn_core.provenance import describe_environment
from mtn_core.results import RetrievalResult
from mtn_core.runs import RunFolder

logger = logging.getLogger(__name__)
Evaluation = tuple[Source, Source]


def open_evaluation(root: str | Path, model: ModelConfig) -> Evaluation:
    """Query and gallery of a root, opened: what the network needs is there, packed or in folders.

    Args:
        root: The folder that holds ``veri/``.
        model: What the network sees.

    Raises:
        DataError: Labels, images or maps are missing.
    """
    query, gallery = (
        open_source(load_split(root, name), heatmaps=model.heatmaps, segments=model.segments)
        for name in ("query", GALLERY)
    )
    _warn_of_leaks(Path(root), query, gallery)
    return query, gallery


def _warn_of_leaks(root: Path, query: Source, gallery: Source) -> None:
    """Say that vehicles of the test are also trained on, where the root has training labels."""
    if not label_path(root, "train").is_file():
        return
    try:
        train = load_split(root, "train")
    except DataError:
        return  # an evaluation does not need them
    tested = [query.split, gallery.split]
    ids, images = find_shared_ids(train, tested), find_shared_images(train, tested)
    if ids or images:
        logger.warning(
            "%d vehicles and %d images of the test in %s are also in its training split: %s; a "
            "network trained on them is tested on what it knows, and its results are too good",
            len(ids),
            len(images),
            root,
            first_offenders(ids or images),
        )


def evaluation_config(backend: Backend, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration that the evaluation of a network amounts to.

    Args:
        backend: The network.
        overrides: Dotted keys of the section ``eval``, and ``data.num_workers``.

    Raises:
        ConfigError: Another key, which the network's file has settled, or a bad value.
    """
    for key in overrides or {}:
        if key.partition(".")[0] != "eval" and key != "data.num_workers":
            raise ConfigError(
                f"{key} is settled by the network that is evaluated; an evaluation takes "
                "eval.* and data.num_workers"
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
        num_workers: Decoding threads; by default as many as the machine has processors.
        shown: Whether progress bars are shown on a terminal.

    Raises:
        DataError: An image cannot be read, or the embeddings are not finite.
    """
    settings = settings or evaluation_config(backend).eval
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
    return RetrievalResult.from_embeddings(
        query,
        gallery,
        metric=settings.metric,
        max_rank=settings.max_rank,
        provenance=backend.provenance,
    )


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
        overrides: Dotted keys of the section ``eval``, and ``data.num_workers``.
        overwrite: Replace results that are there.

    Raises:
        RunFolderError: ``out`` holds results, or another run.
    """
    config = evaluation_config(backend, overrides)
    workers = config.data.num_workers
    if backend.rank:
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
    with results_folder(
        out, config, device or {}, context, keep_training=own, overwrite=overwrite
    ) as run:
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
        ``{"untrained": {"mAP": ..., "rank1": ...}, "color_histogram": {...}}``, fractions.
    """
    results = {
        "untrained": compare(untrained, evaluation, settings),
        "color_histogram": compare(HistogramBackend(), evaluation),
    }
    baselines = {
        name: {"mAP": r.mAP, "mINP": r.mINP, "rank1": float(r.cmc[0])}
        for name, r in results.items()
    }
    if untrained.rank == 0:
        write_json(RunFolder(out).baselines, baselines)
    return baselines
