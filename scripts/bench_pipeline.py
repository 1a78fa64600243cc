"""What input costs: packed against the plain documented procedure, in one run.

Prints tables and, as the last line, the same figures as JSON. It measures

(a) samples a second with heatmaps, packed, against the plain procedure: 36 JPEGs an image, blown up
    to the crop, stacked, resized to 256x256, float32;
(b) what heatmaps add to a packed RGB sample;
(c) bytes a sample: what the host writes on the way, and what it hands to the device;
(d) resident memory after each of ten epochs;

and decode-and-resize with each library that could do it. Times are wall-clock, interleaved, the
median of several repeats, with files in the page cache. Without ``--root`` it works on SynthVeRi
``demo``, which it writes to a temporary folder.
"""

import argparse
import io
import json
import logging
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
from PIL import Image

from mtn_core.config import DataConfig, ModelConfig
from mtn_core.data.packs.read import open_pack
from mtn_core.data.packs.write import pack_dataset
from mtn_core.data.pipeline import TrainLoader
from mtn_core.data.source import open_source
from mtn_core.data.split import Split, load_split
from mtn_core.data.workers import num_workers_for

SIZE = 256
MEAN = np.array([0.485, 0.456, 0.406] + [0.449] * 36, np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225] + [0.226] * 36, np.float32)[:, None, None]
TARGETS = {"a_speedup": 12.0, "b_heatmap_cost": 1.5, "c_bytes": 30.0, "d_growth_mb": 8.0}


class Traffic:
    """Adds up the bytes of the arrays that are written for a sample."""

    def __init__(self):
        self.bytes = 0

    def add(self, array: np.ndarray) -> np.ndarray:
        """Count an array and give it back."""
        self.bytes += array.nbytes
        return array


def plain_sample(split: Split, row: int, out: np.ndarray, count: Callable = lambda a: a) -> None:
    """The documented procedure for one training sample, into its place in a float32 batch."""
    rng = np.random.default_rng(row)
    image = count(cv2.imread(str(split.image_path(row)), cv2.IMREAD_COLOR))
    height, width = image.shape[:2]
    channels = [image[..., c] for c in (2, 1, 0)]
    folder = split.heatmap_dir(row)
    for k in range(36):
        heatmap = count(cv2.imread(f"{folder}/{k:02d}.jpg", cv2.IMREAD_GRAYSCALE))
        channels.append(count(cv2.resize(heatmap, (width, height))))
    stack = count(np.stack(channels, axis=2))
    if rng.random() > 0.5:
        stack = count(cv2.resize(stack, (SIZE, SIZE)))
    else:
        enlarged = count(cv2.resize(stack, (288, 288)))
        left, top = rng.integers(0, 33, 2)
        stack = enlarged[top : top + SIZE, left : left + SIZE]
    if rng.random() < 0.5:
        stack = stack[:, ::-1]
    tensor = count(np.ascontiguousarray(stack.transpose(2, 0, 1)).astype(np.float32))
    tensor *= np.float32(1 / 255)
    np.subtract(tensor, MEAN, out=tensor)
    np.divide(tensor, STD, out=out)
    count(out)


def run_plain(split: Split, rows: np.ndarray, batch_size: int, workers: int) -> float:
    """Samples a second of the plain procedure, its batches made by ``workers`` threads."""

    def make(batch_rows: np.ndarray) -> None:
        batch = np.empty((len(batch_rows), 39, SIZE, SIZE), np.float32)
        for position, row in enumerate(batch_rows.tolist()):
            plain_sample(split, row, batch[position])

    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(make, batches))
    return len(rows) / (time.perf_counter() - started)


def run_loader(loader: TrainLoader, epoch: int) -> float:
    """Samples a second of one epoch of a loader."""
    loader.set_epoch(epoch)
    started = time.perf_counter()
    samples = sum(len(batch["index"]) for batch in loader)
    return samples / (time.perf_counter() - started)


