"""Embeddings that another program wrote: one array file a split, labels inside or in a CSV beside.

Ids may be numbers or words, cameras may be missing or counted from 0, names may be paths; what
comes out are :class:`~mtn_core.results.embeddings.Embeddings` with this package's conventions.
"""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from mtn_core.errors import ConfigError, DataError, first_offenders
from mtn_core.metrics.distance import check_finite
from mtn_core.results.array_files import FIELDS, read_arrays, read_labels
from mtn_core.results.embeddings import Embeddings
from mtn_core.results.foreign_ids import check_attribute, number_cameras, number_ids
from mtn_core.vehicle import COLOR_NAMES, NUM_KEYPOINTS, TYPE_NAMES, UNKNOWN


@dataclass(frozen=True)
class EmbeddingFiles:
    """Where the embeddings of one network lie.

    Attributes:
        query: ``.npz`` or ``.npy`` of the queries.
        gallery: Of the gallery.
        query_labels: CSV with the queries' ids, instead of arrays in the file.
        gallery_labels: Likewise.
    """

    query: Path
    gallery: Path
    query_labels: Path | None = None
    gallery_labels: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All files that are read."""
        return [path for path in (getattr(self, f.name) for f in fields(self)) if path is not None]


@dataclass(frozen=True, eq=False)
class ForeignEmbeddings:
    """The embeddings of one network, ready to be evaluated.

    Attributes:
        query: Of the queries.
        gallery: Of the gallery.
        notes: What a reader of the figures must know about the files, a sentence each.
        vehicles: Names of the vehicles 1, 2, ... where the files have words; else empty.
        cameras: Likewise of the cameras.
    """

    query: Embeddings
    gallery: Embeddings
    notes: list[str] = field(default_factory=list)
    vehicles: list[str] = field(default_factory=list)
    cameras: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Split:
    """A split as its file has it; None where the file says nothing."""

    path: Path
    features: np.ndarray
    pids: np.ndarray
    camids: np.ndarray | None
    names: np.ndarray | None
    color_ids: np.ndarray | None
    type_ids: np.ndarray | None


def load_foreign(networks: Sequence[EmbeddingFiles]) -> list[ForeignEmbeddings]:
    """Read the embeddings of one network or several, whose ids mean the same vehicles.

    Args:
        networks: Files of each; ``.npz`` files of this package's own run folders may be among them.

    Raises:
        MissingFileError: A file is not there.
        DataError: A file is not what it must be; the message names it.
    """
    read = [
        (_read(files.query, files.query_labels), _read(files.gallery, files.gallery_labels))
        for files in networks
    ]
    for files, (query, gallery) in zip(networks, read, strict=True):
        widths = query.features.shape[1], gallery.features.shape[1]
        if widths[0] != widths[1]:
            raise DataError(
                f"the embeddings of {files.query} have {widths[0]} numbers, those of "
                f"{files.gallery} {widths[1]}: were they made by the same network?"
            )
    splits = [split for pair in read for split in pair if isinstance(split, _Split)]
    pids, vehicles = number_ids([split.pids for split in splits])
    camids, cameras, shifted = number_cameras([split.camids for split in splits])
    numbered = {
        id(split): replace(split, pids=pid, camids=camid)
        for split, pid, camid in zip(splits, pids, camids, strict=True)
    }
    pairs = [(numbered.get(id(query), query), numbered.get(id(gallery), gallery))
             for query, gallery in read]  # fmt: skip
    return [_join(query, gallery, vehicles, cameras, shifted) for query, gallery in pairs]


def _read(path: Path, labels: Path | None) -> _Split | Embeddings:
    arrays = read_arrays(path)
    if labels is None and {f.name for f in fields(Embeddings)} <= arrays.keys():
        return Embeddings.load(path)  # of a run folder
    found = {name: _find(path, arrays, name) for name in FIELDS}
    features, where = found.pop("features"), path
    if labels is not None:
        found, where = dict(read_labels(labels)), labels
    if features is None:
        raise DataError(
            f"{path} has no embeddings: expected an array `features`, `embeddings` or `feats` of "
            f"shape (images, width); it has {first_offenders(sorted(arrays)) or 'nothing'}"
        )
    features, pids = _check_features(path, features), found.pop("pids")
    if pids is None:
        raise DataError(
            f"{where} has no vehicle ids: expected {'a column' if labels else 'an array'} `pids`; "
            + ("" if labels else "add it to the file, or give --labels QUERY.csv GALLERY.csv")
        )
    for name, array in {"pids": pids, **found}.items():
        if array is not None and array.shape != (len(features),):
            what = f"{path} has {len(features)} embeddings, but " + (
                f"{labels} has {len(array)} rows" if labels else f"`{name}` has shape {array.shape}"
            )
            raise DataError(f"{what}; expected one entry for each, in the same order")
    for name, words in (("color_ids", COLOR_NAMES), ("type_ids", TYPE_NAMES)):
        ids = found[name]
        found[name] = None if ids is None else check_attribute(where, name, ids, len(words))
    return _Split(path, features, pids, **found)


def _find(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray | None:
    present = [key for key in FIELDS[name] if key in arrays]
    if len(present) > 1:
        raise DataError(f"{path} holds both `{present[0]}` and `{present[1]}`; keep one of them")
    return arrays[present[0]] if present else None


def _check_features(path: Path, features: np.ndarray) -> np.ndarray:
    if features.dtype.kind not in "fiu":
        raise DataError(f"the embeddings of {path} must be real numbers; got {features.dtype}")
    if features.ndim != 2 or 0 in features.shape:
        raise DataError(
            f"the embeddings of {path} must have shape (images, width), neither of them 0; got "
            f"{features.shape}"
        )
    check_finite(f"embeddings of {path}", features)
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(features, np.float32)
    check_finite(f"embeddings of {path} as float32", features)
    return features


def _join(
    query: _Split | Embeddings,
    gallery: _Split | Embeddings,
    vehicles: list[str],
    cameras: list[str],
    shifted: bool,
) -> ForeignEmbeddings:
    if isinstance(query, Embeddings) and isinstance(gallery, Embeddings):
        return ForeignEmbeddings(query, gallery)
    if isinstance(query, Embeddings) or isinstance(gallery, Embeddings):
        raise DataError(
            "query and gallery must be files of one kind; got one of this workbook's run folders "
            "and one of another program"
        )
    names, notes = _choose_names(query.names, gallery.names), []
    if query.camids is None or gallery.camids is None:
        query, gallery = (replace(split, camids=None) for split in (query, gallery))
        notes.append(
            "Cameras are not given: every gallery image of a query's vehicle counts as a match"
            + (
                ", but for one of the query's own file name, which is taken for the query itself."
                if names is not None
                else "; also the query's own image, if the gallery has it, as there are no names."
            )
        )
    else:
        every = np.concatenate([query.camids, gallery.camids])
        if (every == every[0]).all() and every[0] != 0:
            raise DataError(
                f"all images of {query.path} and {gallery.path} have one camera, so that every "
                "match would be ignored; leave the cameras out where they are not known"
            )
        if shifted:
            notes.append("Cameras are counted from 0 in the files and from 1 on this page.")
    if names is None:
        names = tuple(
            np.array([f"{kind}[{row}]" for row in range(len(split.features))])
            for kind, split in (("query", query), ("gallery", gallery))
        )
        notes.append("Names are not given: query[0] is the first row of its file.")
    return ForeignEmbeddings(
        _complete("query", query, names[0]),
        _complete("test", gallery, names[1]),
        notes,
        vehicles,
        cameras,
    )


def _choose_names(
    query: np.ndarray | None, gallery: np.ndarray | None
) -> tuple[np.ndarray, ...] | None:
    """File names where they tell the images of a split apart, else paths below a common folder."""
    if query is None or gallery is None:
        return None
    paths = [[str(one).replace("\\", "/") for one in names.tolist()] for names in (query, gallery)]
    short = [[path.rpartition("/")[2] for path in some] for some in paths]
    if all(len(set(some)) == len(some) for some in short):
        return tuple(np.array(some) for some in short)
    try:
        folder = os.path.commonpath([os.path.dirname(path) for some in paths for path in some])  # noqa: PTH120
    except ValueError:  # some absolute, some not
        folder = ""
    return tuple(np.array([p.removeprefix(f"{folder}/") for p in some]) for some in paths)


def _complete(name: str, split: _Split, names: np.ndarray) -> Embeddings:
    """Embeddings with nothing, in the form of this package, for what the files do not have."""
    count = len(split.features)
    unknown = np.full(count, UNKNOWN, np.int64)
    return Embeddings(
        split=name,
        names=names,
        pids=split.pids,
        camids=np.zeros(count, np.int64) if split.camids is None else split.camids,
        color_ids=unknown if split.color_ids is None else split.color_ids,
        type_ids=unknown if split.type_ids is None else split.type_ids,
        features=split.features,
        color_logits=np.zeros((count, 0), np.float32),
        type_logits=np.zeros((count, 0), np.float32),
        keypoints=np.zeros((count, NUM_KEYPOINTS, 3), np.float32),
        sizes=np.zeros((count, 2), np.int32),
    )


def name_networks(networks: Sequence[EmbeddingFiles], names: Sequence[str] | None) -> list[str]:
    """Names of networks: those given, else what the file names have in common, else their folder.

    Args:
        networks: Files of each.
        names: One for each, or None.

    Raises:
        ConfigError: Another number of names, one that cannot name a folder, or one twice.
    """
    if names is not None and len(names) != len(networks):
        raise ConfigError(
            f"--names needs one name for each --embeddings: expected {len(networks)}, got "
            f"{len(names)}"
        )
    chosen = list(names) if names is not None else [_name_network(files) for files in networks]
    for name in chosen:
        if Path(name).name != name or name.startswith(".") or len(name) > 100:
            raise ConfigError(f"{name!r} cannot name a run folder; choose another in --names")
    twice = sorted({name for name in chosen if chosen.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two networks would be called {twice[0]!r}; name them: --names FIRST SECOND"
        )
    return chosen


def _name_network(files: EmbeddingFiles) -> str:
    same = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(files.query.stem, files.gallery.stem, strict=False)
    )
    common = "".join(letter for letter, _ in same).strip("_-. ")
    if common in ("", "embeddings", "features", "feats"):
        common = files.query.resolve().parent.name.lstrip(".")
    return common[:100] or "embeddings"
