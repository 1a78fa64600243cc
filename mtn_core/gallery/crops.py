"""Crops of a folder with what their names or a CSV say: camera, time, track, identity."""

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from mtn_core.data.prepare.naming import UNKNOWN_TEXTS
from mtn_core.data.prepare.sources import pattern_to_regex, rows_by_csv, rows_by_name
from mtn_core.errors import ConfigError, DataError, first_offenders
from mtn_core.gallery.records import camera_name, gallery_time

FIELDS = ("camid", "time", "track", "pid")
ANYTHING = "**"
_COMPACT = re.compile(r"\d{14}")
_UNIX = re.compile(r"\d{10}(\d{3})?(\.\d+)?")
_FIRST_YEAR = 1970
# What cameras put into file names, where a colon may not stand.
_FILE_TIME = re.compile(r"(\d{4}-?\d\d-?\d\d)[T _-](\d\d)-(\d\d)-(\d\d)(.*)")


@dataclass(frozen=True)
class Crop:
    """An image file and what is said about it.

    Attributes:
        path: The file.
        name: Path relative to the gallery's image folder.
        camera: None if not known.
        time: By the gallery's clock.
        track: Of the camera's tracker.
        vehicle: Identity.
    """

    path: Path
    name: str
    camera: str | None = None
    time: datetime | None = None
    track: str | None = None
    vehicle: str | None = None


@dataclass(frozen=True)
class Clock:
    """How times are written.

    Attributes:
        format: As for ``strptime``; None reads ISO 8601, ``20240501123005`` and Unix seconds.
        frames_per_second: Times are frame numbers instead; None: they are not.
        start: When frame 0 was.
    """

    format: str | None = None
    frames_per_second: float | None = None
    start: datetime | None = None

    def __post_init__(self):
        if self.frames_per_second is None:
            if self.start is not None:
                raise ConfigError("--start is the moment of frame 0, so it needs --fps")
            return
        if self.format is not None or self.start is None:
            raise ConfigError("--fps reads {time} as a frame number: it needs --start, no format")
        if not 0 < self.frames_per_second < math.inf:
            raise ConfigError(f"--fps must be above 0; got {self.frames_per_second}")

    def parse(self, text: str) -> datetime | None:
        """A moment without a zone; None for an empty text.

        Raises:
            ValueError: Not a time as it should be written.
        """
        text = text.strip()
        if text.lower() in UNKNOWN_TEXTS:
            return None
        try:
            if self.frames_per_second is not None and self.start is not None:
                if not (text.isascii() and text.isdigit()):
                    raise ValueError(f"{text!r} is not a frame number")
                return self.start + timedelta(seconds=int(text) / self.frames_per_second)
            if self.format is not None:
                return gallery_time(datetime.strptime(text, self.format))
            return gallery_time(_parse_plain(text))
        except OverflowError as error:
            raise ValueError(f"{text!r} is beyond the year 9999") from error


def parse_time(text: str) -> datetime:
    """A moment as a person or a camera writes it, by the gallery's clock.

    Raises:
        ValueError: It is none.
    """
    found = Clock().parse(text)
    if found is None:
        raise ValueError(f"{text!r} is no time; write it as 2024-05-01T12:30")
    return found


def list_crops(
    images: Path,
    *,
    pattern: str | None = None,
    csv: Path | None = None,
    camera: str | None = None,
    clock: Clock | None = None,
) -> tuple[list[Crop], list[str]]:
    """Crops in the order of their names.

    Args:
        images: Their folder, with subfolders.
        pattern: Such as ``{camid}/{time}_*.jpg``, matched against the path below ``images``; by
            default names say nothing.
        csv: Table with ``name`` and any of ``camid, time, track, pid`` instead.
        camera: Of all crops for which nothing else says one.
        clock: How times are written.

    Returns:
        Crops with names relative to ``images``, and notes for a person.

    Raises:
        ConfigError: Pattern and CSV, or an unusable pattern.
        DataError: No images, names that do not match, times that are none.
    """
    if pattern is not None and csv is not None:
        raise ConfigError("--pattern and --csv exclude each other; leave one of them out")
    if not images.is_dir():
        raise DataError(
            f"folder {images} {'is no folder' if images.exists() else 'does not exist'}"
        )
    notes: list[str] = []
    if csv is not None:
        table, bad, notes = rows_by_csv(images, csv, FIELDS, ())
    else:
        pattern = ANYTHING if pattern is None else pattern
        table, bad = rows_by_name(images, pattern_to_regex(pattern, FIELDS, ()), pattern)
    if bad:
        offenders = first_offenders([f"{name}: {why}" for name, why in bad.items()])
        raise DataError(f"crops in {images} cannot be used: {offenders}")
    return _to_crops(table, images, camera, clock or Clock()), notes


def under(crops: Sequence[Crop], images: Path, root: Path) -> list[Crop]:
    """The same crops with names relative to ``root``, in which their folder must lie.

    Raises:
        DataError: It does not.
    """
    images, root = images.absolute(), root.absolute()
    if not images.is_relative_to(root):
        images, root = images.resolve(), root.resolve()
    if not images.is_relative_to(root):
        raise DataError(
            f"{images} is not in the gallery's image folder {root}; make the gallery for a folder "
            "that holds all crops: `mtn gallery create --images DIR`"
        )
    prefix = images.relative_to(root)
    return [dataclasses.replace(crop, name=(prefix / crop.name).as_posix()) for crop in crops]


def _to_crops(table: pd.DataFrame, images: Path, camera: str | None, clock: Clock) -> list[Crop]:
    crops, bad = [], []
    table = table.fillna("")
    for row in table.sort_values("name").to_dict("records"):
        try:
            time = clock.parse(row.get("time", ""))
        except ValueError as error:
            bad.append(f"{row['name']}: {error}")
            continue
        crops.append(
            Crop(
                path=images / row["name"],
                name=row["name"],
                camera=camera_name(_known(row.get("camid", "")) or camera),
                time=time,
                track=_known(row.get("track", "")),
                vehicle=_known(row.get("pid", "")),
            )
        )
    if bad:
        raise DataError(
            f"times cannot be read: {first_offenders(bad)}; say how they are written with "
            "--time_format '%Y...', or that they are frame numbers with --fps and --start"
        )
    return crops


def _known(text: str) -> str | None:
    return None if text.strip().lower() in UNKNOWN_TEXTS else text.strip()


def _parse_plain(text: str) -> datetime:
    if _COMPACT.fullmatch(text):
        return datetime.strptime(text, "%Y%m%d%H%M%S")
    if _UNIX.fullmatch(text):
        seconds = float(text) / (1000 if len(text.partition(".")[0]) == 13 else 1)
        return datetime.fromtimestamp(seconds, UTC)
    named = _FILE_TIME.fullmatch(text)
    if named:
        date, *clock, rest = named.groups()
        text = f"{date}T{':'.join(clock)}{rest}"
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.year < _FIRST_YEAR:  # a frame number such as 00021130
        raise ValueError(f"{text!r} is no time as 2024-05-01T12:30:05")
    return found