def our_traffic(split: Split, loader: TrainLoader) -> tuple[float, int]:
    """Bytes a sample that are written on the host, and that leave it; mean of one epoch.

    Counted are the arrays between the pack and the batch: stored bytes, decoded crop, what is
    resized (with its margin) or decompressed aside because it is still to be moved, and the batch.
    """
    source = open_source(split, heatmaps=True, segments=False)
    written, samples = 0, 0
    for step, rows in enumerate(loader.sampler.batches(0)):
        for position, sample in enumerate(source.samples(rows.tolist())):
            augmentation = loader.augmentation(step, position)
            written += sample.num_bytes + sample.image().nbytes
            if augmentation.shift is not None:
                written += 288 * 288 * 3 + 36 * 72 * 72 * (1 + augmentation.flip)
            elif augmentation.flip:
                written += SIZE * SIZE * 3 + 36 * 64 * 64
            samples += 1
    with loader:
        batch = next(iter(loader))
    leaving = sum(array[0].nbytes for array in batch.values())
    return written / samples + leaving, leaving


def decoders() -> dict[str, Callable[[bytes], np.ndarray]]:
    """Decode and resize to the network's size with each library."""
    import mindspore.dataset.vision as vision

    decode, resize = vision.Decode(), vision.Resize((SIZE, SIZE))

    def pillow(data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    def opencv(data: bytes) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        return cv2.resize(image, (SIZE, SIZE))

    return {
        "MindSpore vision": lambda data: resize(decode(np.frombuffer(data, np.uint8))),
        "Pillow": pillow,
        "OpenCV": opencv,
    }


def time_decoders(split: Split, rows: np.ndarray, repeats: int) -> dict[str, float]:
    """Milliseconds an image for each library, one thread."""
    files = [split.image_path(int(row)).read_bytes() for row in rows]
    times: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, function in decoders().items():
            started = time.perf_counter()
            for data in files:
                function(data)
            times.setdefault(name, []).append((time.perf_counter() - started) / len(files))
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


def interleave(runs: dict[str, Callable[[int], float]], repeats: int) -> dict[str, list[float]]:
    """Every measurement once, then all again, so that a slow minute hits them all."""
    results: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            value = run(repeat)
            if repeat:  # the first round warms caches
                results[name].append(value)
    return results


def resident_mb() -> float:
    """Resident size of this process in MB."""
    return psutil.Process().memory_info().rss / 1e6


def memory_over_epochs(split: Split, config: DataConfig, epochs: int) -> Iterator[float]:
    """Resident size after each epoch of packed samples with heatmaps."""
    model = ModelConfig(image_size=SIZE, heatmaps=True)
    source = open_source(split, heatmaps=True, segments=False)
    with TrainLoader(source, config=config, model=model, seed=0) as loader:
        for epoch in range(epochs):
            loader.set_epoch(epoch)
            for _ in loader:
                time.sleep(0.01)  # slower than the loader, as training is, so that it runs ahead
            yield resident_mb()


def measure(root: Path, options: argparse.Namespace) -> dict:
    """All figures for a data set whose training split has heatmaps and a pack."""
    split = load_split(root, "train")
    if open_pack(split, heatmaps=True, segments=True) is None:
        sys.exit(f"{root} has no current pack of its training split: mtn pack --root {root}")
    workers = num_workers_for(options.workers)
    config = DataConfig(ids_per_batch=8, images_per_id=4, num_workers=workers)
    loaders = {}
    for name, packed, heatmaps, segments in (
        ("packed, RGB", True, False, False),
        ("packed, RGB + heatmaps", True, True, False),
        ("packed, RGB + segments", True, False, True),
        ("packed, RGB + both", True, True, True),
        ("folders, RGB", False, False, False),
        ("folders, RGB + heatmaps", False, True, False),
    ):
        model = ModelConfig(image_size=SIZE, heatmaps=heatmaps, segments=segments)
        source = open_source(split, heatmaps=heatmaps, segments=segments, packed=packed)
        loaders[name] = TrainLoader(source, config=config, model=model, seed=0)
    rows = np.random.default_rng(0).permutation(len(split))[: options.plain_samples]
    runs = {
        f"plain procedure, {n} thread{'s' if n > 1 else ''}": lambda _, n=n: run_plain(
            split, rows, config.batch_size, n
        )
        for n in sorted({1, workers})
    }
    runs |= {
        name: lambda repeat, loader=loader: run_loader(loader, repeat)
        for name, loader in loaders.items()
    }
    rates = {n: statistics.median(v) for n, v in interleave(runs, options.repeats).items()}
    plain = max(rate for name, rate in rates.items() if name.startswith("plain"))
    heat = rates["packed, RGB + heatmaps"]

    traffic = Traffic()
    slot = np.empty((39, SIZE, SIZE), np.float32)
    for row in rows[:64].tolist():
        plain_sample(split, row, slot, traffic.add)
    plain_written = traffic.bytes / 64
    plain_leaving = slot.nbytes + 108 * 4 + 4 * 4  # keypoints and ids
    written, leaving = our_traffic(split, loaders["packed, RGB + heatmaps"])

    growth = list(memory_over_epochs(split, config, options.epochs))
    return {
        "images": len(split),
        "workers": workers,
        "batch": config.batch_size,
        "samples_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        "decode_ms": {
            name: round(ms, 3) for name, ms in time_decoders(split, rows, options.repeats).items()
        },
        "bytes_written": {"plain": round(plain_written), "packed": round(written)},
        "bytes_leaving": {"plain": plain_leaving, "packed": leaving},
        "resident_mb": [round(mb, 1) for mb in growth],
        "a_speedup": round(heat / plain, 1),
        "b_heatmap_cost": round(rates["packed, RGB"] / heat, 2),
        "c_bytes": round(plain_written / written, 1),
        "c_bytes_leaving": round(plain_leaving / leaving, 1),
        "d_growth_mb": round(growth[-1] - growth[min(2, len(growth) - 1)], 1),
        "threads_left": sum(t.name.startswith("mtn-data") for t in threading.enumerate()),
    }


