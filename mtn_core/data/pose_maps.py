"""Pose maps drawn from keypoints: 36 heatmaps and 13 surface segments for every image.

This is what PoseEstNet would write, for data whose label files already carry keypoints. On disk
the maps of ``image_S/0002_c002_00030600_0.jpg`` are ``heatmap_S/0002_c002_00030600_0/00.jpg`` to
``35.jpg`` and ``segment_S/0002_c002_00030600_0/00.jpg`` to ``12.jpg``, 64x64 grey JPEGs.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mtn_core.data.images import read_image
from mtn_core.data.layout import Kind
from mtn_core.data.workers import num_workers_for
from mtn_core.errors import DataError, RunFolderError, first_offenders
from mtn_core.files import atomic_folder
from mtn_core.progress import progress_bar
from mtn_core.vehicle import MAP_SIZE, NUM_KEYPOINTS, SEGMENT_KEYPOINTS

if TYPE_CHECKING:
    from mtn_core.data.split import Split

HEATMAP_SIGMA = 2.0
JPEG_QUALITY = 95  # what OpenCV writes unasked, and so what PAMTRI's own maps have
_CHUNK = 32  # images drawn at a time: the float planes of a chunk stay in the CPU's cache


def map_folder_name(image_name: str) -> str:
    """Name of the folder with an image's maps: the image's name without its extension.

    The published PAMTRI code cuts the extension off; readers should also accept a folder that
    carries the full name, which other exports of PoseEstNet use.
    """
    return Path(image_name).stem


def _checked(keypoints: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keypoints = np.asarray(keypoints, dtype=np.float64)
    sizes = np.asarray(sizes, dtype=np.float64)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (NUM_KEYPOINTS, 3):
        raise ValueError(
            f"`keypoints` must be (N, {NUM_KEYPOINTS}, 3): x, y, confidence; got {keypoints.shape}"
        )
    if sizes.shape != (len(keypoints), 2):
        raise ValueError(
            f"`sizes` must be (N, 2) = ({len(keypoints)}, 2): width, height; got {sizes.shape}"
        )
    bad = np.flatnonzero(~(sizes > 0).all(axis=1))
    if len(bad):
        raise ValueError(f"`sizes` must be positive; rows {first_offenders(bad.tolist())} are not")
    return keypoints, sizes


def draw_heatmaps(
    keypoints: np.ndarray,
    sizes: np.ndarray,
    *,
    map_size: int = MAP_SIZE,
    sigma: float = HEATMAP_SIGMA,
) -> np.ndarray:
    """Draw a Gaussian at every keypoint, as high as its confidence.

    The centre of map pixel (i, j) stands for the crop position ((j + 0.5) / map_size * width,
    (i + 0.5) / map_size * height), so a keypoint keeps its position to a fraction of a map pixel.

    Args:
        keypoints: (N, 36, 3) float, x and y in pixels of the crop, confidence (clipped to 0..1).
            A keypoint that is not a finite number gives a black map.
        sizes: (N, 2), width and height of each crop in pixels.
        map_size: Side of a map in pixels.
        sigma: Standard deviation of the Gaussian in map pixels.

    Returns:
        (N, 36, map_size, map_size) uint8, ``round(255 * height)``.

    Raises:
        ValueError: The shapes do not fit, or a size is not positive.

    Source: HRNet (Sun et al., CVPR 2019), the targets of PAMTRI's PoseEstNet.
    """
    keypoints, sizes = _checked(keypoints, sizes)
    finite = np.isfinite(keypoints).all(axis=2)
    keypoints = np.where(finite[..., None], keypoints, 0.0)
    height = 255.0 * np.clip(keypoints[..., 2], 0.0, 1.0)
    centre = keypoints[..., :2] * (map_size / sizes[:, None, :]) - 0.5
    distance = np.arange(map_size) - centre[..., None]  # (N, 36, 2, map_size)
    bell = np.exp(np.square(distance) * (-0.5 / sigma**2)).astype(np.float32)
    across, down = bell[:, :, 0], bell[:, :, 1] * height[..., None].astype(np.float32)
    maps = np.empty((len(keypoints), NUM_KEYPOINTS, map_size, map_size), np.uint8)
    for start in range(0, len(maps), _CHUNK):
        rows = slice(start, start + _CHUNK)
        # + 0.5 and truncation round to nearest without another pass over the planes
        np.add(
            down[rows, :, :, None] * across[rows, :, None, :],
            np.float32(0.5),
            out=maps[rows],
            casting="unsafe",
        )
    return maps


def convex_quadrilaterals(corners: np.ndarray) -> np.ndarray:
    """Which quadrilaterals are strictly convex: all four turns go the same way.

    Args:
        corners: (..., 4, 2) float, in order around the outline.

    Returns:
        (...,) bool.
    """
    edges = np.roll(corners, -1, axis=-2) - corners
    following = np.roll(edges, -1, axis=-2)
    turns = edges[..., 0] * following[..., 1] - edges[..., 1] * following[..., 0]
    return (turns > 1e-9).all(axis=-1) | (turns < -1e-9).all(axis=-1)


def draw_segments(
    keypoints: np.ndarray, sizes: np.ndarray, *, map_size: int = MAP_SIZE
) -> np.ndarray:
    """Fill the 13 keypoint quadrilaterals, each where it is convex, whatever its confidence.

    A map pixel is filled if its centre lies in the quadrilateral.

    Args:
        keypoints: (N, 36, 3) float, x and y in pixels of the crop; confidence is not used.
        sizes: (N, 2), width and height of each crop in pixels.
        map_size: Side of a map in pixels.

    Returns:
        (N, 13, map_size, map_size) uint8, 0 or 255.

    Raises:
        ValueError: The shapes do not fit, or a size is not positive.
    """
    keypoints, sizes = _checked(keypoints, sizes)
    points = keypoints[..., :2] * (map_size / sizes[:, None, :]) - 0.5
    finite = np.isfinite(points).all(axis=2)
    corners = np.where(finite[..., None], points, 0.0)[:, SEGMENT_KEYPOINTS]  # (N, 13, 4, 2)
    drawn = convex_quadrilaterals(corners) & finite[:, SEGMENT_KEYPOINTS].all(axis=2)
    maps = np.zeros((*drawn.shape, map_size, map_size), np.uint8)
    image, segment = np.nonzero(drawn)
    quads = corners[image, segment]  # (Q, 4, 2)
    edges = np.roll(quads, -1, axis=1) - quads
    # One turn's sign tells which way the outline runs; the inside is then on one side of all edges.
    turn = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    edges *= np.sign(turn)[:, None, None]
    offset = edges[..., 1] * quads[..., 0] - edges[..., 0] * quads[..., 1]
    grid = np.arange(map_size)
    down = edges[..., :1] * grid + offset[..., None]  # (Q, 4, map_size)
    across = edges[..., 1:] * grid
    chunk = _CHUNK * len(SEGMENT_KEYPOINTS)
    for start in range(0, len(quads), chunk):
        rows = slice(start, start + chunk)
        inside = down[rows, 0, :, None] >= across[rows, 0, None, :]
        for edge in range(1, 4):
            inside &= down[rows, edge, :, None] >= across[rows, edge, None, :]
        maps[image[rows], segment[rows]] = inside * np.uint8(255)
    return maps


def encode_maps(maps: np.ndarray) -> list[bytes]:
    """Encode (K, S, S) uint8 maps as K grey JPEGs; all-black maps share one encoded string."""
    filled = maps.reshape(len(maps), -1).any(axis=1)
    return [
        _encode(plane) if used else _black(plane.shape)
        for plane, used in zip(maps, filled, strict=True)
    ]


def _encode(plane: np.ndarray) -> bytes:
    done, data = cv2.imencode(".jpg", plane, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    if not done:
        raise ValueError(f"OpenCV cannot encode a map of shape {plane.shape}, {plane.dtype}")
    return data.tobytes()


@functools.lru_cache(maxsize=8)
def _black(shape: tuple[int, int]) -> bytes:
    return _encode(np.zeros(shape, np.uint8))


def write_map_files(folder: str | Path, maps: np.ndarray) -> None:
    """Write ``00.jpg``, ``01.jpg``, ... of (K, S, S) uint8 maps into an existing folder."""
    write_encoded_maps(folder, encode_maps(maps))


def write_encoded_maps(folder: str | Path, encoded: Sequence[bytes]) -> None:
    """Write ``00.jpg``, ``01.jpg``, ... from ``encode_maps`` into an existing folder."""
    for index, data in enumerate(encoded):
        with open(f"{folder}/{index:02d}.jpg", "wb") as file:
            file.write(data)


def draw_pose(
    root: str | Path,
    *,
    splits: Sequence[str] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, int]:
    """Write ``heatmap_S`` and ``segment_S`` for a layout whose label files carry keypoints.

    Nothing is written before every split was seen to have keypoints and readable image sizes, and
    each map folder appears whole or not at all.

    Args:
        root: The folder that holds ``veri/``.
        splits: Some of ``train``, ``query``, ``test``; all by default.
        workers: Threads that encode and write; one a processor by default.
        overwrite: Replace map folders that already hold something.
        progress: Show a progress bar where there is a terminal.

    Returns:
        Number of images drawn, by split.

    Raises:
        DataError: A split has no keypoints, or an image cannot be read.
        RunFolderError: A map folder holds something and ``overwrite`` is false.
    """
    from mtn_core.data.layout import SPLITS
    from mtn_core.data.split import load_split

    loaded = [load_split(root, name) for name in splits or SPLITS]
    for split in loaded:
        if not split.has_keypoints:
            raise DataError(
                f"label_{split.name}.csv has no keypoints (every confidence is 0), so there is "
                "nothing to draw; write keypoints with `mtn trans` first, or train without maps"
            )
        _refuse_equal_stems(split)
    threads = num_workers_for(workers)
    sizes = [_image_sizes(split, threads) for split in loaded]
    folders = [split.folder(kind) for split in loaded for kind in ("heatmap", "segment")]
    full = [str(f) for f in folders if f.is_symlink() or (f.exists() and not _is_empty(f))]
    if full and not overwrite:
        raise RunFolderError(
            f"map folders already hold files, or are something else: {first_offenders(full)}; "
            "add --overwrite to draw them anew"
        )
    for split, split_sizes in zip(loaded, sizes, strict=True):
        _draw_split(split, split_sizes, workers=threads, progress=progress)
    return {split.name: len(split) for split in loaded}


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _refuse_equal_stems(split: "Split") -> None:
    stems = split.frame["name"].map(map_folder_name)
    twice = split.frame.loc[stems.duplicated(keep=False), "name"].tolist()
    if twice:
        raise DataError(
            f"label_{split.name}.csv has images whose maps would share a folder, because their "
            f"names differ in the extension only: {first_offenders(twice)}; rename them"
        )


def _image_sizes(split: "Split", workers: int) -> np.ndarray:
    """Width and height of every image as it is read: upright, which the header does not tell."""
    unreadable = []

    def size_of(row: int) -> tuple[int, int]:
        try:
            height, width, _ = read_image(split.image_path(row)).shape
        except DataError as error:
            unreadable.append(str(error))
            return 0, 0
        return width, height

    with ThreadPoolExecutor(workers) as pool:
        sizes = list(pool.map(size_of, range(len(split))))
    if unreadable:
        raise DataError(f"images cannot be read: {first_offenders(sorted(unreadable))}")
    return np.array(sizes).reshape(-1, 2)


def _draw_split(split: "Split", sizes: np.ndarray, *, workers: int, progress: bool) -> None:
    names = [map_folder_name(name) for name in split.frame["name"]]
    with contextlib.ExitStack() as stack:
        kinds: dict[Kind, Callable[[np.ndarray, np.ndarray], np.ndarray]]
        kinds = {"heatmap": draw_heatmaps, "segment": draw_segments}
        drawn = [
            (stack.enter_context(atomic_folder(split.folder(kind), overwrite=True)), draw)
            for kind, draw in kinds.items()
        ]

        def write(start: int) -> int:
            rows = slice(start, start + _CHUNK)
            for folder, draw in drawn:
                maps = draw(split.keypoints[rows], sizes[rows])
                for name, planes in zip(names[rows], maps, strict=True):
                    (folder / name).mkdir()
                    write_map_files(folder / name, planes)
            return len(names[rows])

        bar = stack.enter_context(
            progress_bar(
                total=len(names),
                description=f"pose maps {split.name}",
                unit="image",
                shown=progress,
            )
        )
        with ThreadPoolExecutor(workers) as pool:
            for count in pool.map(write, range(0, len(names), _CHUNK)):
                bar.update(count)
