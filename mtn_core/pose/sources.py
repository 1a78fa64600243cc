"""Images with keypoints: a split of the VeRi layout, or an annotation CSV with its images.

An annotation row is ``name, width, height, (x, y, visible) x 36`` without a header, in pixels of
the crop; the published VeRi annotations have this form. A hidden keypoint has coordinates too.
"""

import csv
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mtn_core.data.images import read_image
from mtn_core.data.split import load_split
from mtn_core.errors import DataError, first_offenders
from mtn_core.files import why_no_file, why_no_folder
from mtn_core.vehicle import NUM_KEYPOINTS, SEGMENT_MIN_CONFIDENCE

NUM_ANNOTATION_COLUMNS = 3 + 3 * NUM_KEYPOINTS
VISIBLE_CONFIDENCE = SEGMENT_MIN_CONFIDENCE
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Annotations:
    """The rows of an annotation file.

    Attributes:
        names: Image names.
        sizes: ``(N, 2) int64``: width and height, as the file says.
        keypoints: ``(N, 36, 3) float32``: x and y in pixels of the crop, visible 1 or hidden 0.
    """

    names: tuple[str, ...]
    sizes: np.ndarray
    keypoints: np.ndarray


@dataclass(frozen=True, eq=False)
class PoseSet:
    """Images with keypoints, from one place.

    Attributes:
        label: What messages call it.
        paths: Image files.
        keypoints: ``(N, 36, 3) float32``: x and y in pixels of the crop, confidence.
        sizes: ``(N, 2) int64`` width and height where the labels say them; an image of another
            size is an error. None where they do not.
        place: Data root or annotation file.
    """

    label: str
    paths: tuple[Path, ...]
    keypoints: np.ndarray
    sizes: np.ndarray | None = None
    place: Path | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def names(self) -> list[str]:
        """File names of the images."""
        return [path.name for path in self.paths]

    def read(self, row: int) -> np.ndarray:
        """Decode an image to ``(H, W, 3) uint8`` RGB.

        Raises:
            DataError: It is absent or broken, or not of the size that its annotation says.
        """
        image = read_image(self.paths[row])
        if self.sizes is not None and image.shape[1::-1] != tuple(self.sizes[row]):
            raise DataError(
                f"{self.paths[row]} is {image.shape[1]}x{image.shape[0]} pixels, its annotation in "
                f"{self.label} says {self.sizes[row][0]}x{self.sizes[row][1]}: the file does not "
                "match the images"
            )
        return image


def fingerprints(sets: Sequence[PoseSet]) -> dict[str, str]:
    """Hex SHA-256 of names and keypoints of several sets, to tell whether they changed."""
    names, keypoints = hashlib.sha256(), hashlib.sha256()
    for one in sets:
        names.update("\n".join([*one.names, ""]).encode())
        keypoints.update(np.ascontiguousarray(one.keypoints, "<f4").tobytes())
    return {"image names": names.hexdigest(), "keypoints": keypoints.hexdigest()}


def is_labelled(keypoints: np.ndarray) -> np.ndarray:
    """Which keypoints a label says anything about: ``(..., 36, 3)`` -> ``(..., 36) bool``.

    VeRi's label files write a keypoint that nobody annotated as three zeros.
    """
    return np.isfinite(keypoints).all(axis=-1) & (keypoints != 0).any(axis=-1)


def load_pose_split(root: str | Path, split: str) -> PoseSet:
    """The images of a split that have keypoints.

    Raises:
        DataError: The split cannot be loaded, has no keypoints, or images are missing.
    """
    data = load_split(root, split)
    rows = np.flatnonzero(is_labelled(data.keypoints).any(axis=1))
    label = f"label_{split}.csv of {root}"
    if not len(rows):
        raise DataError(
            f"{label} has no keypoints (all are zero), so PoseEstNet can neither be trained nor "
            "judged on it; `mtn trans` writes predicted ones"
        )
    if len(rows) < len(data):
        logger.info("%s: %d of %d images have keypoints", label, len(rows), len(data))
    paths = tuple(data.image_path(int(i)) for i in rows)
    return _present(PoseSet(label, paths, data.keypoints[rows], place=Path(root)))


def load_pose_annotations(csv_path: str | Path, image_folder: str | Path) -> PoseSet:
    """Annotated images: the rows of ``csv_path``, the files in ``image_folder``.

    Raises:
        DataError: Rows are wrong, or images are missing.
    """
    annotations = read_annotations(csv_path)
    folder = Path(image_folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder}, the folder of the images of {csv_path}, {why_no_folder(folder)}"
        )
    paths = tuple(folder / name for name in annotations.names)
    place = Path(csv_path)
    return _present(PoseSet(str(place), paths, annotations.keypoints, annotations.sizes, place))


def read_annotations(path: str | Path) -> Annotations:
    """Read an annotation CSV, in which every row must be right.

    Raises:
        DataError: The file is absent, empty, or rows are wrong; the first five are named.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"annotation file {path} {why_no_file(path)}")
    names, values, problems = [], [], []
    seen: dict[str, int] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"annotation file {path} is not a CSV text ({error})") from error
    for number, row in enumerate(rows, start=1):
        numbers, problem = _parse_row(row)
        if problem is None and row[0] in seen:
            problem = f"name {row[0]!r} stands in row {seen[row[0]]} already"
        if problem:
            problems.append(f"row {number}: {problem}")
            continue
        seen[row[0]] = number
        names.append(row[0])
        values.append(numbers)
    if problems:
        raise DataError(f"{path}: {first_offenders(problems)}")
    if not names:
        raise DataError(f"annotation file {path} has no rows")
    table = np.array(values)
    keypoints = table[:, 2:].reshape(-1, NUM_KEYPOINTS, 3).astype(np.float32)
    return Annotations(tuple(names), table[:, :2].astype(np.int64), keypoints)


def _parse_row(row: list[str]) -> tuple[np.ndarray | None, str | None]:
    if len(row) != NUM_ANNOTATION_COLUMNS:
        return None, (
            f"{len(row)} columns, expected {NUM_ANNOTATION_COLUMNS}: name, width, height, "
            "(x, y, visible) x 36"
        )
    # A name with a path in it could read outside the image folder.
    if Path(row[0]).name != row[0] or "\\" in row[0]:
        return None, f"name {row[0]!r} is not a plain file name"
    try:
        numbers = np.array(row[1:], dtype=np.float64)
    except ValueError:
        return None, "a value is not a number"
    if not np.isfinite(numbers).all():
        return None, "a value is nan or infinite"
    if numbers[:2].min() < 1:
        return None, f"width and height must be 1 or more, got {row[1]} and {row[2]}"
    if not np.isin(numbers[4::3], (0, 1)).all():
        return None, "visible must be 0 or 1"
    return numbers, None


def _present(pose_set: PoseSet) -> PoseSet:
    missing = [str(path) for path in pose_set.paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(pose_set)} images of {pose_set.label} do not exist: "
            f"{first_offenders(missing)}"
        )
    return pose_set
