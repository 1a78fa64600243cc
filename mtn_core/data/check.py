"""Finds what is wrong with a data set before a run finds it: layout, labels, images, pose maps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mtn_core.data.labels import Labels, read_labels
from mtn_core.data.layout import (
    MAP_KINDS,
    SPLITS,
    MapKind,
    find_map_folder,
    label_path,
    present_splits,
    split_folder,
)
from mtn_core.data.leaks import find_shared_ids, find_shared_images
from mtn_core.data.packs.read import find_pack_problem
from mtn_core.data.presence import (
    Problem,
    find_missing_images,
    find_missing_maps,
    list_names,
    raise_problems,
)
from mtn_core.data.split import Split, load_split
from mtn_core.data.strict import StrictDecoder
from mtn_core.data.turned import find_turned_problems
from mtn_core.errors import DataError, first_offenders
from mtn_core.pixel_limit import max_pixels
from mtn_core.vehicle import COLOR_NAMES, TYPE_NAMES

_FARTHEST = 2**20  # no picture that can be read is larger
_CONFIDENCES = (-1.0, 2.0)  # published predictions reach from 0.001 to 1.123
_USE_WITHOUT = {
    True: "for evaluation only",
    False: "for training only; train with train.eval_every=0, data.val_ids or --eval_root",
}


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
        raise_problems(self.problems)

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
    splits: Sequence[str] | None = None,
    decode: bool = True,
) -> CheckReport:
    """Check a data set in the VeRi layout; every problem is listed, none raises.

    Args:
        root: The folder that holds ``veri/``.
        heatmaps: Whether heatmaps are needed; None checks them where their folder exists.
        segments: Likewise for segments.
        splits: The splits to check, which must be there; by default those that are there.
        decode: Open every image and map, strictly: a file that would be read, but was repaired for
            it, is a problem, too. Otherwise only their presence is checked.

    Raises:
        ConfigError: The environment variable ``MTN_MAX_PIXELS`` is not usable.
    """
    max_pixels()  # an unusable limit is no problem of any file
    report = CheckReport()
    veri = Path(root) / "veri"
    if not veri.is_dir():
        what = "is no folder" if veri.exists() else "folder is missing"
        report.problems.append(Problem(veri, f"{what}; --root must hold veri/"))
        return report
    if splits is None:
        splits = present_splits(root) or SPLITS
        absent = [s for s in SPLITS if s not in splits]
        if absent:
            what = f"no {', '.join(absent)}: {_USE_WITHOUT[absent == ['train']]}"
            report.notes.append(Problem(veri, what))
    labels: dict[str, Labels] = {}
    with StrictDecoder() as decoder:
        for split in splits:
            unfinished = veri / f".trans_{split}"
            if unfinished.is_dir():
                what = "mtn trans was interrupted; run it again, or delete the folder"
                report.problems.append(Problem(unfinished, what))
            found = _check_labels(root, split, report)
            if found is None:
                continue
            labels[split] = found
            _check_images(root, split, found, report, decoder if decode else None)
            names = found.frame["name"].tolist()
            for kind, needed in zip(MAP_KINDS, (heatmaps, segments), strict=True):
                folder = split_folder(root, kind, split)
                if needed or (needed is None and folder.exists()):
                    report.problems += _check_maps(folder, names, kind, decoder if decode else None)
            if not report.problems:
                _check_pack(root, split, report)
    _check_across(root, labels, report)
    return report


def _check_labels(root: str | Path, split: str, report: CheckReport) -> Labels | None:
    path = label_path(root, split)
    try:
        labels = read_labels(path)
    except DataError as error:
        report.problems.append(Problem(path, str(error).removeprefix(f"label file {path} ")))
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
    report.problems += _find_odd_keypoints(path, labels)
    no_camera = int((frame["camid"] == 0).sum())
    if no_camera:
        report.notes.append(
            Problem(path, f"camera unknown (c000) in {no_camera} rows: no match is ever ignored")
        )
    return labels


def _find_odd_keypoints(path: Path, labels: Labels) -> list[Problem]:
    """Keypoints that are none: those of other units, or of columns that changed places."""
    positions, confidences = labels.keypoints[..., :2], labels.keypoints[..., 2]
    odd = {
        f"keypoints more than {_FARTHEST} pixels away": np.abs(positions).max(axis=2) > _FARTHEST,
        "confidences that are not 0 to 1, not even nearly; are the columns x, y, confidence?": (
            (confidences < _CONFIDENCES[0]) | (confidences > _CONFIDENCES[1])
        ),
    }
    return [
        Problem(path, f"{what}: {first_offenders(labels.frame['name'][rows].tolist())}")
        for what, found in odd.items()
        if (rows := found.any(axis=1)).any()
    ]


def _check_images(
    root: str | Path, split: str, labels: Labels, report: CheckReport, decoder: StrictDecoder | None
) -> None:
    folder, names = split_folder(root, "image", split), labels.frame["name"].tolist()
    missing = find_missing_images(folder, names)
    report.problems += missing
    if not folder.is_dir():
        return
    listed = list_names(folder)
    extra = sorted(listed - set(names))
    if extra:
        report.notes.append(
            Problem(folder, f"{len(extra)} files without a label: {first_offenders(extra)}")
        )
    if decoder is None:
        return
    absent = {problem.path for problem in missing}
    broken, turned = decoder.find_broken_images(
        path for path in (folder / name for name in names) if path not in absent
    )
    report.problems += broken
    report.problems += find_turned_problems(turned, labels, split_folder(root, "heatmap", split))
    if turned:
        turned_names = [path.name for path in turned]
        report.notes.append(
            Problem(
                folder,
                f"{len(turned)} images are turned upright as their EXIF says; keypoints and maps "
                f"must be those of the upright picture: {first_offenders(turned_names)}",
            )
        )


def _check_maps(
    folder: Path, names: list[str], kind: MapKind, decoder: StrictDecoder | None
) -> list[Problem]:
    problems = find_missing_maps(folder, names, kind)
    if decoder is None or not folder.is_dir():
        return problems
    incomplete = {problem.path for problem in problems}
    whole = [f for f in (find_map_folder(folder, n) for n in names) if f not in incomplete]
    return problems + decoder.find_broken_maps(whole, kind)


def _check_pack(root: str | Path, split: str, report: CheckReport) -> None:
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
    loaded = {s: Split(Path(root), s, f.frame, f.keypoints) for s, f in labels.items()}
    for split in ("query", "test"):
        if "train" not in loaded or split not in loaded:
            continue
        for shared, what in (
            (find_shared_ids(loaded["train"], [loaded[split]]), "ids are also training ids"),
            (find_shared_images(loaded["train"], [loaded[split]]), "images are training images"),
        ):
            if shared:
                report.problems.append(
                    Problem(
                        label_path(root, split),
                        f"{len(shared)} {what}: {first_offenders(shared)}; "
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
