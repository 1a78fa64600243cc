"""How fast SynthVeRi is drawn and written on one core, and where the time goes.

Prints a table and, as the last line, the same figures as JSON. The whole of ``write_synthveri`` is
timed with one process, images, 36 heatmaps and 13 segments, labels and all; then its stages alone.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable

import cv2
import numpy as np

from mtn_core.data.pose_maps import draw_heatmaps, draw_segments, encode_maps
from mtn_core.synthveri import write_synthveri
from mtn_core.synthveri.assembly import create_vehicle
from mtn_core.synthveri.cameras import create_cameras
from mtn_core.synthveri.fleet import create_fleet
from mtn_core.synthveri.photo import Photo, take_photo
from mtn_core.synthveri.plan import SIZES, create_shots

TARGET = 40.0  # images a second a core


def timed(work: Callable[[], object]) -> tuple[object, float]:
    """Result and processor seconds of a piece of work."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def bench_stages(size: str, seed: int) -> dict[str, float]:
    """Milliseconds an image of each stage."""
    numbers = SIZES[size]
    fleet = create_fleet(numbers.train_ids + numbers.test_ids, seed)
    shots = create_shots(numbers, seed)
    cameras = create_cameras(seed)
    vehicles, building = timed(lambda: [create_vehicle(individual) for individual in fleet])
    photos, taking = timed(
        lambda: [take_photo(vehicles[s.pid - 1], s, cameras[s.camid - 1], seed) for s in shots]
    )
    _, images = timed(lambda: [_encode(photo) for photo in photos])
    maps, drawing = timed(lambda: [_maps(photo) for photo in photos])
    _, encoding = timed(lambda: [encode_maps(planes) for pair in maps for planes in pair])
    stages = {
        "build vehicles": building,
        "take photos": taking,
        "encode images": images,
        "draw maps": drawing,
        "encode maps": encoding,
    }
    return {name: 1000 * seconds / len(shots) for name, seconds in stages.items()}


def _encode(photo: Photo) -> None:
    cv2.imencode(".jpg", photo.image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, photo.quality))


def _maps(photo: Photo) -> tuple[np.ndarray, np.ndarray]:
    keypoints, size = photo.keypoints[None], np.array([photo.image.shape[1::-1]])
    return draw_heatmaps(keypoints, size)[0], draw_segments(keypoints, size)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="smoke")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3, help="best of this many whole runs")
    args = parser.parse_args()
    cv2.setNumThreads(1)

    wall, cpu, counts = [], [], {}
    for _ in range(args.repeats):
        with tempfile.TemporaryDirectory() as root:
            start = time.perf_counter()
            counts, seconds = timed(
                lambda root=root: write_synthveri(
                    root, size=args.size, seed=args.seed, workers=1, progress=False
                )
            )
            wall.append(time.perf_counter() - start)
            cpu.append(seconds)
    images = counts["train"] + counts["test"]
    figures = {
        "size": args.size,
        "images": images,
        "images_per_s_core": round(images / min(cpu), 1),
        "images_per_s_wall": round(images / min(wall), 1),
        "target_images_per_s_core": TARGET,
        "met": images / min(cpu) >= TARGET,
        "ms_per_image": {k: round(v, 2) for k, v in bench_stages(args.size, args.seed).items()},
    }
    whole = 1000 * min(cpu) / images
    figures["ms_per_image"]["files and the rest"] = round(
        whole - sum(figures["ms_per_image"].values()), 2
    )
    print(f"SynthVeRi {args.size}: {images} images, one process, best of {args.repeats}")
    for name, value in figures["ms_per_image"].items():
        print(f"  {name:<20}{value:8.2f} ms an image")
    print(f"  {'whole':<20}{whole:8.2f} ms an image of processor time")
    print(f"  {figures['images_per_s_core']} images a second a core (target {TARGET:g}),")
    print(f"  {figures['images_per_s_wall']} images a second on the clock")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
