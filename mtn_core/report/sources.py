"""What a report is made of: run folders, read with patience for whatever is missing."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from mtn_core.errors import ConfigError, DataError, RunFolderError, first_offenders
from mtn_core.metrics.comparison import check_comparable
from mtn_core.results import RetrievalResult
from mtn_core.runs import RunFolder
from mtn_core.viz.crops import CropSource, ImageFolders

_LOG = logging.getLogger(__name__)
_MAX_LABEL, _KEPT = 22, 10  # characters of a name in a drawing, and of each of its ends
FOREIGN = "embeddings"  # provenance's `source` of a run that was made from another program's files


@dataclass(frozen=True, eq=False)
class RunSource:
    """One run folder as a report reads it.

    Attributes:
        name: Unique among the runs of the report.
        folder: The run folder.
        result: The saved retrieval result.
        crops: Where the run's crops lie.
        config: ``config.yaml``; empty where absent or unreadable.
        environment: ``environment.json``; likewise.
        train: Rows of ``train.csv``, or None.
        validation: Rows of ``validation.csv``, or None.
        label: The name as drawings show it: short, unique among the runs of the report.
        baselines: mAP as fractions by baseline name.
        baseline_numbers: All fractions of each baseline by their names in ``baselines.json``.
        warnings: What could not be read, for the page.
        notes: What a reader must know about where the numbers come from, for the page.
    """

    name: str
    folder: Path
    result: RetrievalResult
    crops: CropSource
    config: dict[str, Any]
    environment: dict[str, Any]
    train: pd.DataFrame | None
    validation: pd.DataFrame | None
    baselines: dict[str, float]
    label: str = ""
    baseline_numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_foreign(self) -> bool:
        """Whether another program wrote the embeddings: no recipe, no seed, no network is known."""
        return self.result.provenance.get("source") == FOREIGN


def load_runs(
    run_dirs: Sequence[str | Path],
    *,
    root: str | Path | None = None,
    images: Sequence[str | Path] = (),
    baselines: Mapping[str, Any] | None = None,
) -> list[RunSource]:
    """Read run folders and see that their results may stand side by side.

    Args:
        run_dirs: At least one run folder with results.
        root: Data root to read crops from instead of the one that the run names.
        images: Folders of pictures to read crops from, likewise.
        baselines: Used instead of the runs' ``baselines.json``.

    Raises:
        ConfigError: No run folder, or one twice.
        RunFolderError: A folder has no results.
        DataError: The results were measured by different protocols or on different images.
    """
    folders = [Path(folder) for folder in run_dirs]
    if not folders:
        raise ConfigError("a report needs at least one run folder")
    resolved = [folder.resolve() for folder in folders]
    twice = {str(f) for f, r in zip(folders, resolved, strict=True) if resolved.count(r) > 1}
    if twice:
        raise ConfigError(f"run folder given more than once: {', '.join(sorted(twice))}")
    names = name_runs(folders)
    runs = [
        replace(
            load_run(folder, name=name, root=root, images=images, baselines=baselines), label=label
        )
        for folder, name, label in zip(folders, names, shorten_names(names), strict=True)
    ]
    check_runs_comparable(runs)
    return runs


def name_runs(folders: Sequence[Path]) -> list[str]:
    """Folder names, with as many parents as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    names = [part[-1] for part in parts]
    depth = 1
    while len(set(names)) < len(names) and depth < max(map(len, parts)):
        depth += 1
        names = ["/".join(part[-depth:]) for part in parts]
    return names


def shorten_names(names: Sequence[str]) -> list[str]:
    """Names that a drawing has room for; long ones lose their middle and stay apart."""
    short = [
        name if len(name) <= _MAX_LABEL else f"{name[:_KEPT]}…{name[-_KEPT:]}" for name in names
    ]
    return [
        f"{k + 1} {label[: _MAX_LABEL - 3]}" if short.count(label) > 1 else label
        for k, label in enumerate(short)
    ]


def check_runs_comparable(runs: Sequence[RunSource]) -> None:
    """Refuse to put results side by side that were measured differently.

    Raises:
        DataError: Names the runs and what differs.
    """
    first = runs[0]
    for run in runs[1:]:
        try:
            check_comparable(first.result, run.result)
        except DataError as error:
            raise DataError(
                f"{first.name} and {run.name} cannot stand in one report: {error}"
            ) from error


