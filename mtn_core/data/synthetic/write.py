"""Writes a SynthVeRi data set in the layout of VeRi, whole or not at all."""

import contextlib
import functools
import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from mtn_core.data.pose_maps import draw_heatmaps, draw_segments, map_folder_name, write_map_files
from mtn_core.data.synthetic.assembly import create_vehicle
from mtn_core.data.synthetic.cameras import create_cameras
from mtn_core.data.synthetic.fleet import Individual, create_fleet
from mtn_core.data.synthetic.photo import take_photo
from mtn_core.data.synthetic.plan import Shot, create_shots, get_size
from mtn_core.errors import RunFolderError
from mtn_core.files import atomic_folder

_SPLITS = ("train", "query", "test")
_KINDS = ("image", "heatmap", "segment")


def write_synthveri(
    root: str | Path,
    *,
    size: str = "smoke",
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write ``root/veri`` with images, maps and labels.

    Args:
        root: Where ``veri/`` is made.
        size: ``smoke``, ``demo`` or ``bench``.
        seed: The same seed gives the same bytes, whatever the number of workers.
        workers: Processes; all cores by default.
        progress: Show a progress bar where there is a terminal.
        overwrite: Replace a ``veri`` folder that already holds something.

    Returns:
        Counts: ``train``, ``query``, ``test`` images, ``train_ids``, ``test_ids``, ``cameras``.

    Raises:
        ConfigError: There is no such size.
        RunFolderError: ``root/veri`` holds something and ``overwrite`` is false.
    """
    numbers = get_size(size)
    target = Path(root) / "veri"
    if target.exists() and not overwrite and any(target.iterdir()):
        raise RunFolderError(
            f"{target} already holds files; choose another --root or add --overwrite"
        )
    fleet = create_fleet(numbers.train_ids + numbers.test_ids, seed)
    by_id: dict[int, list[Shot]] = {}
    for shot in create_shots(numbers, seed):
        by_id.setdefault(shot.pid, []).append(shot)
    total = sum(map(len, by_id.values()))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(atomic_folder(target, overwrite=overwrite))
        for split in _SPLITS:
            for kind in _KINDS:
                (folder / f"{kind}_{split}").mkdir()
        job = functools.partial(_write_id, str(folder), seed)
        tasks = [(individual, by_id[individual.pid]) for individual in fleet]
        workers = min(workers or os.cpu_count() or 1, len(tasks))
        if workers > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers))
            results = pool.imap(job, tasks)
        else:
            results = map(job, tasks)
        bar = stack.enter_context(
            tqdm(total=total, desc=f"SynthVeRi {size}", disable=None if progress else True)
        )
        rows: dict[str, list[str]] = {split: [] for split in _SPLITS}
        for written in results:
            for splits, row in written:
                for split in splits:
                    rows[split].append(row)
            bar.update(len(written))
        for split in _SPLITS:
            text = "".join(row + "\n" for row in sorted(rows[split]))
            (folder / f"label_{split}.csv").write_text(text, encoding="utf-8")
    shots = [shot for of_id in by_id.values() for shot in of_id]
    return {
        **{split: len(rows[split]) for split in _SPLITS},
        "train_ids": numbers.train_ids,
        "test_ids": numbers.test_ids,
        "cameras": len({shot.camid for shot in shots}),
    }


@functools.lru_cache(maxsize=2)
def _cameras(seed: int):
    return create_cameras(seed)


def _write_id(
    folder: str, seed: int, task: tuple[Individual, list[Shot]]
) -> list[tuple[tuple[str, ...], str]]:
    """Write all images of one id; gives for each its splits and its label row."""
    cv2.setNumThreads(1)  # the processes share the cores already
    individual, shots = task
    vehicle = create_vehicle(individual)
    written = []
    for shot in shots:
        photo = take_photo(vehicle, shot, _cameras(seed)[shot.camid - 1], seed)
        splits = (shot.split, "query") if shot.query else (shot.split,)
        _write_image(folder, splits, shot.name, photo)
        values = ",".join(f"{v:.3f}" for v in photo.keypoints.ravel().tolist())
        row = f"{shot.name},{shot.pid},{individual.color_id},{individual.type_id},{values}"
        written.append((splits, row))
    return written


def _write_image(folder: str, splits: tuple[str, ...], name: str, photo) -> None:
    done, data = cv2.imencode(
        ".jpg", photo.image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, photo.quality)
    )
    if not done:
        raise ValueError(f"OpenCV cannot encode {name}")
    # The maps are what `mtn draw-pose` would draw from the label, digits cut off and all.
    keypoints = np.round(photo.keypoints[None].astype(np.float64), 3)
    size = np.array([photo.image.shape[1::-1]])
    maps = {
        "heatmap": draw_heatmaps(keypoints, size)[0],
        "segment": draw_segments(keypoints, size)[0],
    }
    for split in splits:
        with open(f"{folder}/image_{split}/{name}", "wb") as file:
            file.write(data.tobytes())
        for kind, planes in maps.items():
            place = f"{folder}/{kind}_{split}/{map_folder_name(name)}"
            Path(place).mkdir()
            write_map_files(place, planes)
