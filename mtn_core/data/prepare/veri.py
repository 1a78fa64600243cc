"""The official VeRi download, with PAMTRI's published labels where given, into the layout."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.data.labels import write_labels
from mtn_core.data.layout import IMAGE_SUFFIXES, SPLITS, label_path, split_folder
from mtn_core.data.prepare.labels import (
    no_keypoints,
    read_label_csv,
    read_text,
    read_training_list,
    read_veri_xml,
)
from mtn_core.data.prepare.orientation import (
    ORIENTATION_NAME,
    orientation_table,
    read_orientations,
)
from mtn_core.data.prepare.placing import (
    place_file,
    refuse_full_root,
    refuse_linked_sources,
    refuse_overlap,
)
from mtn_core.errors import ConfigError, DataError, first_offenders
from mtn_core.files import atomic_folder, why_no_folder, write_text
from mtn_core.progress import progress_bar

OFFICIAL_IMAGES = {"train": 37_778, "query": 1_678, "test": 11_579}
OFFICIAL_IDS = {"train": 576, "query": 200, "test": 200}
REPORT_NAME = "prepare_report.txt"


@dataclass(eq=False)
class VeriReport:
    """What :func:`prepare_veri` found.

    Attributes:
        images: Rows written, by split.
        ids: Vehicles, by split.
        with_keypoints: Rows with keypoints, by split.
        unlabelled: Images without a label, as ``split/name``.
        imageless: Labels without an image, as ``split/name``; not written.
        deviations: Counts that differ from the official ones.
        notes: Where labels came from, and where sources disagree.
    """

    images: dict[str, int] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    with_keypoints: dict[str, int] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    imageless: list[str] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_text(self, limit: int | None = None) -> str:
        """All lines, or lists cut at ``limit`` entries."""
        lines = [
            f"{split}: {self.images[split]} images, {self.ids[split]} ids, "
            f"{self.with_keypoints[split]} images with keypoints"
            for split in self.images
        ]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"not official: {deviation}" for deviation in self.deviations]
        for title, names in (
            ("images without a label", self.unlabelled),
            ("labels without an image", self.imageless),
        ):
            lines.append(f"{len(names)} {title}")
            lines += [f"  {name}" for name in names[:limit]]
            if limit is not None and len(names) > limit:
                lines.append(f"  ... all in {REPORT_NAME}")
        return "\n".join(lines) + "\n"


def prepare_veri(
    root: str | Path,
    *,
    download: str | Path | None = None,
    labels: str | Path | None = None,
    labels_only: bool = False,
    orientations: Sequence[str | Path] = (),
    partial: bool = False,
    copy: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> VeriReport:
    """Bring VeRi's download into the layout.

    Labels of a split come from ``label_SPLIT.csv`` where there is one (with keypoints), else from
    ``train_label.xml`` / ``test_label.xml``, for training else from ``train-id-col-mod.txt``.
    Gallery rows without keypoints take those of the same image among the queries. A label whose
    image is absent is not written.

    Args:
        root: Where ``veri/`` is made.
        download: VeRi's folder, with ``image_train`` and so on; not needed with ``labels_only``.
        labels: Folder with label files; ``download`` is searched as well.
        labels_only: Write label files only.
        orientations: Published keypoint files, whose orientations go to ``veri/orientation.csv``.
        partial: Accept counts that are not the official ones, and splits without labels.
        copy: Copy images instead of linking them.
        overwrite: Replace a ``veri`` folder that holds something.
        progress: Show a progress bar where there is a terminal.

    Returns:
        What was found; also written, in full, to ``veri/prepare_report.txt``.

    Raises:
        ConfigError: A source overlaps ``root/veri``, or there is none.
        DataError: Files missing or broken, or counts that are not official.
        RunFolderError: ``root/veri`` holds something and ``overwrite`` is false.
    """
    given = {"--download": download}
    refuse_overlap(
        root, {} if labels_only else given, {"--labels": labels} | (given if labels_only else {})
    )
    refuse_full_root(root, overwrite=overwrite)
    source = None if labels_only or download is None else Path(download)
    if source is None and not labels_only:
        raise ConfigError("--download is needed, or --labels-only to write label files alone")
    folders = [Path(f) for f in (labels, download) if f is not None]
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"folder {folder} {why_no_folder(folder)}")
    report = VeriReport()
    known = read_orientations(orientations)
    tables = _read_all(folders, report)
    images: dict[str, list[str]] = {}
    if source is not None:
        tables, images = _match_images(source, tables, report)
        if not any(images.values()):
            raise DataError(
                f"none of the {len(report.imageless)} labels has its image in {source}, such as "
                f"{first_offenders(report.imageless, 1)}"
            )
        named = [source / f"image_{split}" / name for split in images for name in images[split]]
        refuse_linked_sources(root, "--download", named)
    for split, (frame, keypoints) in tables.items():
        report.images[split] = len(frame)
        report.ids[split] = frame["pid"].nunique()
        report.with_keypoints[split] = int((keypoints[..., 2] > 0).any(axis=1).sum())
    report.deviations = _deviations(tables)
    if report.deviations and not partial:
        raise DataError(
            f"not the official VeRi: {first_offenders(report.deviations, 12)}; "
            f"{len(report.unlabelled)} images without a label, {len(report.imageless)} labels "
            "without an image. Nothing was written; --partial accepts it"
        )
    names = sorted({name for frame, _ in tables.values() for name in frame["name"]})
    table, count = orientation_table(known, names)
    if known:
        report.notes.append(f"orientations of {count} of {len(names)} images")
    with atomic_folder(Path(root) / "veri", overwrite=overwrite) as temporary:
        if known:
            write_text(temporary / ORIENTATION_NAME, table)
        for split, (frame, keypoints) in tables.items():
            write_labels(temporary / label_path("", split).name, frame, keypoints)
        if source is not None:
            for split, placed in images.items():
                _place(source, temporary, split, placed, copy=copy, progress=progress)
        write_text(temporary / REPORT_NAME, report.to_text())
    return report


Table = tuple[pd.DataFrame, np.ndarray]


def _read_all(folders: Sequence[Path], report: VeriReport) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    xml: dict[str, pd.DataFrame] = {}
    for split, file_name in (("train", "train_label.xml"), ("test", "test_label.xml")):
        path = _find(folders, file_name)
        if path:
            xml[split], notes = read_veri_xml(path)
            report.notes += notes
    for split in SPLITS:
        path = _find(folders, f"label_{split}.csv")
        source = xml.get("train" if split == "train" else "test")
        if path:
            tables[split] = read_label_csv(path)
            report.notes.append(f"{split}: labels and keypoints from {path.name}")
            if source is not None:
                report.notes += _disagreements(split, tables[split][0], source)
        elif split == "train" and source is None:
            listing = _find(folders, "train-id-col-mod.txt")
            if listing:
                frame = read_training_list(listing)
                tables[split] = frame, no_keypoints(len(frame))
                report.notes.append(f"{split}: labels from {listing.name}, no keypoints")
        elif source is not None:
            names = _query_names(folders) if split == "query" else None
            if split == "query" and names is None:
                continue
            frame = source if names is None else source[source["name"].isin(names)]
            frame = frame.reset_index(drop=True)
            tables[split] = frame, no_keypoints(len(frame))
            report.notes.append(f"{split}: labels from VeRi's XML, no keypoints")
    if not tables:
        raise DataError(
            f"no label files in {', '.join(map(str, folders))}; expected label_train.csv and the "
            "like, train_label.xml, test_label.xml or train-id-col-mod.txt"
        )
    _share_keypoints(tables, report)
    return tables


def _share_keypoints(tables: dict[str, Table], report: VeriReport) -> None:
    """Queries stand in the gallery, too: the same image has the same keypoints."""
    if "query" not in tables or "test" not in tables:
        return
    (query, query_keypoints), (test, test_keypoints) = tables["query"], tables["test"]
    row_of = {name: row for row, name in enumerate(query["name"])}
    shared = test_keypoints.copy()
    without = ~(test_keypoints[..., 2] > 0).any(axis=1)
    filled = 0
    for row in np.flatnonzero(without & test["name"].isin(row_of).to_numpy()):
        shared[row] = query_keypoints[row_of[test["name"].iloc[row]]]
        filled += bool((shared[row][:, 2] > 0).any())
    if filled:
        report.notes.append(f"test: keypoints of {filled} images taken from the query labels")
        tables["test"] = test, shared


def _disagreements(split: str, csv: pd.DataFrame, xml: pd.DataFrame) -> list[str]:
    both = csv.merge(xml, on="name", suffixes=("_csv", "_xml"))
    notes = []
    for column in ("pid", "color_id", "type_id"):
        differs = both.loc[both[f"{column}_csv"] != both[f"{column}_xml"], "name"].tolist()
        if differs:
            notes.append(
                f"{split}: {column} differs between CSV and XML, the CSV's is kept: "
                f"{first_offenders(differs)}"
            )
    return notes


def _query_names(folders: Sequence[Path]) -> set[str] | None:
    listing = _find(folders, "name_query.txt")
    if listing:
        return set(read_text(listing).split())
    images = next((f / "image_query" for f in folders if (f / "image_query").is_dir()), None)
    return {path.name for path in images.iterdir()} if images else None


def _match_images(
    download: Path, tables: dict[str, Table], report: VeriReport
) -> tuple[dict[str, Table], dict[str, list[str]]]:
    matched, images = {}, {}
    for split, (frame, keypoints) in tables.items():
        folder = download / f"image_{split}"
        if not folder.is_dir():
            raise DataError(
                f"folder {folder} is missing; --download must hold VeRi's image_train, "
                "image_query and image_test (or use --labels-only)"
            )
        listed = {p.name for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES}
        named = set(frame["name"])
        report.unlabelled += [f"{split}/{name}" for name in sorted(listed - named)]
        report.imageless += [f"{split}/{name}" for name in sorted(named - listed)]
        kept = frame["name"].isin(listed).to_numpy()
        matched[split] = frame[kept].reset_index(drop=True), keypoints[kept]
        images[split] = matched[split][0]["name"].tolist()
    return matched, images


def _deviations(tables: dict[str, Table]) -> list[str]:
    deviations = []
    for split in SPLITS:
        if split not in tables:
            deviations.append(f"{split} has no labels")
            continue
        frame = tables[split][0]
        for found, official, what in (
            (len(frame), OFFICIAL_IMAGES[split], "images"),
            (frame["pid"].nunique(), OFFICIAL_IDS[split], "ids"),
        ):
            if found != official:
                deviations.append(f"{split} has {found} {what}, VeRi has {official}")
    return deviations


def _place(
    download: Path, temporary: Path, split: str, names: list[str], *, copy: bool, progress: bool
) -> None:
    folder = split_folder(temporary.parent, "image", split).name
    target = temporary / folder
    target.mkdir()
    for name in progress_bar(names, description=f"images {split}", unit="image", shown=progress):
        place_file(download / folder / name, target / name, copy=copy)


def _find(folders: Sequence[Path], name: str) -> Path | None:
    return next((f / name for f in folders if (f / name).is_file()), None)
