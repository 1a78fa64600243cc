"""From the embeddings that another program wrote to run folders, which a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from mtn_core.errors import ConfigError, DataError, RunFolderError
from mtn_core.files import explain_full_disk, write_json, write_text
from mtn_core.metrics.comparison import check_comparable
from mtn_core.provenance import describe_environment
from mtn_core.report.sources import FOREIGN
from mtn_core.results import Embeddings, RetrievalResult
from mtn_core.results.foreign import EmbeddingFiles, load_foreign
from mtn_core.runs import RunFolder
from mtn_core.viz.crops import CropSource, ImageFolders


def write_embeddings_runs(
    networks: Mapping[str, EmbeddingFiles],
    folder: str | Path,
    *,
    metric: str = "euclidean",
    crops: CropSource | None = None,
    beside: Sequence[str | Path] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Evaluate embeddings and write a run folder for each network, all of them or none.

    Args:
        networks: Files by name of the network.
        folder: The run folders are written into it, each under its network's name.
        metric: ``euclidean`` or ``cosine``.
        crops: Where the pictures lie: their sizes are read.
        beside: Run folders that are to stand in the same report.
        overwrite: Whether earlier runs of this kind may be replaced.

    Returns:
        The run folders, in order.

    Raises:
        DataError: Embeddings that cannot be used, or of other queries than those beside them.
        RunFolderError: A folder holds a run already.
    """
    runs = [RunFolder(Path(folder) / name) for name in networks]
    for run in runs:
        _check_free(run, overwrite=overwrite)
    files = list(networks.values())
    results, loaded = [], load_foreign(files)
    for paths, foreign in zip(files, loaded, strict=True):
        query, gallery = foreign.query, foreign.gallery
        if crops is not None:
            query, gallery = _with_sizes(query, crops), _with_sizes(gallery, crops)
        provenance = {
            "source": FOREIGN,
            "query_file": paths.query.name,
            "gallery_file": paths.gallery.name,
            "width": int(query.features.shape[1]),
            "notes": foreign.notes,
            "vehicles": foreign.vehicles,
            "cameras": foreign.cameras,
        }
        results.append(
            RetrievalResult.from_embeddings(query, gallery, metric=metric, provenance=provenance)
        )
    _check_side_by_side(networks, results, beside)
    for run, paths, result in zip(runs, files, results, strict=True):
        with explain_full_disk(run.path):
            with run.with_evaluation(keep_training=False, overwrite=overwrite) as new:
                write_text(new.config, _describe_inputs(paths, crops))
                write_json(new.environment, describe_environment())
                result.save(new)
    return [run.path for run in runs]


def _check_free(run: RunFolder, *, overwrite: bool) -> None:
    """Refuse to replace a run, and one that was trained even with ``overwrite``."""
    run.check_free(overwrite=overwrite)
    present = [path.name for path in (run.checkpoints, run.train_log) if path.exists()]
    if present:
        raise RunFolderError(
            f"{run.path} holds a training ({', '.join(present)}), which embeddings do not replace; "
            "choose another --run_out"
        )


def _check_side_by_side(
    names: Mapping[str, EmbeddingFiles],
    results: Sequence[RetrievalResult],
    beside: Sequence[str | Path],
) -> None:
    others = [(Path(one).name, RetrievalResult.load(one)) for one in beside]
    (first_name, first), *rest = [*others, *zip(names, results, strict=True)]
    for name, result in rest:
        try:
            check_comparable(first, result)
        except DataError as error:
            raise DataError(
                f"{first_name} and {name} cannot stand in one report: {error}"
            ) from error


def _with_sizes(embeddings: Embeddings, crops: CropSource) -> Embeddings:
    """With widths and heights of the pictures that are there; of the others they stay 0."""
    if embeddings.sizes.any():
        return embeddings
    split = "gallery" if embeddings.split == "test" else embeddings.split
    sizes = np.zeros((len(embeddings), 2), np.int32)
    for row, name in enumerate(embeddings.names.tolist()):
        path = crops.path(split, name)
        try:
            if path is not None and path.is_file():
                with Image.open(path) as image:
                    sizes[row] = image.size
        except (OSError, Image.DecompressionBombError, SyntaxError):
            continue  # the page says which pictures cannot be read
    return replace(embeddings, sizes=sizes)


def _describe_inputs(paths: EmbeddingFiles, crops: CropSource | None) -> str:
    """``config.yaml`` of such a run: what it was made from."""
    values: dict[str, object] = {
        "command": "report",
        "embeddings": [str(paths.query.resolve()), str(paths.gallery.resolve())],
    }
    if paths.query_labels is not None and paths.gallery_labels is not None:
        values["labels"] = [
            str(paths.query_labels.resolve()),
            str(paths.gallery_labels.resolve()),
        ]
    if crops is not None:
        values[crops.key] = [str(root.resolve()) for root in crops.roots]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def find_pictures(root: Path | None, images: Sequence[Path] | None) -> CropSource | None:
    """Where pictures are read: a data root, or folders of pictures; None for neither.

    Raises:
        ConfigError: Both, or a folder that is not there.
    """
    if root is not None and images:
        raise ConfigError("give --root (it holds veri/) or --images (any folder), not both")
    for folder in images or ():
        if not folder.is_dir():
            raise ConfigError(f"--images {folder} is not a folder")
    if images:
        return ImageFolders(images)
    return None if root is None else CropSource(root)
