"""Whether the files that a run needs are there, and only those, without opening them."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mtn_core.data.images import refuse_irregular
from mtn_core.data.layout import MAP_KINDS, MapKind, find_map_folder, map_file_names
from mtn_core.data.split import Split
from mtn_core.data.workers import num_workers_for
from mtn_core.errors import DataError, first_offenders
from mtn_core.vehicle import NUM_KEYPOINTS, NUM_SEGMENTS

MAP_COUNTS: dict[MapKind, int] = {"heatmap": NUM_KEYPOINTS, "segment": NUM_SEGMENTS}
Item = TypeVar("Item")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def check_needed_files(split: Split, *, heatmaps: bool, segments: bool) -> None:
    """Check that the files a run needs are there.

    Args:
        split: Any split; only its own rows are looked for.
        heatmaps: Whether heatmaps are needed.
        segments: Whether segments are needed.

    Raises:
        DataError: Names the first five that are missing.
    """
    problems: list[Problem] = []
    for number, part in enumerate(split.parts):
        rows = split.part_index[:, 0] == number
        if not rows.any():
            continue
        names = split.frame["name"][rows].tolist()
        problems += find_missing_images(part.folder("image"), names)
        for kind, needed in zip(MAP_KINDS, (heatmaps, segments), strict=True):
            if needed:
                problems += find_missing_maps(part.folder(kind), names, kind)
    raise_problems(problems)


def raise_problems(problems: list[Problem]) -> None:
    """Raise a DataError that names the first five problems, if there are any."""
    if problems:
        raise DataError(
            f"{first_offenders([str(p) for p in problems])}; see them all with mtn check"
        )


def find_missing_images(folder: Path, names: list[str]) -> list[Problem]:
    """Images that are not in a folder, or are no files."""
    if not folder.is_dir():
        return [Problem(folder, "is no folder" if folder.exists() else "folder is missing")]
    with os.scandir(folder) as entries:
        files = {entry.name for entry in entries if _is_file(entry)}
    absent = [folder / name for name in names if name not in files]
    return [Problem(path, _why_absent(path)) for path in absent]


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _why_absent(path: Path) -> str:
    if not path.exists():
        return "link to nothing" if path.is_symlink() else "image does not exist"
    try:
        refuse_irregular(path)
    except DataError as error:
        return str(error).removeprefix(f"{path} ")
    return "image was not there a moment ago"


def find_missing_maps(folder: Path, names: list[str], kind: MapKind) -> list[Problem]:
    """Images whose folder of maps is absent, not the only one, or holds what it should not."""
    if not folder.is_dir():
        return [
            Problem(
                folder,
                f"is no folder, but {kind}s lie in one; move it away"
                if folder.exists()
                else f"folder is missing, but {kind}s are asked for; "
                "mtn draw-pose or mtn trans makes it",
            )
        ]
    expected = set(map_file_names(MAP_COUNTS[kind]))
    folders = list_names(folder)
    stems = Counter(Path(name).stem for name in names)

    def problem_of(name: str) -> Problem | None:
        maps = find_map_folder(folder, name)
        stem = Path(name).stem
        if stem != name and {stem, name} <= folders:
            return Problem(
                maps,
                f"is not the only {kind} folder of {name}: {folder / stem} is there, too; "
                "delete the one that is wrong",
            )
        if stems[stem] > 1 and maps.name == stem:
            return Problem(
                maps,
                f"is the {kind} folder of {stems[stem]} images with the same stem; "
                f"name that of each image in full, as {name}",
            )
        if not maps.is_dir():
            return Problem(maps, f"{kind} folder is missing")
        listed = list_names(maps)
        if listed == expected:
            return None
        missing, unexpected = sorted(expected - listed), sorted(listed - expected)
        parts = [f"{len(listed)} files, expected {len(expected)}"]
        parts += [f"missing {first_offenders(missing)}"] if missing else []
        parts += [f"unexpected {first_offenders(unexpected)}"] if unexpected else []
        return Problem(maps, "; ".join(parts))

    return find_in_threads(problem_of, names)


def list_names(folder: Path) -> set[str]:
    """Names in a folder."""
    with os.scandir(folder) as entries:  # far quicker than Path.iterdir() on 40,000 files
        return {entry.name for entry in entries}


def find_in_threads(
    problem_of: Callable[[Item], Problem | None], items: Iterable[Item]
) -> list[Problem]:
    """The problems of some items, looked for in parallel, in the order of the items."""
    with ThreadPoolExecutor(num_workers_for(None)) as pool:
        return [problem for problem in pool.map(problem_of, items) if problem]