def load_run(
    folder: str | Path,
    *,
    name: str | None = None,
    root: str | Path | None = None,
    images: Sequence[str | Path] = (),
    baselines: Mapping[str, Any] | None = None,
) -> RunSource:
    """Read one run folder; arguments as for :func:`load_runs`.

    Raises:
        RunFolderError: The folder has no results, or those of another version.
        DataError: Embeddings and results do not belong together.
    """
    run = RunFolder(folder)
    result = RetrievalResult.load(run.path)
    _require_analysis(result, run.path)
    warnings: list[str] = []
    config = _read(run.read_config_values, warnings) or {}
    environment = _read(lambda: run.read_json(run.environment), warnings) or {}
    if baselines is None:
        baselines = {}
        if run.baselines.exists():
            baselines = _read(lambda: run.read_json(run.baselines), warnings, "baselines") or {}
    scores = read_baselines(baselines)
    if len(scores) < len(baselines):
        without = first_offenders(sorted(set(map(str, baselines)) - scores.keys()))
        warnings.append(f"{run.baselines}: no mAP from 0 to 1 of {without}; it is left out")
    name = name or run.path.resolve().name
    return RunSource(
        name=name,
        label=shorten_names([name])[0],
        folder=run.path,
        result=result,
        crops=_find_crops(run, config, root, images),
        config=config,
        environment=environment,
        train=_read_log(run.read_train_log, warnings),
        validation=_read_log(run.read_validation_log, warnings),
        baselines=scores,
        baseline_numbers={str(n): read_fractions(v) for n, v in baselines.items()},
        warnings=warnings,
        notes=_texts(result.provenance.get("notes")),
    )


def _find_crops(
    run: RunFolder,
    config: Mapping[str, Any],
    root: str | Path | None,
    images: Sequence[str | Path],
) -> CropSource:
    """Where the pictures lie: as given, else as the run says."""
    saved = () if root is not None else _texts(config.get(ImageFolders.key))
    if images or saved:
        return ImageFolders(images or saved)
    return CropSource(root or run.data_roots())


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _require_analysis(result: RetrievalResult, folder: Path) -> None:
    """Fail early, and say how to mend it, where embeddings or tables cannot be used."""
    try:
        sizes = len(result.query), len(result.gallery)
        result.tables  # noqa: B018 - reads or makes them
    except KeyError as error:
        raise RunFolderError(
            f"the results in {folder} lack {error}: another version of mtn_core wrote them; "
            "evaluate again (`mtn eval`)"
        ) from error
    if result.query.features.shape[1] != result.gallery.features.shape[1]:
        raise DataError(
            f"{folder}: the embeddings of query and gallery have {result.query.features.shape[1]} "
            f"and {result.gallery.features.shape[1]} values; evaluate again"
        )
    if result.per_query["name"].tolist() != result.query.names.tolist():
        raise DataError(
            f"{folder}: per_query.parquet names other images than the embeddings; evaluate again"
        )
    expected = result.num_query, result.num_gallery
    if sizes != expected:
        raise DataError(
            f"{folder}: results.json speaks of {expected[0]} queries and {expected[1]} gallery "
            f"images, the embeddings have {sizes[0]} and {sizes[1]}; evaluate again"
        )


def read_baselines(baselines: Mapping[str, Any]) -> dict[str, float]:
    """Scores (mAP) by name, from ``{"untrained": {"mAP": 0.05}}`` or ``{"untrained": 0.05}``."""
    found = {str(name): read_fractions(value) for name, value in baselines.items()}
    return {name: numbers["mAP"] for name, numbers in found.items() if "mAP" in numbers}


def read_fractions(value: Any) -> dict[str, float]:
    """The fractions of one baseline by name; a bare number is its mAP."""
    numbers = value if isinstance(value, Mapping) else {"mAP": value}
    return {
        str(name): float(number)
        for name, number in numbers.items()
        if isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1
    }


def _read(
    read: Callable[[], dict[str, Any]], warnings: list[str], what: str = "provenance"
) -> dict[str, Any] | None:
    try:
        return read()
    except RunFolderError as error:
        warnings.append(f"{error}; without it the page lacks the {what}")
        return None


def _read_log(read: Callable[[], pd.DataFrame], warnings: list[str]) -> pd.DataFrame | None:
    try:
        frame = read()
    except RunFolderError as error:
        warnings.append(str(error))
        return None
    return frame if len(frame) else None
