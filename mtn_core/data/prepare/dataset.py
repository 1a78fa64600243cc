"""An official download into the layout: read, compare with the official counts, write."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from mtn_core.data.prepare.datasets.aicity import CHALLENGE, LOCAL, read_cityflow, read_vehiclex
from mtn_core.data.prepare.datasets.common import Dataset
from mtn_core.data.prepare.datasets.vehicleid import PARTS as VEHICLEID_PARTS
from mtn_core.data.prepare.datasets.vehicleid import read_vehicleid
from mtn_core.data.prepare.datasets.veriwild import PARTS as VERIWILD_PARTS
from mtn_core.data.prepare.datasets.veriwild import PVEN, read_veriwild
from mtn_core.data.prepare.datasets.vric import read_vric
from mtn_core.data.prepare.placing import refuse_full_root, refuse_linked_sources, refuse_overlap
from mtn_core.data.prepare.writing import LayoutReport, write_layout
from mtn_core.errors import ConfigError, DataError, first_offenders
from mtn_core.files import why_no_folder


@dataclasses.dataclass(frozen=True)
class Reader:
    """How a data set is read.

    Attributes:
        read: ``(download, part, seed)`` to the table of images.
        parts: What can be evaluated on; the first by default.
    """

    read: Callable[[Path, str, int], Dataset]
    parts: tuple[str, ...] = ("",)


READERS = {
    "vehicleid": Reader(read_vehicleid, VEHICLEID_PARTS),
    "veriwild": Reader(read_veriwild, (*VERIWILD_PARTS, *(f"{p}{PVEN}" for p in VERIWILD_PARTS))),
    "vric": Reader(read_vric),
    "cityflow": Reader(read_cityflow, (LOCAL, CHALLENGE)),
    "vehiclex": Reader(read_vehiclex),
}


def prepare_dataset(
    name: str,
    download: str | Path,
    root: str | Path,
    *,
    part: str | None = None,
    seed: int = 0,
    partial: bool = False,
    copy: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> LayoutReport:
    """Bring an official download into the layout, with its protocol.

    Args:
        name: One of :data:`READERS`.
        download: The data set's own folder.
        root: Where ``veri/`` is made.
        part: What to evaluate on, of those that the data set has; its first by default.
        seed: Of what is drawn: VehicleID's galleries, CityFlow's local split.
        partial: Accept counts that are not the official ones.
        copy: Copy images instead of linking them.
        overwrite: Replace a ``veri`` folder that holds something.
        progress: Show a progress bar where there is a terminal.

    Raises:
        ConfigError: Unknown name or part, or a download that overlaps ``root/veri``.
        DataError: Files missing or broken, or counts that are not official.
        RunFolderError: ``root/veri`` holds something and ``overwrite`` is false.
    """
    if name not in READERS:
        raise ConfigError(f"data set must be one of {', '.join(READERS)}; got {name!r}")
    reader = READERS[name]
    part = reader.parts[0] if part is None else part
    if part not in reader.parts:
        known = ", ".join(reader.parts) if reader.parts != ("",) else "none: it has one split"
        raise ConfigError(f"--part of {name} must be one of {known}; got {part!r}")
    download = Path(download)
    refuse_overlap(root, {"--download": download}, {})
    refuse_full_root(root, overwrite=overwrite)
    if not download.is_dir():
        raise DataError(f"folder {download} {why_no_folder(download)}")
    found = reader.read(download, part, seed)
    refuse_linked_sources(root, "--download", [found.images / s for s in found.table["source"]])
    deviations = found.deviations()
    if deviations and not partial:
        raise DataError(
            f"not the official {name}: {first_offenders(deviations)}. Nothing was written; "
            "--partial accepts it"
        )
    notes = [f"protocol: {found.protocol.to_text()}", *found.notes]
    return write_layout(
        root,
        found.table,
        found.images,
        LayoutReport(notes=notes, deviations=deviations),
        protocol=found.protocol,
        extra=found.extra,
        copy=copy,
        overwrite=overwrite,
        progress=progress,
    )
