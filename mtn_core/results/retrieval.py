"""What a run found: the numbers of an evaluation, the table with a row per query, and their files.

NumPy and pandas only: a saved run can be read and reported where MindSpore is not installed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from mtn_core.config import validate
from mtn_core.errors import ConfigError, DataError, RunFolderError, first_offenders
from mtn_core.files import atomic_folder, atomic_path, write_json
from mtn_core.metrics.attributes import AttributeAccuracy, attribute_accuracy
from mtn_core.metrics.draws import evaluate_draws
from mtn_core.metrics.protocol import VERI, EvaluationProtocol
from mtn_core.metrics.retrieval import evaluate
from mtn_core.results.embeddings import Embeddings
from mtn_core.results.proof import check_hash, check_numbers, hash_files
from mtn_core.results.tables import make_tables
from mtn_core.runs import RunFolder
from mtn_core.viewpoint import estimate_viewpoint

__all__ = ["Embeddings", "RetrievalResult"]
_Fraction = Annotated[float, Field(ge=0, le=1)] | None
# What reports and tables read; the others are there for a person.
_PER_QUERY_COLUMNS = (
    *("name", "pid", "camid", "color_id", "type_id", "viewpoint", "confidence", "ap", "inp"),
    *("num_matches", "num_ignored", "first_match_rank", "first_match_row", "top1_row", "top1_pid"),
)


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """The numbers of one evaluation, and the table with a row per query.

    Attributes:
        mAP: nan where no query has a match; likewise mINP and cmc.
        mINP: Mean inverse negative penalty.
        cmc: ``(max_rank,)`` float64, rank 1 first.
        color: Accuracy of the colours, with counts.
        type: Accuracy of the types, with counts.
        num_query: All queries.
        num_query_without_match: Those that count in no average.
        num_gallery: Gallery images.
        per_query: A row per query, see :meth:`from_embeddings`.
        protocol: How it was measured; results compare only where it is equal.
        provenance: Where it came from (checkpoint and config hashes, ...).
        draws: Figures of a protocol that draws the gallery several times, see
            :meth:`mtn_core.metrics.draws.DrawnResults.to_dict`; None of any other. All other
            figures are then those of the first draw.
        folder: The run folder, where it was loaded from one.
    """

    mAP: float
    mINP: float
    cmc: np.ndarray
    color: AttributeAccuracy
    type: AttributeAccuracy
    num_query: int
    num_query_without_match: int
    num_gallery: int
    per_query: pd.DataFrame
    protocol: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    draws: dict[str, Any] | None = None
    folder: Path | None = None

    @classmethod
    def from_embeddings(
        cls,
        query: Embeddings,
        gallery: Embeddings,
        *,
        metric: str = "euclidean",
        max_rank: int = 50,
        rule: EvaluationProtocol = VERI,
        provenance: Mapping[str, Any] | None = None,
    ) -> "RetrievalResult":
        """Evaluate ``query`` against ``gallery``.

        ``per_query`` has the columns name, pid, camid, color_id, type_id, color_pred, type_pred,
        width, height, confidence (mean over the keypoints), viewpoint, ap, inp (nan without a
        match), num_matches, num_ignored, first_match_rank (from 1; 0 without), first_match_row and
        top1_row (in the gallery; -1 without), their _name and _distance, top1_pid, top1_camid.

        Args:
            query: Embeddings of the query split.
            gallery: Embeddings of the gallery.
            metric: ``euclidean`` or ``cosine``.
            max_rank: Length of the CMC curve.
            rule: The data set's own protocol.
            provenance: Kept in ``results.json``; put no times into it, or equal evaluations stop
                giving equal files.
        """
        q_camids, g_camids = rule.separate_cameras(query, gallery)
        metrics = evaluate(
            query.features,
            gallery.features,
            query.pids,
            gallery.pids,
            q_camids,
            g_camids,
            metric=metric,
            max_rank=max_rank,
            ap_ranks=rule.ap_ranks,
        )
        names = np.concatenate([query.names, gallery.names])
        color, type_ = (
            attribute_accuracy(
                names,
                np.concatenate([getattr(s, f"{kind}_ids") for s in (query, gallery)]),
                np.concatenate([getattr(s, f"{kind}_predictions") for s in (query, gallery)]),
            )
            for kind in ("color", "type")
        )
        result = cls(
            mAP=metrics.mAP,
            mINP=metrics.mINP,
            cmc=metrics.cmc,
            color=color,
            type=type_,
            num_query=metrics.num_query,
            num_query_without_match=metrics.num_query_without_match,
            num_gallery=metrics.num_gallery,
            per_query=_per_query(query, gallery, metrics),
            protocol={
                **rule.to_dict(),
                "ties": "gallery order",
                "metric": metric,
                "max_rank": int(max_rank),
                "query_sha256": _labels_hash(query),
                "gallery_sha256": _labels_hash(gallery),
            },
            provenance=dict(provenance or {}),
            draws=_evaluate_draws(query, gallery, rule, metric) if rule.draws else None,
        )
        result.__dict__.update(query=query, gallery=gallery)
        return result

    @cached_property
    def rule(self) -> EvaluationProtocol:
        """The data set's protocol that it was measured by."""
        return EvaluationProtocol.from_dict(self.protocol)

    @property
    def ap(self) -> np.ndarray:
        """``(num_query,)`` float64, nan where the query has no match."""
        return self.per_query["ap"].to_numpy()

    @property
    def queries_without_match(self) -> list[str]:
        """Names of the queries that count in no average."""
        return self.per_query.loc[self.per_query["num_matches"] == 0, "name"].tolist()

    @property
    def num_query_unknown_camera(self) -> int:
        """Queries of camera 0: none of the vehicle's gallery images is ignored for them."""
        return int((self.per_query["camid"] == 0).sum())

    @property
    def color_accuracy(self) -> float:
        """Share of right colours, each image once; nan where none is known."""
        return self.color.accuracy

    @property
    def type_accuracy(self) -> float:
        """Share of right types, each image once; nan where none is known."""
        return self.type.accuracy

    @cached_property
    def query(self) -> Embeddings:
        """Embeddings of the queries; read from the run folder when first used."""
        return self._load_embeddings(self._run().query_embeddings, "query")

    @cached_property
    def gallery(self) -> Embeddings:
        """Embeddings of the gallery; read from the run folder when first used."""
        return self._load_embeddings(self._run().gallery_embeddings, "gallery")

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Breakdowns by name, see :func:`mtn_core.results.tables.make_tables`.

        Read from the run folder where they are saved, else made when first used.
        """
        if self.folder is not None and self._run().tables.is_dir():
            return _read_tables(self._run())
        return make_tables(
            self.query, self.gallery, self.per_query, self.protocol["metric"], self.rule
        )

    def to_json_dict(self) -> dict[str, Any]:
        """The content of ``results.json``; not-a-number is None."""
        provenance = dict(self.provenance)
        return _without_nan(
            {
                "mAP": self.mAP,
                "mINP": self.mINP,
                "cmc": self.cmc.tolist(),
                "color_accuracy": self.color.accuracy,
                "type_accuracy": self.type.accuracy,
                "color_accuracy_seed_protocol": self.color.seed_protocol,
                "type_accuracy_seed_protocol": self.type.seed_protocol,
                "num_query": self.num_query,
                "num_query_without_match": self.num_query_without_match,
                "num_gallery": self.num_gallery,
                "queries_without_match": self.queries_without_match,
                "num_images_color_known": self.color.num_images,
                "num_images_color_unknown": self.color.num_unknown,
                "num_images_type_known": self.type.num_images,
                "num_images_type_unknown": self.type.num_unknown,
                "protocol": self.protocol,
                **({} if self.draws is None else {"draws": self.draws}),
                "checkpoint_sha256": provenance.pop("checkpoint_sha256", None),
                "config_sha256": provenance.pop("config_sha256", None),
                "provenance": provenance,
                "tables": sorted(self.tables),
            }
        )

    def save(self, run: RunFolder | str | Path) -> None:
        """Write ``results.json``, ``per_query.parquet``, ``tables/`` and the embeddings.

        ``results.json`` comes last: where it is, the rest is complete.
        """
        run = run if isinstance(run, RunFolder) else RunFolder(run)
        self.query.save(run.query_embeddings)
        self.gallery.save(run.gallery_embeddings)
        with atomic_path(run.per_query) as temporary:
            self.per_query.to_parquet(temporary, index=False)
        with atomic_folder(run.tables, overwrite=True) as temporary:
            for name, table in self.tables.items():
                table.to_parquet(temporary / f"{name}.parquet", index=False)
        write_json(run.results, self.to_json_dict() | {"sha256": hash_files(run)})

    @classmethod
    def load(cls, run_dir: str | Path) -> "RetrievalResult":
        """Read a result back; the embeddings are read when first used.

        Raises:
            RunFolderError: The folder has no results, or they cannot be read.
        """
        run = RunFolder(run_dir)
        if not run.results.is_file():
            raise RunFolderError(
                f"{run.path} has no {run.results.name}: it is no run folder, or was not evaluated "
                "yet (`mtn eval --out` writes one)"
            )
        try:
            saved = read_saved(run)
            per_query = _read_per_query(run.per_query, saved.num_query)
            check_numbers(saved.numbers(), per_query, run.per_query)
            check_hash(run, run.per_query, saved.sha256)
        except DataError as error:
            raise RunFolderError(
                f"the results in {run.path} cannot be read: {error}; evaluate again"
            ) from error
        hashes = {
            "checkpoint_sha256": saved.checkpoint_sha256,
            "config_sha256": saved.config_sha256,
        }
        return cls(
            mAP=_number(saved.mAP),
            mINP=_number(saved.mINP),
            cmc=np.array(saved.numbers()["cmc"]),
            color=saved.accuracy("color"),
            type=saved.accuracy("type"),
            num_query=saved.num_query,
            num_query_without_match=saved.num_query_without_match,
            num_gallery=saved.num_gallery,
            per_query=per_query,
            protocol=saved.protocol.model_dump(exclude_unset=True),
            provenance={k: v for k, v in hashes.items() if v} | saved.provenance,
            draws=None if saved.draws is None else saved.draws.model_dump(),
            folder=run.path,
        )

    def format_table(self) -> str:
        """The result table as the seed prints it, and what it leaves out."""
        shown = min(len(self.cmc), self.num_gallery)
        lines = ["Computing CMC and mAP", "Results ----------", f"mAP: {format_fraction(self.mAP)}"]
        lines.append("CMC curve")
        lines += [f"Rank-{i:<3}: {format_fraction(v)}" for i, v in enumerate(self.cmc[:shown], 1)]
        lines += ["------------------", "Compute attribute classification accuracy"]
        for kind, value in (("Color", self.color), ("Type", self.type)):
            lines.append(f"{kind} classification accuracy: {format_fraction(value.seed_protocol)}")
        lines += ["------------------", f"mINP: {format_fraction(self.mINP)}"]
        lines.append(f"Queries: {self.num_query}, gallery images: {self.num_gallery}")
        without = self.queries_without_match
        names = f" ({first_offenders(without)})" if without else ""
        lines.append(f"Queries without a match, in no average: {len(without)}{names}")
        unknown = self.num_query_unknown_camera
        if unknown:
            lines.append(
                f"Queries without a known camera: {unknown}; for them every gallery image of the "
                "vehicle counts"
            )
        for kind, value in (("Color", self.color), ("Type", self.type)):
            lines.append(
                f"{kind} accuracy, each image once: {format_fraction(value.accuracy)} of "
                f"{value.num_images} images; unknown and not counted: {value.num_unknown}"
            )
        roles = {role: self.protocol.get(f"num_{role}", 0) for role in ("distractor", "junk")}
        if any(roles.values()):
            lines.append(
                f"Distractors in the gallery, never a match: {roles['distractor']}; junk images "
                f"left out of it: {roles['junk']}"
            )
        if self.draws is not None:
            lines += _format_draws(self.draws)
        lines.append(f"Protocol: {self.rule.to_text()}")
        return "\n".join(lines)

    def _load_embeddings(self, path: Path, which: str) -> Embeddings:
        """Read a split's embeddings, which must be those that were evaluated."""
        embeddings = Embeddings.load(path)
        wanted = self.protocol.get(f"{which}_sha256")
        if wanted is not None and _labels_hash(embeddings) != wanted:
            raise DataError(
                f"{path} is not what was evaluated: it has {len(embeddings)} images whose names or "
                "ids are not those that results.json speaks of; evaluate again"
            )
        check_hash(self._run(), path, read_saved(self._run()).sha256)
        return embeddings

    def _run(self) -> RunFolder:
        if self.folder is None:
            raise RunFolderError("this result was neither made from embeddings nor loaded")
        return RunFolder(self.folder)


