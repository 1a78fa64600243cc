"""Any folder of vehicle crops into the layout: names by a pattern, or labels by a CSV."""

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.data.layout import SPLITS
from mtn_core.data.prepare.boxes import cut_boxes, read_boxes
from mtn_core.data.prepare.naming import number_names, splits_of
from mtn_core.data.prepare.placing import (
    refuse_full_root,
    refuse_linked_sources,
    refuse_overlap,
)
from mtn_core.data.prepare.sources import (
    check_regex,
    pattern_to_regex,
    rows_by_csv,
    rows_by_name,
    with_reasons,
)
from mtn_core.data.prepare.writing import LayoutReport, table_of, write_layout
from mtn_core.data.strict import StrictDecoder
from mtn_core.errors import ConfigError, DataError, first_offenders
from mtn_core.pixel_limit import max_pixels
from mtn_core.progress import progress_bar

JUNK_IDS = ("-1",)
DISTRACTOR_IDS = ("0000",)
MARGIN = 0.05


def prepare_folder(
    images: str | Path,
    root: str | Path,
    *,
    pattern: str | None = None,
    regex: str | None = None,
    csv: str | Path | None = None,
    boxes: str | Path | None = None,
    margin: float = MARGIN,
    junk_ids: Sequence[str] = JUNK_IDS,
    distractor_ids: Sequence[str] = DISTRACTOR_IDS,
    test_share: float = 0.5,
    seed: int = 0,
    skip_bad: bool = False,
    copy: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> LayoutReport:
    """Make the layout of a folder of crops.

    Where neither pattern nor CSV gives a split, a share of the ids with two images or more goes to
    the test, the rest is for training. As in VeRi, each test id has one query a camera, and queries
    stand in the gallery, too, where their own camera is ignored. Of an id without cameras one image
    is the query and stands in the query alone, for nothing would be ignored.

    Images get names of the layout; ``veri/names.csv`` says which is which, and what vehicles and
    cameras were called. There are no keypoints.

    Args:
        images: Folder with the crops, also in subfolders.
        root: Where ``veri/`` is made.
        pattern: Such as ``{pid}_c{camid}_*.jpg`` or ``{pid}/*.png``, matched against the path below
            ``images``; fields as in
            :data:`mtn_core.data.prepare.sources.FIELDS`.
        regex: A regular expression instead, with groups of these names.
        csv: Table with a header: ``name, pid`` and any other field; ``name`` is the path below
            ``images``. An image may be query and gallery (``query+test``).
        boxes: CVAT's XML or COCO's JSON instead; ``images`` are then frames, and crops are cut out
            of them.
        margin: Around boxes, as a share of their width and height.
        junk_ids: Vehicle ids of images that stand in no ranking.
        distractor_ids: Vehicle ids of images that stand in the gallery and match nothing.
        test_share: Share of the ids for the test, 0..1.
        seed: Of that choice.
        skip_bad: Leave out files that cannot be read or do not match, instead of failing.
        copy: Copy images instead of linking them.
        overwrite: Replace a ``veri`` folder that holds something.
        progress: Show a progress bar where there is a terminal.

    Raises:
        ConfigError: Not exactly one of ``pattern``, ``regex`` and ``csv``, an unusable one, or a
            source that overlaps ``root/veri``.
        DataError: No images, or files that cannot be used.
        RunFolderError: ``root/veri`` holds something and ``overwrite`` is false.
    """
    max_pixels()  # an unusable limit is no problem of any file
    refuse_overlap(root, {"--images": images}, {"--csv": csv, "--boxes": boxes})
    refuse_full_root(root, overwrite=overwrite)
    if sum(given is not None for given in (pattern, regex, csv, boxes)) != 1:
        raise ConfigError("give exactly one of --pattern, --regex, --csv and --boxes")
    if not 0 <= test_share <= 1:
        raise ConfigError(f"--test_share must be 0..1; got {test_share}")
    options: dict[str, Any] = {
        "junk_ids": junk_ids,
        "distractor_ids": distractor_ids,
        "test_share": test_share,
        "seed": seed,
        "skip_bad": skip_bad,
        "overwrite": overwrite,
        "progress": progress,
        "notes": [],
    }
    images = Path(images)
    if not images.is_dir():
        what = "is no folder" if images.exists() else "does not exist"
        raise DataError(f"folder {images} {what}")
    if boxes is not None:
        drawn = read_boxes(Path(boxes))
        with tempfile.TemporaryDirectory(prefix="mtn-boxes-") as folder:
            table, bad = cut_boxes(drawn, images, Path(folder), margin=margin, progress=progress)
            return _finish(Path(folder), root, table, bad, copy=True, **options)
    if csv is not None:
        table, bad, options["notes"] = rows_by_csv(images, Path(csv))
    elif regex is not None:
        table, bad = rows_by_name(images, check_regex(regex), regex)
    else:
        table, bad = rows_by_name(images, pattern_to_regex(pattern or ""), pattern or "")
    refuse_linked_sources(root, "--images", [images / name for name in table["name"].unique()])
    bad |= _unreadable(images, table, progress)
    return _finish(images, root, table, bad, copy=copy, **options)


def _finish(
    images: Path,
    root: str | Path,
    table: pd.DataFrame,
    bad: Mapping[str, str],
    *,
    notes: list[str],
    junk_ids: Sequence[str],
    distractor_ids: Sequence[str],
    test_share: float,
    seed: int,
    skip_bad: bool,
    copy: bool,
    overwrite: bool,
    progress: bool,
) -> LayoutReport:
    """Numbers, splits, files: what is the same wherever the rows came from."""
    left_out = with_reasons(bad)
    if bad and not skip_bad:
        raise DataError(
            f"{first_offenders(left_out)}; --skip_bad leaves them out. Nothing was written"
        )
    report = LayoutReport(left_out=left_out, notes=notes)
    table = table[~table["name"].isin(bad)].reset_index(drop=True)
    if table.empty:
        raise DataError(f"no usable images in {images}: {first_offenders(left_out)}")
    report.notes += number_names(table, junk_ids, distractor_ids)
    table = _split(table, test_share, seed, report)
    _note_oddities(table, report)
    rows = table.rename(columns={"name": "source"}).to_dict("records")
    names = table[["pid_name", "camera_name"]].reset_index(drop=True)
    finished = table_of(rows).assign(**_renamed(table, names))
    write_layout(root, finished, images, report, copy=copy, overwrite=overwrite, progress=progress)
    report.notes.append(f"next: {_what_next(Path(root), report)}")
    return report


def _note_oddities(table: pd.DataFrame, report: LayoutReport) -> None:
    ids = {split: set(table.loc[table["split"] == split, "pid"]) for split in SPLITS}
    report.notes += [f"the split {split} is empty" for split in SPLITS if not ids[split]]
    leaked = sorted(ids["train"] & (ids["query"] | ids["test"]))
    if leaked:
        report.notes.append(
            f"{len(leaked)} vehicles are trained on and tested with: {first_offenders(leaked)}; "
            "results would be too good"
        )


def _renamed(table: pd.DataFrame, names: pd.DataFrame) -> dict[str, pd.Series]:
    """Names of vehicles and cameras where their numbers do not say them."""
    ids, cameras = table["pid"].reset_index(drop=True), table["camid"].reset_index(drop=True)
    return {
        "pid_name": names["pid_name"].where(names["pid_name"] != ids.astype(str), ""),
        "camera_name": names["camera_name"].where(names["camera_name"] != cameras.astype(str), ""),
    }


def _what_next(root: Path, report: LayoutReport) -> str:
    found = [split for split in ("train", "query", "test") if split in report.images]
    splits = "" if len(found) == 3 else f" --splits {' '.join(found)}"
    where = shlex.quote(str(root))
    check = f"mtn check --root {where}{splits}"
    if "train" not in found:
        return f"{check}; then mtn eval --root {where} --ckpt_path CHECKPOINT --out RUN"
    plain = "model.keypoints=false model.segments=false"
    plain += "" if {"query", "test"} <= set(found) else " train.eval_every=0"
    return f"{check}; then mtn train --root {where} --recipe strong --out RUN --set {plain}"


def _unreadable(images: Path, table: pd.DataFrame, progress: bool) -> dict[str, str]:
    there = [
        name for name in table["name"].unique() if (images / name).is_file()
    ]  # others are known
    with (
        StrictDecoder() as decoder,
        progress_bar(
            total=len(there), description="check images", unit="image", shown=progress
        ) as bar,
    ):
        problems, _ = decoder.find_broken_images((images / n for n in there), bar.update)
    return {p.path.relative_to(images).as_posix(): p.what for p in problems}


def _split(table: pd.DataFrame, test_share: float, seed: int, report: LayoutReport) -> pd.DataFrame:
    """One row for each image of each split; junk and distractors go to the gallery."""
    plain = table["role"] == ""
    if "split" in table:
        given = table.loc[plain, "split"].map(splits_of)
        others = [table[~plain].drop_duplicates("name").assign(split="test")]
        rows = table[plain].assign(split=given).explode("split")
        return pd.concat([rows.drop_duplicates(["name", "split"]), *others], ignore_index=True)
    if (table.loc[plain, "camid"] == 0).any():
        report.notes.append(
            "cameras are unknown for some images: every gallery image of the same id counts as a "
            "match, also one taken a moment after the query by the same camera"
        )
    images = table[plain].reset_index(drop=True)
    train, query, gallery = _share(images, test_share, seed, report)
    parts = [
        images.iloc[train].assign(split="train"),
        images.iloc[query].assign(split="query"),
        images.iloc[gallery].assign(split="test"),
        table[~plain].assign(split="test"),
    ]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def _share(
    table: pd.DataFrame, test_share: float, seed: int, report: LayoutReport
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of each split."""
    rng = np.random.default_rng(seed)
    by_id = table.groupby("pid").indices
    candidates = [pid for pid, rows in by_id.items() if _queries(table, rows)]
    count = round(test_share * len(by_id))
    if count and not candidates:
        report.notes.append(
            "no vehicle has a second view to find, so nothing can be tested: all images are for "
            "training"
        )
    elif count > len(candidates):
        report.notes.append(f"only {len(candidates)} ids have a second view to test with")
    chosen = set(rng.permutation(sorted(candidates))[:count].tolist()) if candidates else set()
    query: list[int] = []
    gallery: list[int] = []
    for pid in sorted(chosen):
        queries = _queries(table, by_id[pid])
        query += queries
        alone = {row for row in queries if table["camid"].iloc[row] == 0}
        gallery += [row for row in by_id[pid].tolist() if row not in alone]
    train = np.flatnonzero(~table["pid"].isin(chosen))
    return train, np.array(sorted(query), int), np.array(gallery, int)


def _queries(table: pd.DataFrame, rows: np.ndarray) -> list[int]:
    """First image of each camera, of those that leave a match in the gallery."""
    cameras = table["camid"].iloc[rows].to_numpy()
    queries = []
    for camera in np.unique(cameras):
        mine = rows[cameras == camera]
        others = (len(rows) - 1) if camera == 0 else int((cameras != camera).sum())
        if others:
            queries.append(int(mine[0]))
    return queries
