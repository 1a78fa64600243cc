"""Finds what is wrong with a data set before a run finds it: layout, labels, images, pose maps."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mtn_core.data.images import decode_map, read_bytes, read_image
from mtn_core.data.labels import Labels, read_labels
from mtn_core.data.layout import (
    MAP_KINDS,
    SPLITS,
    find_map_folder,
    label_path,
    map_file_names,
    split_folder,
)
from mtn_core.data.workers import num_workers_for
from mtn_core.errors import DataError, first_offenders
from mtn_core.vehicle import COLOR_NAMES, MAP_SIZE, NUM_KEYPOINTS, NUM_SEGMENTS, TYPE_NAMES

if TYPE_CHECKING:
    from mtn_core.data.mixing import MixedSplit
    from mtn_core.data.split import Split

MAP_COUNTS = {"heatmap": NUM_KEYPOINTS, "segment": NUM_SEGMENTS}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(eq=False)
class CheckReport:
    """What :func:`check_dataset` found.

    Attributes:
        problems: What makes a run fail or its result wrong.
        notes: What a person should know but no run trips over.
        counts: ``{"train": {"images": .., "ids": .., "cameras": ..}, ...}``.
    """

    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def raise_if_bad(self) -> None:
        """Raise a DataError that names the first five problems, if there are any."""
        if self.problems:
            raise DataError(
                f"{first_offenders([str(p) for p in self.problems])}; see them all with mtn check"
            )

    def to_text(self) -> str:
        """Counts, notes and problems as lines for a person."""
        lines = [
            f"{split}: " + ", ".join(f"{n} {what}" for what, n in counts.items())
            for split, counts in self.counts.items()
        ]
        lines += [f"note: {n}" for n in self.notes]
        lines += [f"problem: {p}" for p in self.problems]
        count = len(self.problems)
        lines.append(f"{count} problem{'s' if count != 1 else ''}" if count else "no problems")
        return "\n".join(lines)


def check_dataset(
    root: str | Path,
    *,
    heatmaps: bool | None = None,
    segments: bool | None = None,
    splits: Sequence[str] = SPLITS,
    decode: bool = True,
) -> CheckReport:
    """Check a data set in the VeRi layout; every problem is listed, none raises.

    Args:
        root: The folder that holds ``veri/``.
        heatmaps: Whether heatmaps are needed; None checks them where their folder exists.
        segments: Likewise for segments.
        splits: The splits to check.
        decode: Open every image and map; otherwise only their presence is checked.
    """
    report = CheckReport()
    veri = Path(root) / "veri"
    if not veri.is_dir():
        report.problems.append(Problem(veri, "folder is missing; --root must hold veri/"))
        return report
    labels: dict[str, Labels] = {}
    for split in splits:
        unfinished = veri / f".trans_{split}"
        if unfinished.is_dir():
            report.problems.append(
                Problem(unfinished, "mtn trans was interrupted; run it again, or delete the folder")
            )
        found = _check_labels(root, split, report)
        if found is None:
            continue
        labels[split] = found
        names = found.frame["name"].tolist()
        _check_images(split_folder(root, "image", split), names, report, decode)
        for kind, needed in zip(MAP_KINDS, (heatmaps, segments), strict=True):
            folder = split_folder(root, kind, split)
            if needed or (needed is None and folder.is_dir()):
                report.problems += _check_maps(folder, names, kind, decode)
        if not report.problems:
            _check_pack(root, split, report)
    _check_across(root, labels, report)
    return report


def check_needed_files(split: "Split | MixedSplit", *, heatmaps: bool, segments: bool) -> None:
    """Check that the files a run needs are there, and only those, without opening them.

    Raises:
        DataError: Names the first five that are missing.
    """
    problems: list[Problem] = []
    for part in split.parts:
        names = part.frame["name"].tolist()
        problems += _missing_images(part.folder("image"), names)
        for kind, needed in zip(MAP_KINDS, (heatmaps, segments), strict=True):
            if needed:
                problems += _check_maps(part.folder(kind), names, kind, decode=False)
    CheckReport(problems).raise_if_bad()


def _check_labels(root: str | Path, split: str, report: CheckReport) -> Labels | None:
    path = label_path(root, split)
    try:
        labels = read_labels(path)
    except DataError as error:
        report.problems.append(Problem(path, str(error)))
        return None
    report.problems += [Problem(path, p) for p in labels.problems]
    frame = labels.frame
    report.counts[split] = {
        "images": len(frame),
        "ids": frame["pid"].nunique(),
        "cameras": frame.loc[frame["camid"] > 0, "camid"].nunique(),
        "images with keypoints": int((labels.keypoints[..., 2] > 0).any(axis=1).sum()),
    }
    if frame.empty and not labels.problems:
        report.problems.append(Problem(path, f"split {split!r} is empty"))
    for column, names in (("color_id", COLOR_NAMES), ("type_id", TYPE_NAMES)):
        beyond = frame.loc[frame[column] > len(names), "name"].tolist()
        if beyond:
            report.problems.append(
                Problem(path, f"{column} above {len(names)}: {first_offenders(beyond)}")
            )
        unknown = int((frame[column] < 0).sum())
        if unknown:
            report.notes.append(
                Problem(path, f"{column} unknown in {unknown} of {len(frame)} rows; not counted")
            )
    no_camera = int((frame["camid"] == 0).sum())
    if no_camera:
        report.notes.append(
            Problem(path, f"camera unknown (c000) in {no_camera} rows: no match is ever ignored")
        )
    return labels


def _check_images(folder: Path, names: list[str], report: CheckReport, decode: bool) -> None:
    missing = _missing_images(folder, names)
    report.problems += missing
    if not folder.is_dir():
        return
    listed = _listing(folder)
    extra = sorted(listed - set(names))
    if extra:
        report.notes.append(
            Problem(folder, f"{len(extra)} files without a label: {first_offenders(extra)}")
        )
    if decode:
        present = [folder / n for n in names if n in listed]
        report.problems += _in_threads(_image_problem, present)


def _missing_images(folder: Path, names: list[str]) -> list[Problem]:
    if not folder.is_dir():
        return [Problem(folder, "folder is missing")]
    listed = _listing(folder)
    return [Problem(folder / n, "image does not exist") for n in names if n not in listed]


def _check_maps(folder: Path, names: list[str], kind: str, decode: bool) -> list[Problem]:
    if not folder.is_dir():
        return [
            Problem(
                folder,
                f"folder is missing, but {kind}s are asked for; "
                "mtn draw-pose or mtn trans makes it",
            )
        ]
    expected = map_file_names(MAP_COUNTS[kind])

    def problem_of(name: str) -> Problem | None:
        maps = find_map_folder(folder, name)
        if not maps.is_dir():
            return Problem(maps, f"{kind} folder is missing")
        listed = _listing(maps)
        if listed != set(expected):
            missing = sorted(set(expected) - listed)
            unexpected = sorted(listed - set(expected))
            parts = [f"{len(listed)} files, expected {len(expected)}"]
            parts += [f"missing {first_offenders(missing)}"] if missing else []
            parts += [f"unexpected {first_offenders(unexpected)}"] if unexpected else []
            return Problem(maps, "; ".join(parts))
        return _map_problem(maps, expected) if decode else None

    return _in_threads(problem_of, names)


def _map_problem(folder: Path, file_names: list[str]) -> Problem | None:
    for file_name in file_names:
        path = folder / file_name
        try:
            shape = decode_map(read_bytes(path), path).shape
        except DataError as error:
            return Problem(path, _without_path(error, path))
        if shape != (MAP_SIZE, MAP_SIZE):
            return Problem(path, f"is {shape[1]}x{shape[0]} pixels, expected {MAP_SIZE}x{MAP_SIZE}")
    return None


def _image_problem(path: Path) -> Problem | None:
    try:
        read_image(path)
    except DataError as error:
        return Problem(path, _without_path(error, path))
    return None


def _check_pack(root: str | Path, split: str, report: CheckReport) -> None:
    from mtn_core.data.packs.read import find_pack_problem
    from mtn_core.data.split import load_split

    try:
        stale = find_pack_problem(load_split(root, split))
    except DataError as error:
        report.problems.append(Problem(label_path(root, split), str(error)))
        return
    if stale:
        folder = split_folder(root, "image", split).with_name(f"pack_{split}")
        report.notes.append(Problem(folder, f"not used: {stale}; run mtn pack --overwrite"))


def _check_across(root: str | Path, labels: dict[str, Labels], report: CheckReport) -> None:
    ids = {split: set(found.frame["pid"].tolist()) for split, found in labels.items()}
    for split in ("query", "test"):
        if "train" in ids and split in ids:
            both = sorted(ids["train"] & ids[split])
            if both:
                report.problems.append(
                    Problem(
                        label_path(root, split),
                        f"{len(both)} ids are also training ids: {first_offenders(both)}; "
                        "results would be too good",
                    )
                )
    if "query" in ids and "test" in ids:
        alone = sorted(ids["query"] - ids["test"])
        if alone:
            report.notes.append(
                Problem(
                    label_path(root, "query"),
                    f"{len(alone)} query ids are not in the gallery: {first_offenders(alone)}",
                )
            )
    if "train" in labels:
        counts = Counter(labels["train"].frame["pid"].tolist())
        single = sorted(pid for pid, count in counts.items() if count == 1)
        if single:
            report.notes.append(
                Problem(
                    label_path(root, "train"),
                    f"{len(single)} ids have a single image, so no positive pair: "
                    f"{first_offenders(single)}",
                )
            )


def _listing(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:  # far quicker than Path.iterdir() on 40,000 files
        return {entry.name for entry in entries}


def _without_path(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path} ")


def _in_threads(function, items: Iterable) -> list[Problem]:
    with ThreadPoolExecutor(num_workers_for(None)) as pool:
        return [problem for problem in pool.map(function, items) if problem]