class Protocol(BaseModel):
    """How a result was measured; other keys are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    metric: Literal["euclidean", "cosine", "covisible"]
    max_rank: int = Field(ge=1)
    name: str = Field(VERI.name, min_length=1, max_length=200)
    ap_ranks: int | None = Field(None, ge=1, le=1_000_000)
    draws: int = Field(0, ge=0, le=1000)
    seed: int = Field(0, ge=0, lt=2**32)


class DrawnFigure(BaseModel):
    """Mean, standard deviation and values of a figure over several draws."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    mean: float
    std: float
    values: list[float]


class SavedDraws(BaseModel):
    """Figures of a protocol that draws the gallery several times."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    count: int = Field(ge=1)
    mAP: DrawnFigure
    rank1: DrawnFigure
    rank5: DrawnFigure


class SavedResults(BaseModel):
    """What ``results.json`` must hold; other keys are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    mAP: _Fraction
    mINP: _Fraction
    cmc: list[_Fraction] = Field(min_length=1)
    color_accuracy: _Fraction
    type_accuracy: _Fraction
    color_accuracy_seed_protocol: _Fraction
    type_accuracy_seed_protocol: _Fraction
    num_images_color_known: int = Field(ge=0)
    num_images_color_unknown: int = Field(ge=0)
    num_images_type_known: int = Field(ge=0)
    num_images_type_unknown: int = Field(ge=0)
    num_query: int = Field(ge=1)
    num_query_without_match: int = Field(ge=0)
    num_gallery: int = Field(ge=1)
    protocol: Protocol
    provenance: dict[str, Any] = {}
    checkpoint_sha256: str | None = None
    config_sha256: str | None = None
    tables: list[str] | None = None
    draws: SavedDraws | None = None
    sha256: dict[str, str] = {}

    def numbers(self) -> dict[str, Any]:
        """What follows from the table of queries, with nan in place of None."""
        return {
            "mAP": _number(self.mAP),
            "mINP": _number(self.mINP),
            "cmc": [_number(value) for value in self.cmc],
            "num_query_without_match": self.num_query_without_match,
            "num_gallery": self.num_gallery,
        }

    def accuracy(self, kind: str) -> AttributeAccuracy:
        """Of ``color`` or ``type``."""
        return AttributeAccuracy(
            accuracy=_number(getattr(self, f"{kind}_accuracy")),
            num_images=getattr(self, f"num_images_{kind}_known"),
            seed_protocol=_number(getattr(self, f"{kind}_accuracy_seed_protocol")),
            num_unknown=getattr(self, f"num_images_{kind}_unknown"),
        )


