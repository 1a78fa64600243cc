"""Writes a SynthVeRi data set in the layout of VeRi, whole or not at all."""

import contextlib
import functools
import json
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from mtn_core.data.labels import write_labels
from mtn_core.data.layout import SPLITS
from mtn_core.data.pose_maps import (
    draw_heatmaps,
    draw_segments,
    encode_maps,
    map_folder_name,
    write_encoded_maps,
)
from mtn_core.data.workers import num_workers_for
from mtn_core.files import atomic_folder, refuse_existing, write_json
from mtn_core.progress import progress_bar
from mtn_core.synthveri.assembly import create_vehicle
from mtn_core.synthveri.cameras import Camera, create_cameras
from mtn_core.synthveri.fleet import Individual, create_fleet
from mtn_core.synthveri.photo import Photo, take_photo
from mtn_core.synthveri.plan import Shot, create_shots, get_size

# Raised when the same size and seed give other data. 2: colours crossed with types, shares of VeRi,
# 100 + 40 vehicles in demo (76 + 30 before).
VERSION = 2
VERSION_FILE = "synthveri.json"
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
    refuse_existing(target, overwrite=overwrite, remedy="--root")
    fleet = create_fleet(numbers.train_ids + numbers.test_ids, seed)
    attributes = np.array([(one.color_id, one.type_id) for one in fleet])
    shots = create_shots(numbers, seed, attributes)
    by_id: dict[int, list[Shot]] = {individual.pid: [] for individual in fleet}
    for shot in shots:
        by_id[shot.pid].append(shot)
    tasks = [(individual, by_id[individual.pid]) for individual in fleet]
    rows: dict[str, list[tuple]] = {split: [] for split in SPLITS}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(atomic_folder(target, overwrite=overwrite))
        for split in SPLITS:
            for kind in _KINDS:
                (folder / f"{kind}_{split}").mkdir()
        job = functools.partial(_write_id, str(folder), seed)
        results = stack.enter_context(_mapped(job, tasks, num_workers_for(workers)))
        bar = stack.enter_context(
            progress_bar(
                total=len(shots), description=f"SynthVeRi {size}", unit="image", shown=progress
            )
        )
        for individual, written in zip(fleet, results, strict=True):
            for shot, keypoints in zip(by_id[individual.pid], written, strict=True):
                for split in _splits_of(shot):
                    label = (shot.name, shot.pid, individual.color_id, individual.type_id)
                    rows[split].append((label, keypoints))
            bar.update(len(written))
        for split in SPLITS:
            labels, keypoints = zip(*sorted(rows[split], key=lambda row: row[0]), strict=True)
            frame = pd.DataFrame(labels, columns=["name", "pid", "color_id", "type_id"])
            write_labels(folder / f"label_{split}.csv", frame, np.stack(keypoints))
        write_json(folder / VERSION_FILE, {"version": VERSION, "size": size, "seed": seed})
    return {
        **{split: len(rows[split]) for split in SPLITS},
        "train_ids": numbers.train_ids,
        "test_ids": numbers.test_ids,
        "cameras": len({shot.camid for shot in shots}),
    }


def describe_version(root: str | Path) -> str | None:
    """A line about SynthVeRi that another version drew; None where this one did.

    Args:
        root: The folder that holds the ``veri/`` of a SynthVeRi.
    """
    try:
        text = (Path(root) / "veri" / VERSION_FILE).read_text(encoding="utf-8")
        version = json.loads(text)["version"]
    except FileNotFoundError:
        version = 1  # which left no such file
    except (ValueError, KeyError, TypeError):
        version = "unknown"
    if version == VERSION:
        return None
    return (
        f"{root} was drawn by SynthVeRi version {version}, this is version {VERSION}: their "
        "figures cannot be compared; remove the folder to have it drawn anew"
    )


def _splits_of(shot: Shot) -> tuple[str, ...]:
    return (shot.split, "query") if shot.query else (shot.split,)


@contextlib.contextmanager
def _mapped(job: Callable, tasks: list, workers: int) -> Iterator[Iterator]:
    """Results of ``job`` for every task, in order, from this process or from several."""
    workers = min(workers, len(tasks))
    if workers > 1:
        # Not forked: the caller may have started threads, which a fork would leave hanging.
        context = multiprocessing.get_context("spawn")
        with context.Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            yield pool.imap(job, tasks)
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield map(job, tasks)
    finally:
        cv2.setNumThreads(threads)


@functools.lru_cache(maxsize=2)
def _cameras(seed: int) -> tuple[Camera, ...]:
    return create_cameras(seed)


def _write_id(folder: str, seed: int, task: tuple[Individual, list[Shot]]) -> list[np.ndarray]:
    """Write all images of one id; gives the keypoints of each."""
    individual, shots = task
    vehicle = create_vehicle(individual)
    written = []
    for shot in shots:
        photo = take_photo(vehicle, shot, _cameras(seed)[shot.camid - 1], seed)
        # Maps are drawn from what the label file will say, so drawing them again gives the same.
        keypoints = np.round(photo.keypoints.astype(np.float64), 3).astype(np.float32)
        _write_image(folder, shot, photo, keypoints)
        written.append(keypoints)
    return written


def _write_image(folder: str, shot: Shot, photo: Photo, keypoints: np.ndarray) -> None:
    done, data = cv2.imencode(
        ".jpg", photo.image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, photo.quality)
    )
    if not done:
        raise ValueError(f"OpenCV cannot encode {shot.name}")
    size = np.array([photo.image.shape[1::-1]])
    maps = {
        "heatmap": encode_maps(draw_heatmaps(keypoints[None], size)[0]),
        "segment": encode_maps(draw_segments(keypoints[None], size)[0]),
    }
    for split in _splits_of(shot):
        with open(f"{folder}/image_{split}/{shot.name}", "wb") as file:
            file.write(data.tobytes())
        for kind, encoded in maps.items():
            place = Path(f"{folder}/{kind}_{split}/{map_folder_name(shot.name)}")
            place.mkdir()
            write_encoded_maps(place, encoded)