def print_tables(figures: dict) -> None:
    """The figures for a person."""
    rates = figures["samples_per_s"]
    print(
        f"{figures['images']} training images, batches of {figures['batch']}, "
        f"{figures['workers']} workers, {SIZE}x{SIZE}\n"
    )
    print(f"{'input':34}{'samples/s':>12}{'ms a sample':>13}")
    for name, rate in rates.items():
        print(f"{name:34}{rate:12.1f}{1000 / rate:13.3f}")
    print(f"\n{'decode and resize, 1 thread':34}{'ms an image':>12}")
    for name, ms in figures["decode_ms"].items():
        print(f"{name:34}{ms:12.3f}")
    print(f"\n{'bytes a sample, with heatmaps':34}{'plain':>12}{'packed':>13}{'fewer':>9}")
    for key, what in (
        ("bytes_written", "written by the host"),
        ("bytes_leaving", "leave the host"),
    ):
        plain, packed = figures[key]["plain"], figures[key]["packed"]
        print(f"{what:34}{plain:12,}{packed:13,}{plain / packed:8.1f}x")
    print("\nresident MB after each epoch:", *figures["resident_mb"])
    checks = {
        "a_speedup": figures["a_speedup"] >= TARGETS["a_speedup"],
        "b_heatmap_cost": figures["b_heatmap_cost"] <= TARGETS["b_heatmap_cost"],
        "c_bytes": figures["c_bytes"] >= TARGETS["c_bytes"],
        "d_growth_mb": figures["d_growth_mb"] <= TARGETS["d_growth_mb"],
    }
    print("\ntarget            measured   wanted")
    for name, met in checks.items():
        sign = ">=" if name in ("a_speedup", "c_bytes") else "<="
        print(
            f"{name:18}{figures[name]:8}   {sign} {TARGETS[name]:g}   {'met' if met else 'MISSED'}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and fail where a target is missed and ``--check`` is given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, help="data with heatmaps (default: SynthVeRi)")
    parser.add_argument("--size", default="demo", choices=("smoke", "demo", "bench"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--plain_samples", type=int, default=256)
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="mtn-bench-") as folder:
        root = options.root
        if root is None:
            from mtn_core.synthveri import write_synthveri

            root = Path(folder)
            print(f"writing SynthVeRi {options.size} to {root}", file=sys.stderr)
            write_synthveri(root, size=options.size, seed=0)
            pack_dataset(root, splits=["train"])
        figures = measure(root, options)
    print_tables(figures)
    print(json.dumps(figures))
    missed = (
        figures["a_speedup"] < TARGETS["a_speedup"]
        or figures["b_heatmap_cost"] > TARGETS["b_heatmap_cost"]
        or figures["c_bytes"] < TARGETS["c_bytes"]
        or figures["d_growth_mb"] > TARGETS["d_growth_mb"]
    )
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
