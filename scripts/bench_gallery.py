"""A gallery at the size of a city: insert, disk, memory, opening, searching with a filter or none.

Embeddings are made up and clustered as real ones are: a vehicle is seen 20 times, by four cameras
within half an hour, like others of its colour and type, and rows come in the order of time. Beside
the gallery NumPy scans all rows and faiss asks an index (IVF, float16). Each runs in a process of
its own. Prints a table and, as the last line, JSON. A million rows need 4.5 GB of disk below
``--work`` and some minutes; ``--rows 20000 --queries 5`` is for a look.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from mtn_core.environment import guard_environment

guard_environment()  # before NumPy is loaded

import numpy as np

CROPS_A_VEHICLE, CAMERAS_A_VEHICLE, NUM_CAMERAS = 20, 4, 100
GROUP, VEHICLE, NOISE = 0.4, 0.6, 0.7  # cosine 0.5 within a vehicle, 0.16 within colour and type
START = datetime(2024, 5, 1)
DAYS = 30
CHUNK = 10_000
TOP = 20
CASE_SECONDS = 60.0  # then five queries are enough
TARGETS = {
    "filtered (1 %) p50 s": 0.05,
    "process MB": 1500,
    "opening s": 0.5,
    "adding 10,000 s": 3.0,
}


def make(work: Path, args: argparse.Namespace) -> dict:
    """Embeddings in float16, what is known of them, queries, and the exact answers."""
    rng = np.random.default_rng(0)
    vehicles = max(args.rows // CROPS_A_VEHICLE, 1)
    rows = vehicles * CROPS_A_VEHICLE
    color, kind = rng.integers(0, 10, vehicles), rng.integers(0, 9, vehicles)
    groups = rng.standard_normal((90, args.width), dtype=np.float32)
    centres = VEHICLE * rng.standard_normal((vehicles, args.width), dtype=np.float32)
    centres += GROUP * groups[color * 9 + kind]
    vehicle = np.repeat(np.arange(vehicles), CROPS_A_VEHICLE)
    stop = np.tile(np.arange(CROPS_A_VEHICLE) // (CROPS_A_VEHICLE // CAMERAS_A_VEHICLE), vehicles)
    cameras = rng.integers(0, NUM_CAMERAS, (vehicles, CAMERAS_A_VEHICLE))[vehicle, stop]
    seconds = rng.random(vehicles)[vehicle] * DAYS * 86_400 + stop * 450 + rng.random(rows) * 5
    order = np.argsort(seconds, kind="stable")
    vehicle, cameras, seconds = vehicle[order], cameras[order], seconds[order]

    def guess(true: np.ndarray, count: int) -> np.ndarray:
        return np.where(rng.random(rows) < 0.85, true[vehicle], rng.integers(0, count, rows))

    colors, types = guess(color, 10), guess(kind, 9)
    np.savez(work / "known.npz", cameras=cameras, seconds=seconds, colors=colors, types=types)
    asked = rng.choice(rows, args.queries, replace=False)
    queries = view(centres[vehicle[asked]], rng)
    np.savez(work / "queries.npz", queries=queries, camera=cameras[asked], color=colors[asked],
             type=types[asked], seconds=seconds[asked])  # fmt: skip
    with open(work / "vectors.f16", "wb") as file:
        for start in range(0, rows, CHUNK):
            view(centres[vehicle[start : start + CHUNK]], rng).astype(np.float16).tofile(file)
    return {"rows": rows, "vehicles": vehicles}


def view(centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A crop of each vehicle, of length 1."""
    features = centres + NOISE * rng.standard_normal(centres.shape, dtype=np.float32)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def chunks(work: Path, width: int, rows: int = CHUNK):
    """Start and float32 rows, chunk after chunk, read anew each time."""
    with open(work / "vectors.f16", "rb") as file:
        start = 0
        while len(part := np.fromfile(file, np.float16, rows * width)):
            yield start, part.reshape(-1, width).astype(np.float32)
            start += len(part) // width