def read_saved(run: RunFolder) -> SavedResults:
    """``results.json`` of a run.

    Raises:
        RunFolderError: There is none, or it is not one.
    """
    try:
        saved = validate(SavedResults, run.read_json(run.results))
    except ConfigError as error:
        problems = first_offenders(str(error).splitlines(), limit=2)
        raise RunFolderError(f"{run.results} cannot be read: {problems}; evaluate again") from error
    if len(saved.cmc) != saved.protocol.max_rank:
        raise RunFolderError(
            f"{run.results} has {len(saved.cmc)} values in 'cmc', expected "
            f"{saved.protocol.max_rank}; evaluate again"
        )
    return saved


def _read_per_query(path: Path, num_query: int) -> pd.DataFrame:
    table = _read_parquet(path)
    missing = [name for name in _PER_QUERY_COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the columns {first_offenders(missing)}")
    if len(table) != num_query:
        raise DataError(f"{path} has {len(table)} rows, results.json speaks of {num_query} queries")
    return table


def _read_tables(run: RunFolder) -> dict[str, pd.DataFrame]:
    """The saved tables; one that is gone is an error, not a section that is left out."""
    saved = read_saved(run)
    expected = saved.tables
    files = {file.stem: file for file in sorted(run.tables.glob("*.parquet"))}
    missing = sorted(set(expected or ()) - files.keys())
    if missing:
        raise RunFolderError(
            f"{run.tables} lacks {first_offenders([f'{name}.parquet' for name in missing])}; "
            "evaluate again"
        )
    tables = {name: _read_parquet(file) for name, file in files.items()}
    for file in files.values():
        check_hash(run, file, saved.sha256)
    return tables


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: cut short or damaged") from error


def _per_query(query: Embeddings, gallery: Embeddings, metrics) -> pd.DataFrame:
    def of_gallery(values: np.ndarray, rows: np.ndarray, missing: Any) -> np.ndarray:
        return np.where(rows >= 0, values[rows], missing)

    return pd.DataFrame(
        {
            "name": query.names.tolist(),
            "pid": query.pids,
            "camid": query.camids,
            "color_id": query.color_ids,
            "type_id": query.type_ids,
            "color_pred": query.color_predictions,
            "type_pred": query.type_predictions,
            "width": query.sizes[:, 0],
            "height": query.sizes[:, 1],
            "confidence": query.keypoints[:, :, 2].mean(axis=1),
            "viewpoint": estimate_viewpoint(query.keypoints).tolist(),
            "ap": metrics.ap,
            "inp": metrics.inp,
            "num_matches": metrics.num_matches,
            "num_ignored": metrics.num_ignored,
            "first_match_rank": metrics.first_match_rank,
            "first_match_row": metrics.first_match,
            "first_match_name": of_gallery(gallery.names, metrics.first_match, "").tolist(),
            "first_match_distance": metrics.first_match_distance,
            "top1_row": metrics.nearest,
            "top1_name": of_gallery(gallery.names, metrics.nearest, "").tolist(),
            "top1_pid": of_gallery(gallery.pids, metrics.nearest, -1),
            "top1_camid": of_gallery(gallery.camids, metrics.nearest, -1),
            "top1_distance": metrics.nearest_distance,
        }
    )


def _evaluate_draws(
    query: Embeddings, gallery: Embeddings, rule: EvaluationProtocol, metric: str
) -> dict[str, Any]:
    # Sorted by name, as they were when the first draw was put on disk: the same draw again.
    order = np.argsort(np.concatenate([query.names, gallery.names]), kind="stable")
    features, pids = (
        np.concatenate([getattr(s, name) for s in (query, gallery)])[order]
        for name in ("features", "pids")
    )
    drawn = evaluate_draws(features, pids, draws=rule.draws, seed=rule.seed, metric=metric)
    return drawn.to_dict()


def _format_draws(draws: Mapping[str, Any]) -> list[str]:
    figures = (("mAP", "mAP"), ("Rank-1", "rank1"), ("Rank-5", "rank5"))
    texts = [
        f"{title} {format_fraction(draws[key]['mean'])} +- {format_fraction(draws[key]['std'])}"
        for title, key in figures
    ]
    return [
        f"Mean of {draws['count']} draws: {', '.join(texts)}; everything else here is of the first"
    ]


def _labels_hash(embeddings: Embeddings) -> str:
    """Hex SHA-256 of what is compared with what, so that only like is compared with like."""
    digest = hashlib.sha256("\n".join(embeddings.names.tolist()).encode())
    for name in ("pids", "camids"):
        digest.update(getattr(embeddings, name).astype("<i8").tobytes())
    return digest.hexdigest()


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def format_fraction(fraction: float) -> str:
    """Percent with two digits; ``unknown`` where there is no finite number."""
    return f"{fraction:.2%}" if np.isfinite(fraction) else "unknown"
