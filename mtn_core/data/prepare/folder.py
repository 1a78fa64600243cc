"""Any folder of vehicle crops into the layout: names by a pattern, or labels by a CSV."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.data.labels import ID_LIMIT, write_labels
from mtn_core.data.layout import IMAGE_SUFFIXES, SPLITS, label_path, split_folder
from mtn_core.data.prepare.labels import no_keypoints
from mtn_core.data.prepare.placing import (
    place_file,
    refuse_full_root,
    refuse_linked_sources,
    refuse_overlap,
)
from mtn_core.data.strict import StrictDecoder
from mtn_core.errors import ConfigError, DataError, first_line, first_offenders
from mtn_core.files import atomic_folder, write_text
from mtn_core.progress import progress_bar
from mtn_core.vehicle import UNKNOWN

_FIELDS = ("pid", "camid", "color_id", "type_id", "split")
_INTEGER_FIELDS = ("camid", "color_id", "type_id")
_TOKEN = re.compile(r"\{(\w+)\}|\*")


@dataclass(eq=False)
class PrepareReport:
    """What :func:`prepare_folder` made.

    Attributes:
        images: Rows written, by split.
        ids: Vehicles, by split.
        left_out: Files that were not used, and why.
        notes: What a person should know.
    """

    images: dict[str, int] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_text(self) -> str:
        """Lines for a person."""
        lines = [f"{s}: {self.images[s]} images, {self.ids[s]} ids" for s in self.images]
        lines += [f"note: {note}" for note in self.notes]
        if self.left_out:
            lines.append(f"left out: {first_offenders(self.left_out)}")
        return "\n".join(lines) + "\n"


def prepare_folder(
    images: str | Path,
    root: str | Path,
    *,
    pattern: str | None = None,
    csv: str | Path | None = None,
    test_share: float = 0.5,
    seed: int = 0,
    skip_bad: bool = False,
    copy: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> PrepareReport:
    """Make the layout of a folder of crops.

    Where neither pattern nor CSV gives a split, a share of the ids with two images or more goes to
    the test, the rest is for training. As in VeRi, each test id has one query a camera, and queries
    stand in the gallery, too, where their own camera is ignored. Of an id without cameras one image
    is the query and stands in the query alone, for nothing would be ignored.

    Images get names of the layout; ``veri/names.csv`` says which is which. There are no keypoints.

    Args:
        images: Folder with the crops, also in subfolders.
        root: Where ``veri/`` is made.
        pattern: Such as ``{pid}_c{camid}_*.jpg`` or ``{pid}/*.png``, matched against the path below
            ``images``; fields ``pid``, ``camid``, ``color_id``, ``type_id``, ``split``.
        csv: Table with a header: ``name, pid`` and any of ``camid, color_id, type_id, split``;
            ``name`` is the path below ``images``.
        test_share: Share of the ids for the test, 0..1.
        seed: Of that choice.
        skip_bad: Leave out files that cannot be read or do not match, instead of failing.
        copy: Copy images instead of linking them.
        overwrite: Replace a ``veri`` folder that holds something.
        progress: Show a progress bar where there is a terminal.

    Raises:
        ConfigError: Not exactly one of ``pattern`` and ``csv``, an unusable pattern, or a source
            that overlaps ``root/veri``.
        DataError: No images, or files that cannot be used.
        RunFolderError: ``root/veri`` holds something and ``overwrite`` is false.
    """
    refuse_overlap(root, {"--images": images}, {"--csv": csv})
    refuse_full_root(root, overwrite=overwrite)
    if (pattern is None) == (csv is None):
        raise ConfigError("give exactly one of --pattern and --csv")
    if not 0 <= test_share <= 1:
        raise ConfigError(f"--test_share must be 0..1; got {test_share}")
    images = Path(images)
    if not images.is_dir():
        raise DataError(f"folder {images} does not exist")
    report = PrepareReport()
    if csv is not None:
        table, bad = _by_csv(images, Path(csv), report)
    else:
        table, bad = _by_pattern(images, pattern or "")
    refuse_linked_sources(root, "--images", [images / name for name in table["name"]])
    bad |= _unreadable(images, table, progress)
    report.left_out = [f"{name}: {what}" for name, what in bad.items()]
    if bad and not skip_bad:
        raise DataError(
            f"{first_offenders(report.left_out)}; --skip_bad leaves them out. Nothing was written"
        )
    table = table[~table["name"].isin(bad)].reset_index(drop=True)
    if table.empty:
        raise DataError(f"no usable images in {images}")
    table["pid"] = _number_ids(table["pid"], report)
    splits = _split(table, test_share, seed, report)
    _note_oddities(table, splits, report)
    with atomic_folder(Path(root) / "veri", overwrite=overwrite) as temporary:
        table["new_name"] = [
            f"{row.pid:04d}_c{row.camid:03d}_{number:08d}_0{Path(row.name).suffix.lower()}"
            for number, row in enumerate(table.itertuples(index=False), start=1)
        ]
        for split, rows in splits.items():
            part = table.iloc[rows]
            folder = temporary / split_folder("", "image", split).name
            folder.mkdir()
            for old, new in zip(part["name"], part["new_name"], strict=True):
                place_file(images / old, folder / new, copy=copy)
            frame = part.assign(name=part["new_name"])
            path = temporary / label_path("", split).name
            write_labels(path, frame, no_keypoints(len(frame)))
            report.images[split], report.ids[split] = len(part), part["pid"].nunique()
        names = table[["new_name", "name"]].rename(columns={"name": "source", "new_name": "name"})
        write_text(temporary / "names.csv", names.to_csv(index=False))
        write_text(temporary / "prepare_report.txt", report.to_text())
    return report


def pattern_to_regex(pattern: str) -> re.Pattern[str]:
    """Regular expression of a pattern such as ``{pid}_c{camid}_*.jpg``.

    Raises:
        ConfigError: No ``{pid}``, an unknown field, or a field that comes twice.
    """
    fields = [match.group(1) for match in _TOKEN.finditer(pattern) if match.group(1)]
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown or "pid" not in fields or len(set(fields)) < len(fields):
        raise ConfigError(
            f"--pattern {pattern!r} must hold {{pid}} and may hold "
            f"{', '.join('{' + f + '}' for f in _FIELDS[1:])}, each once; got {fields}"
        )
    parts, position = [], 0
    for match in _TOKEN.finditer(pattern):
        parts.append(re.escape(pattern[position : match.start()]))
        position = match.end()
        name = match.group(1)
        if name is None:
            parts.append("[^/]*")
        elif name in _INTEGER_FIELDS:
            parts.append(rf"(?P<{name}>-?\d+)")
        else:
            parts.append(rf"(?P<{name}>[^/_.]+)")
    return re.compile("".join([*parts, re.escape(pattern[position:])]))


def _by_pattern(images: Path, pattern: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows, and what is wrong with the files that have none, by their names."""
    regex = pattern_to_regex(pattern)
    rows, bad = [], {}
    for path in sorted(p for p in images.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES):
        if path.is_dir():
            continue
        name = path.relative_to(images).as_posix()
        if not path.is_file():
            bad[name] = "is not a regular file, or a link to nothing"
            continue
        match = regex.fullmatch(name)
        if not name.isprintable() and not _is_text(name):
            shown = name.encode("utf-8", "backslashreplace").decode()
            bad[shown] = "the name is not UTF-8 text; rename the file"
        elif match:
            rows.append({"name": name, **match.groupdict()})
        else:
            bad[name] = f"does not match {pattern!r}"
    if not rows:
        raise DataError(
            f"no image in {images} matches {pattern!r}; found {first_offenders(list(bad), 3)}"
            if bad
            else f"no image in {images}; expected files that end in {', '.join(IMAGE_SUFFIXES)}"
        )
    return _complete(pd.DataFrame(rows)), bad


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # a file name of bytes that are none
        return False
    return True


def _by_csv(images: Path, path: Path, report: PrepareReport) -> tuple[pd.DataFrame, dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path} does not exist, or is no regular file")
    try:
        # Without a header, or of two columns of one name the second would be renamed in silence.
        rows = pd.read_csv(path, dtype=str, header=None, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:
        what = first_line(error).removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path} cannot be read as a CSV ({what})") from error
    columns = [str(column).strip() for column in rows.iloc[0]]
    if len(set(columns)) < len(columns):
        raise DataError(f"{path} has a column twice: {columns}")
    table = rows.iloc[1:].set_axis(columns, axis=1).reset_index(drop=True)
    missing = {"name", "pid"} - set(table.columns)
    if missing:
        raise DataError(
            f"{path} lacks the columns {sorted(missing)}; expected a header with name, pid and any "
            f"of {', '.join(_FIELDS[1:])}, got {list(table.columns)}"
        )
    if table[["name", "pid"]].isna().any().any():
        rows = np.flatnonzero(table[["name", "pid"]].isna().any(axis=1)) + 2
        raise DataError(f"{path}: empty name or pid in lines {first_offenders(rows.tolist())}")
    unused = [column for column in columns if column not in ("name", *_FIELDS)]
    if unused:
        report.notes.append(f"columns of {path.name} that are not used: {', '.join(unused)}")
    table["name"] = [Path(name).as_posix() for name in table["name"]]  # ./a is a
    twice = table.loc[table["name"].duplicated(), "name"].tolist()
    if twice:
        raise DataError(f"{path}: names stand there twice: {first_offenders(twice)}")
    outside = [n for n in table["name"] if Path(n).is_absolute() or ".." in Path(n).parts]
    if outside:
        raise DataError(f"{path}: names leave the image folder: {first_offenders(outside)}")
    absent = [n for n in table["name"] if not (images / n).is_file()]
    bad = dict.fromkeys(absent, f"does not exist in {images}")
    return _complete(table), bad


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """All columns, of their types; camera 0 and class -1 where nothing is known."""
    table = table.copy()
    for name in _INTEGER_FIELDS:
        default = 0 if name == "camid" else UNKNOWN
        values = table[name] if name in table else pd.Series(default, index=table.index)
        numbers = pd.to_numeric(values, errors="coerce").fillna(np.nan)
        wrong = (numbers.isna() & values.notna()) | (numbers % 1 != 0) & numbers.notna()
        if wrong.any():
            raise DataError(
                f"{name} must be whole numbers: {first_offenders(values[wrong].tolist())}"
            )
        large = numbers.abs() >= ID_LIMIT
        if large.any():
            raise DataError(
                f"{name} must be below {ID_LIMIT}: {first_offenders(values[large].tolist())}"
            )
        table[name] = numbers.fillna(default).astype(np.int64)
    beyond = (table["camid"] < 0) | (table[["color_id", "type_id"]] == 0).any(axis=1)
    beyond |= (table[["color_id", "type_id"]] < UNKNOWN).any(axis=1)
    if beyond.any():
        raise DataError(
            "camid must be 0 or more, color_id and type_id 1 or more or -1: "
            f"{first_offenders(table.loc[beyond, 'name'].tolist())}"
        )
    return table


def _unreadable(images: Path, table: pd.DataFrame, progress: bool) -> dict[str, str]:
    there = [name for name in table["name"] if (images / name).is_file()]  # others are known
    with (
        StrictDecoder() as decoder,
        progress_bar(
            total=len(there), description="check images", unit="image", shown=progress
        ) as bar,
    ):
        problems, _ = decoder.find_broken_images((images / n for n in there), bar.update)
    return {p.path.relative_to(images).as_posix(): p.what for p in problems}


def _number_ids(pids: pd.Series, report: PrepareReport) -> pd.Series:
    """Numbers stay as they are; names are numbered from 1 in sorted order."""
    texts = pids.astype(str)
    are_numbers = texts.str.fullmatch(r"[0-9]+")
    if are_numbers.any() and not are_numbers.all():
        names = sorted(set(texts[~are_numbers]))
        report.notes.append(
            f"some pid are numbers, but not {first_offenders(names)}: all were numbered anew"
        )
    if are_numbers.all():
        beyond = [text for text in texts if len(text) > 20 or int(text) >= ID_LIMIT]
        if beyond:
            raise DataError(f"pid must be below {ID_LIMIT}: {first_offenders(beyond)}")
        return texts.astype(np.int64)
    order = {text: number for number, text in enumerate(sorted(set(texts)), start=1)}
    return texts.map(order).astype(np.int64)


def _split(
    table: pd.DataFrame, test_share: float, seed: int, report: PrepareReport
) -> dict[str, np.ndarray]:
    """Row numbers of each split."""
    if "split" in table:
        unknown = sorted(set(table["split"].astype(str)) - set(SPLITS))
        if unknown:
            raise DataError(f"split must be one of {', '.join(SPLITS)}; got {unknown}")
        return {s: np.flatnonzero(table["split"] == s) for s in SPLITS}
    if (table["camid"] == 0).any():
        report.notes.append(
            "cameras are unknown for some images: every gallery image of the same id counts as a "
            "match, also one taken a moment after the query by the same camera"
        )
    rng = np.random.default_rng(seed)
    by_id = table.groupby("pid").indices
    candidates = [pid for pid, rows in by_id.items() if _queries(table, rows)]
    count = round(test_share * len(by_id))
    if count > len(candidates):
        report.notes.append(f"only {len(candidates)} ids have a second view to test with")
    chosen = set(rng.permutation(sorted(candidates))[:count].tolist())
    query: list[int] = []
    gallery: list[int] = []
    for pid in sorted(chosen):
        queries = _queries(table, by_id[pid])
        query += queries
        alone = {row for row in queries if table["camid"].iloc[row] == 0}
        gallery += [row for row in by_id[pid].tolist() if row not in alone]
    train = np.flatnonzero(~table["pid"].isin(chosen))
    return {"train": train, "query": np.array(sorted(query), int), "test": np.array(gallery, int)}


def _note_oddities(
    table: pd.DataFrame, splits: dict[str, np.ndarray], report: PrepareReport
) -> None:
    report.notes += [
        f"the split {split} is empty" for split, rows in splits.items() if not len(rows)
    ]
    ids = {split: set(table["pid"].iloc[rows]) for split, rows in splits.items()}
    leaked = sorted(ids["train"] & (ids["query"] | ids["test"]))
    if leaked:
        report.notes.append(
            f"{len(leaked)} vehicles are trained on and tested with: {first_offenders(leaked)}; "
            "results would be too good"
        )


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