def cases(work: Path) -> dict[str, list]:
    """Filters by case, for each query one."""
    from mtn_core.gallery.records import Filter

    asked = np.load(work / "queries.npz")
    moments = [START + timedelta(seconds=s) for s in asked["seconds"].tolist()]
    day = timedelta(days=DAYS) / 200
    cameras = asked["camera"].tolist()
    return {
        "no filter": [Filter() for _ in moments],
        "99 %: not a camera": [Filter(not_camera=(str(c),)) for c in cameras],
        "1 %: a camera": [Filter(camera=(str(c),)) for c in cameras],
        "1 %: seven hours": [Filter(after=m - day, before=m + day) for m in moments],
        "1 %: colour and type": [
            Filter(color=(f"color {c}",), type=(f"type {t}",))
            for c, t in zip(asked["color"].tolist(), asked["type"].tolist(), strict=True)
        ],
        "20 %: twenty cameras": [
            Filter(camera=tuple(str((c + i) % NUM_CAMERAS) for i in range(20))) for c in cameras
        ],
    }


def keeps(which, known: dict[str, np.ndarray]) -> np.ndarray:
    """``(rows,)`` bool: what a filter keeps."""
    kept = np.ones(len(known["cameras"]), bool)
    if which.camera:
        kept &= np.isin(known["cameras"], [int(c) for c in which.camera])
    if which.not_camera:
        kept &= ~np.isin(known["cameras"], [int(c) for c in which.not_camera])
    if which.after:
        kept &= known["seconds"] >= (which.after - START).total_seconds()
        kept &= known["seconds"] < (which.before - START).total_seconds()
    if which.color:
        kept &= known["colors"] == int(which.color[0].split()[1])
        kept &= known["types"] == int(which.type[0].split()[1])
    return kept


def find_truth(work: Path, args: argparse.Namespace) -> dict:
    """Distance of the ``TOP``-th exact answer for every case and query, by NumPy in float32."""
    queries = np.load(work / "queries.npz")["queries"]
    known = dict(np.load(work / "known.npz"))
    rows = len(known["cameras"])
    scores = np.empty((len(queries), rows), np.float32)
    for start, part in chunks(work, args.width):
        scores[:, start : start + len(part)] = queries @ part.T
        # The rows are of length 1 but for their rounding, and distances are Euclidean.
        scores[:, start : start + len(part)] -= np.square(part).sum(axis=1) / 2
    answers: dict[str, list[list[int]]] = {}
    share: dict[str, float] = {}
    for case, filters in cases(work).items():
        answers[case], kept_shares = [], []
        for row, which in zip(scores, filters, strict=True):
            kept = keeps(which, known)
            kept_shares.append(kept.mean())
            candidates = np.flatnonzero(kept)
            best = np.argsort(-row[candidates], kind="stable")[:TOP]
            answers[case].append(candidates[best].tolist())
        share[case] = float(np.mean(kept_shares))
    (work / "truth.json").write_text(json.dumps(answers))
    return {"kept": share}


def recall(found: list[list[int]], truth: list[list[int]]) -> float:
    """Share of the exact answers that were found."""
    hits = sum(len(set(f) & set(t)) for f, t in zip(found, truth, strict=True))
    return hits / max(sum(len(t) for t in truth), 1)


def add_rows(work: Path, args: argparse.Namespace) -> dict:
    """Insert all, 10,000 at a time, as `mtn embed` does fragment by fragment."""
    from mtn_core.gallery.store import Batch, Gallery, GalleryInfo, ModelInput

    info = GalleryInfo(
        "b" * 64, "made up", "cosine", args.width, ModelInput(256), images=str(work / "images")
    )
    gallery = Gallery.create(work / "gallery", info)
    known = dict(np.load(work / "known.npz"))
    times = []
    for start, part in chunks(work, args.width):
        numbers = range(start, start + len(part))
        batch = Batch(
            info.model_sha256,
            names=[f"{known['cameras'][i]}/{i:08d}.jpg" for i in numbers],
            image_sha256=[f"{(i * 0x9E3779B97F4A7C15) % 2**64:016x}" * 4 for i in numbers],
            features=part,
            cameras=[str(known["cameras"][i]) for i in numbers],
            times=[START + timedelta(seconds=known["seconds"][i]) for i in numbers],
            colors=[f"color {known['colors'][i]}" for i in numbers],
            color_confidences=np.full(len(part), 0.9),
            types=[f"type {known['types'][i]}" for i in numbers],
            type_confidences=np.full(len(part), 0.9),
        )
        begun = time.perf_counter()
        assert gallery.add(batch) == len(part)
        times.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    gallery.tidy()
    times_and_tidy = sum(times) + time.perf_counter() - begun
    size = sum(f.stat().st_size for f in (work / "gallery").rglob("*") if f.is_file())
    return {
        "insert_s": times_and_tidy,
        "add_10000_p50_s": float(np.median(times)),
        "add_10000_max_s": max(times),
        "disk_MB": size / 1e6,
        "peak_MB": peak_memory(),
    }


