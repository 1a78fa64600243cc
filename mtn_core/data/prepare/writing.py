"""Writes a table of images as a root in the VeRi layout: the end of every preparation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.data.labels import ID_LIMIT, write_labels
from mtn_core.data.layout import SPLITS, label_path, split_folder
from mtn_core.data.prepare.labels import no_keypoints
from mtn_core.data.prepare.placing import place_file
from mtn_core.data.protocol import write_protocol
from mtn_core.data.roles import write_roles
from mtn_core.errors import DataError, first_offenders
from mtn_core.files import atomic_folder, write_text
from mtn_core.metrics.protocol import VERI, EvaluationProtocol
from mtn_core.metrics.tracks import MAX_FRAME_GAP
from mtn_core.progress import progress_bar
from mtn_core.vehicle import UNKNOWN

REPORT_NAME = "prepare_report.txt"
NAMES_NAME = "names.csv"
# Columns of a table of images, and what stands there where nothing is known.
COLUMNS = {"camid": 0, "color_id": UNKNOWN, "type_id": UNKNOWN, "track": "", "role": ""}


@dataclass(eq=False)
class LayoutReport:
    """What a preparation made.

    Attributes:
        images: Rows written, by split.
        ids: Vehicles, by split.
        left_out: Files that were not used, and why.
        deviations: Counts that differ from the official ones.
        notes: What a person should know.
    """

    images: dict[str, int] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_text(self) -> str:
        """Lines for a person."""
        lines = [f"{s}: {self.images[s]} images, {self.ids[s]} ids" for s in self.images]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"not official: {deviation}" for deviation in self.deviations]
        if self.left_out:
            lines.append(f"left out: {first_offenders(self.left_out)}")
        return "\n".join(lines) + "\n"


def table_of(rows: Sequence[dict]) -> pd.DataFrame:
    """A table of images: a row for each image of each split that it stands in.

    Args:
        rows: Each with ``source`` (path below the image folder), ``pid``, ``split`` and any of
            :data:`COLUMNS`; an image that is query and gallery has two rows.
    """
    table = pd.DataFrame(rows, columns=["source", "pid", "split", *COLUMNS])
    for name, unknown in COLUMNS.items():
        filled = table[name].where(table[name].notna(), unknown)
        table[name] = filled.astype(np.int64) if isinstance(unknown, int) else filled.astype(str)
    return table


def write_layout(
    root: str | Path,
    table: pd.DataFrame,
    images: str | Path,
    report: LayoutReport,
    *,
    protocol: EvaluationProtocol = VERI,
    extra: Iterable[tuple[str, str]] = (),
    copy: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> LayoutReport:
    """Write images, labels, names, roles and protocol, together or not at all.

    Images get names of the layout; ``veri/names.csv`` says which is which. Where tracks are given,
    the frame numbers in the names follow one another within a track and jump between tracks, so
    that :func:`mtn_core.metrics.tracks.find_tracks` finds them again.

    Args:
        root: Where ``veri/`` is made.
        table: From :func:`table_of`; ``pid`` and ``camid`` are numbers.
        images: What ``source`` is below of.
        report: Gets the counts; written to ``veri/prepare_report.txt``.
        protocol: How the data are evaluated.
        extra: Further text files, as name and content.
        copy: Copy images instead of linking them.
        overwrite: Replace a ``veri`` folder that holds something.
        progress: Show a progress bar where there is a terminal.

    Raises:
        DataError: No images, or numbers that the layout cannot hold.
        RunFolderError: ``root/veri`` holds something and ``overwrite`` is false.
    """
    if table.empty:
        raise DataError(f"no usable images in {images}")
    for name in ("pid", "camid"):
        beyond = table.loc[(table[name] < 0) | (table[name] >= ID_LIMIT), "source"].tolist()
        if beyond:
            raise DataError(f"{name} must be 0..{ID_LIMIT - 1}: {first_offenders(beyond)}")
    table = table.assign(name=_layout_names(table))
    with atomic_folder(Path(root) / "veri", overwrite=overwrite) as temporary:
        for split in SPLITS:
            part = table[table["split"] == split].reset_index(drop=True)
            if part.empty:
                continue
            folder = temporary / split_folder("", "image", split).name
            folder.mkdir()
            pairs = list(zip(part["source"], part["name"], strict=True))
            for source, name in progress_bar(
                pairs, description=f"images {split}", unit="image", shown=progress
            ):
                place_file(Path(images) / source, folder / name, copy=copy)
            path = temporary / label_path("", split).name
            write_labels(path, part, no_keypoints(len(part)))
            report.images[split], report.ids[split] = len(part), part["pid"].nunique()
        once = table.drop_duplicates("name")
        known = [
            c for c in ("pid_name", "camera_name", "track") if c in once and (once[c] != "").any()
        ]
        names = once[["name", "source", *known]]
        write_text(temporary / NAMES_NAME, names.to_csv(index=False))
        write_roles(temporary, dict(once.loc[once["role"] != "", ["name", "role"]].to_numpy()))
        write_protocol(temporary, protocol)
        for name, text in extra:
            write_text(temporary / name, text)
        write_text(temporary / REPORT_NAME, report.to_text())
    return report


def _layout_names(table: pd.DataFrame) -> list[str]:
    """``0002_c002_00000031_0.jpg``: one name for one source; a track's frames follow each other."""
    once = table.drop_duplicates("source")
    tracks: dict[str, list[str]] = {}
    for source, track in zip(once["source"], once["track"], strict=True):
        tracks.setdefault(track, []).append(source)
    frames: dict[str, int] = {}
    frame = 0
    for track, sources in tracks.items():
        frame += MAX_FRAME_GAP if track else 0
        for source in sources:
            frame += 1
            frames[source] = frame
    return [
        f"{row.pid:04d}_c{row.camid:03d}_{frames[row.source]:08d}_0"
        f"{Path(row.source).suffix.lower()}"
        for row in table.itertuples(index=False)
    ]