def search_gallery(work: Path, args: argparse.Namespace) -> dict:
    """Open the gallery and search it."""
    begun = time.perf_counter()
    import lancedb  # noqa: F401

    imported = time.perf_counter()
    from mtn_core.gallery.store import Gallery

    Gallery.open(work / "gallery").search(np.zeros((1, args.width), np.float32) + 1)  # warm files
    opening = time.perf_counter()
    gallery = Gallery.open(work / "gallery")
    count = len(gallery)
    opened = time.perf_counter()

    def search(query, which):
        (hits,) = gallery.search(query, which, TOP)
        return [int(hit.name.split("/")[1][:8]) for hit in hits]

    return {
        "import_s": imported - begun,
        "open_s": opened - opening,
        "count": count,
        "cases": measure(work, args, search),
        "peak_MB": peak_memory(),
    }


def scan_numpy(work: Path, args: argparse.Namespace) -> dict:
    """NumPy over all rows that a filter keeps; the float16 rows are held in memory."""
    vectors = np.fromfile(work / "vectors.f16", np.float16).reshape(-1, args.width)
    known = dict(np.load(work / "known.npz"))

    def search(query, which):
        kept = np.flatnonzero(keeps(which, known))
        keys = np.concatenate(
            [
                np.square(vectors[kept[i : i + CHUNK]].astype(np.float32) - query).sum(axis=1)
                for i in range(0, len(kept), CHUNK)
            ]
        )
        return kept[np.argsort(keys, kind="stable")[:TOP]].tolist()

    return {"cases": measure(work, args, search), "peak_MB": peak_memory()}


def ask_faiss(work: Path, args: argparse.Namespace) -> dict:
    """Faiss IVF with float16 codes: a filter is applied to the cells that are looked into."""
    import faiss

    rows = (work / "vectors.f16").stat().st_size // (2 * args.width)
    cells = max(1, min(1024, rows // 100))
    coarse = faiss.IndexFlatL2(args.width)
    index = faiss.IndexIVFScalarQuantizer(
        coarse, args.width, cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2
    )
    begun = time.perf_counter()
    sample = [part[:: max(1, rows // 50_000)].copy() for _, part in chunks(work, args.width)]
    index.train(np.concatenate(sample))
    for _, part in chunks(work, args.width):
        index.add(part)
    built = time.perf_counter() - begun
    index.nprobe = max(1, cells // 32)
    known = dict(np.load(work / "known.npz"))

    def search(query, which):
        parameters = None
        if which:
            chosen = faiss.IDSelectorBatch(np.flatnonzero(keeps(which, known)))
            parameters = faiss.SearchParametersIVF(sel=chosen, nprobe=index.nprobe)
        _, found = index.search(query[None], TOP, params=parameters)
        return [i for i in found[0].tolist() if i >= 0]

    return {
        "build_s": built,
        "cells": cells,
        "probed": index.nprobe,
        "cases": measure(work, args, search),
        "peak_MB": peak_memory(),
    }


def measure(work: Path, args: argparse.Namespace, search: Callable) -> dict:
    """p50, p95 and recall of every case; cases of many rows get fewer queries."""
    queries = np.load(work / "queries.npz")["queries"]
    truth = json.loads((work / "truth.json").read_text())
    results = {}
    for case, filters in cases(work).items():
        count = len(queries) if case.startswith("1 %") else max(1, len(queries) // 5)
        search(queries[-1], filters[-1])  # what is read once
        times: list[float] = []
        found: list[list[int]] = []
        for query, which in zip(queries[:count], filters, strict=False):
            begun = time.perf_counter()
            found.append(search(query, which))
            times.append(time.perf_counter() - begun)
            if sum(times) > CASE_SECONDS and len(times) >= 5:
                break
        results[case] = {
            "p50_s": float(np.percentile(times, 50)),
            "p95_s": float(np.percentile(times, 95)),
            "recall": recall(found, truth[case][: len(found)]),
            "queries": len(found),
        }
    return results


def peak_memory() -> float:
    """Most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


PARTS = {
    "make": make,
    "truth": find_truth,
    "insert": add_rows,
    "gallery": search_gallery,
    "numpy": scan_numpy,
    "faiss": ask_faiss,
}


def in_process(part: str, work: Path, args: argparse.Namespace) -> dict | None:
    """Run a part in a process of its own; None where its package is not installed."""
    if part == "faiss":
        with contextlib.suppress(ImportError):
            import faiss  # noqa: F401
        if "faiss" not in sys.modules:
            return None
    command = [sys.executable, __file__, "--part", part, "--work", str(work)]
    command += ["--rows", str(args.rows), "--width", str(args.width)]
    command += ["--queries", str(args.queries)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def format_table(parts: dict) -> str:
    """What was measured, for a person."""
    insert, gallery = parts["insert"], parts["gallery"]
    lines = [
        f"{parts['make']['rows']} embeddings, {parts['width']} wide, top {TOP}; "
        f"{parts['processors']} processors, load {parts['load']:.1f} before",
        f"insert {insert['insert_s']:.1f} s (10,000: p50 {insert['add_10000_p50_s']:.2f} s, most "
        f"{insert['add_10000_max_s']:.2f} s), disk {insert['disk_MB']:.0f} MB, process "
        f"{insert['peak_MB']:.0f} MB; opening {gallery['open_s'] * 1e3:.0f} ms (importing LanceDB "
        f"{gallery['import_s']:.1f} s), searching process {gallery['peak_MB']:.0f} MB",
        "",
        f"{'case':<22}{'':<9}{'p50 ms':>9}{'p95 ms':>9}{'recall':>8}{'process MB':>12}",
    ]
    for case in gallery["cases"]:
        for name in ("gallery", "numpy", "faiss"):
            if parts.get(name):
                one = parts[name]["cases"][case]
                lines.append(
                    f"{case if name == 'gallery' else '':<22}{name:<9}{one['p50_s'] * 1e3:9.1f}"
                    f"{one['p95_s'] * 1e3:9.1f}{one['recall']:8.3f}{parts[name]['peak_MB']:12.0f}"
                )
    lines += ["", "targets on two processors:"]
    for name, met in parts["targets"].items():
        lines.append(f"  {name}: {met['got']:.3g} of {met['target']:g}, "
                     f"{'met' if met['got'] <= met['target'] else 'MISSED'}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--work", type=Path, help="folder for the data, which is deleted")
    parser.add_argument(
        "--only", nargs="+", choices=("numpy", "faiss", "none"), help="compare with"
    )
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(PARTS[args.part](args.work, args)))
        return
    load = os.getloadavg()[0]
    work = Path(tempfile.mkdtemp(prefix="mtn-gallery-", dir=args.work))
    compared = [part for part in args.only or ["numpy", "faiss"] if part != "none"]
    parts: dict = {"width": args.width, "processors": os.cpu_count(), "load": load}
    try:
        for part in ("make", "truth", "insert", "gallery", *compared):
            print(f"{part} ...", file=sys.stderr, flush=True)
            parts[part] = in_process(part, work, args)
            print(json.dumps(parts[part]), file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    got = (
        parts["gallery"]["cases"]["1 %: a camera"]["p50_s"],
        max(parts["insert"]["peak_MB"], parts["gallery"]["peak_MB"]),
        parts["gallery"]["open_s"],
        parts["insert"]["add_10000_p50_s"],
    )
    parts["targets"] = {
        name: {"target": target, "got": value}
        for (name, target), value in zip(TARGETS.items(), got, strict=True)
    }
    print(format_table(parts))
    print(json.dumps(parts))


if __name__ == "__main__":
    main()
