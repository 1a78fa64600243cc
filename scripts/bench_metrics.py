"""What exact retrieval metrics cost, beside the bare matrix product and the classic evaluation.

Prints a table and, as the last line, the same figures as JSON. Times are wall-clock seconds, the
smallest of several interleaved repeats; memory is the peak above what the process held before.
"""

import argparse
import contextlib
import ctypes
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from mtn_core.environment import guard_environment

guard_environment()  # before NumPy is loaded

import numpy as np
import psutil

from mtn_core.metrics.distance import BLOCK_ROWS
from mtn_core.metrics.retrieval import evaluate

VERI_LABELS = Path(__file__).resolve().parents[2] / "shared" / "data" / "veri_labels"
# Strength of the identity in the embeddings: of chance, and such that mAP is about one half.
SIGNALS = {"random": 0.0, "trained": 0.35}
SIGNAL_512 = 0.5  # the same for narrower embeddings


def veri_ids(labels: Path) -> tuple[np.ndarray, ...] | None:
    """q_pids, g_pids, q_camids, g_camids of the real VeRi, where its label files are."""
    if not (labels / "test_label.xml").is_file():
        return None
    text = (labels / "test_label.xml").read_bytes().decode("ascii", "replace")
    items = ElementTree.fromstring(text[text.index("<TrainingImages") :]).iter("Item")
    gallery = np.array([(int(i.get("vehicleID")), int(i.get("cameraID")[1:])) for i in items])
    names = [line.split("_") for line in (labels / "label_query.csv").open()]
    query = np.array([(int(name[0]), int(name[1][1:])) for name in names])
    return query[:, 0], gallery[:, 0], query[:, 1], gallery[:, 1]


def random_ids(num_query: int, num_gallery: int, num_ids: int, num_cameras: int, rng):
    """Ids like a benchmark's, where no real ones are at hand."""
    pids = [rng.integers(0, num_ids, n) for n in (num_query, num_gallery)]
    camids = [rng.integers(1, num_cameras + 1, n) for n in (num_query, num_gallery)]
    return *pids, *camids


def make_embeddings(pids: np.ndarray, width: int, signal: float, rng) -> np.ndarray:
    """Noise around a centre for each identity, float32."""
    embeddings = rng.standard_normal((len(pids), width), dtype=np.float32)
    for start in range(0, len(pids), 4096):
        part = slice(start, start + 4096)
        ids, index = np.unique(pids[part], return_inverse=True)
        centres = [
            np.random.default_rng(int(i)).standard_normal(width, dtype=np.float32) for i in ids
        ]
        embeddings[part] += signal * np.stack(centres)[index]
    return embeddings


def classic(query, gallery, q_pids, g_pids, q_camids, g_camids, max_rank=50) -> float:
    """The evaluation that the field's toolboxes share: full sort, then query by query in Python."""
    distances = (query**2).sum(axis=1)[:, None] + (gallery**2).sum(axis=1)[None]
    distances -= 2 * query @ gallery.T
    order = np.argsort(distances, axis=1)
    hits = (g_pids[order] == q_pids[:, None]).astype(np.int32)
    aps, curves = [], []
    for i in range(len(query)):
        ranked = order[i]
        valid = (g_pids[ranked] != q_pids[i]) | (g_camids[ranked] != q_camids[i])
        found = hits[i][valid]
        if not found.any():
            continue
        curves.append(np.minimum(found.cumsum(), 1)[:max_rank])
        precision = np.asarray([hit / (rank + 1.0) for rank, hit in enumerate(found.cumsum())])
        aps.append((precision * found).sum() / found.sum())
    return float(np.mean(aps))


def blocked_product(query: np.ndarray, gallery: np.ndarray) -> None:
    """The bare product where its result would not fit: into one block's memory, over and over."""
    out = np.empty((BLOCK_ROWS, len(gallery)), query.dtype)
    for start in range(0, len(query), BLOCK_ROWS):
        part = query[start : start + BLOCK_ROWS]
        np.matmul(part, gallery.T, out=out[: len(part)])


def peak_memory(call: Callable[[], object]) -> int:
    """Bytes that ``call`` held at most, above what was held before."""
    # What the allocator kept of earlier calls would be used again, and go unseen.
    with contextlib.suppress(AttributeError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    peak = [before]

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return peak[0] - before


def interleaved(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every repeat of every call, taken in turns so that disturbances hit all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def bench_veri(args: argparse.Namespace) -> list[dict]:
    rng = np.random.default_rng(0)
    ids = veri_ids(args.labels)
    real = ids is not None
    ids = ids if real else random_ids(1678, 11579, 200, 20, rng)
    rows = []
    for name, signal in SIGNALS.items():
        query, gallery = (make_embeddings(p, 1024, signal, rng) for p in ids[:2])
        out = np.empty((len(query), len(gallery)), np.float32)
        calls = {
            "product": lambda q=query, g=gallery, o=out: np.matmul(q, g.T, out=o),
            "evaluate": lambda q=query, g=gallery: evaluate(q, g, *ids),
        }
        for call in calls.values():
            call()  # pages of the result, thread pools
        times = interleaved(calls, args.repeats)
        start = time.perf_counter()
        classic_map = classic(query, gallery, *ids)
        seconds = time.perf_counter() - start
        del out
        memory = peak_memory(lambda q=query, g=gallery: evaluate(q, g, *ids))
        result = evaluate(query, gallery, *ids)
        rows.append(
            {
                "case": f"VeRi {name}",
                "shape": [len(query), len(gallery), 1024],
                "real_ids": real,
                "mAP": result.mAP,
                "mAP_classic": classic_map,
                **_figures(times),
                "peak_MB": memory / 1e6,
                "classic_s": seconds,
                "times_faster_than_classic": seconds / min(times["evaluate"]),
            }
        )
    return rows


def bench_wild(args: argparse.Namespace) -> list[dict]:
    rng = np.random.default_rng(1)
    ids = random_ids(10_000, 138_517, 10_000, 174, rng)
    query, gallery = (make_embeddings(p, 512, SIGNAL_512, rng) for p in ids[:2])
    held = psutil.Process().memory_info().rss
    calls = {
        "product": lambda: blocked_product(query, gallery),
        "evaluate": lambda: evaluate(query, gallery, *ids),
    }
    memory = peak_memory(calls["evaluate"])
    times = interleaved(calls, max(1, args.repeats // 3))
    return [
        {
            "case": "VERI-Wild",
            "shape": [len(query), len(gallery), 512],
            "mAP": evaluate(query, gallery, *ids).mAP,
            **_figures(times),
            "peak_MB": memory / 1e6,
            "peak_of_process_MB": (held + memory) / 1e6,
        }
    ]


def bench_gallery_sizes(args: argparse.Namespace) -> list[dict]:
    rng = np.random.default_rng(2)
    rows = []
    for size in (2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000):
        ids = random_ids(512, size, size // 15, 20, rng)
        query, gallery = (make_embeddings(p, 512, SIGNAL_512, rng) for p in ids[:2])
        calls = {
            "product": lambda q=query, g=gallery: blocked_product(q, g),
            "evaluate": lambda q=query, g=gallery, i=ids: evaluate(q, g, *i),
        }
        times = interleaved(calls, args.repeats)
        rows.append({"case": "size", "shape": [512, size, 512], **_figures(times)})
    return rows


def _figures(times: dict[str, list[float]]) -> dict[str, float]:
    ratios = np.array(times["evaluate"]) / np.array(times["product"])
    return {
        "product_s": min(times["product"]),
        "evaluate_s": min(times["evaluate"]),
        "times_product": min(times["evaluate"]) / min(times["product"]),
        "times_product_median": float(np.median(ratios)),
    }


def draw(rows: list[dict], path: Path) -> None:
    """Cost against gallery size."""
    from matplotlib import pyplot as plt

    sizes = [row["shape"][1] for row in rows]
    fig, ax = plt.subplots(figsize=(4, 3), layout="constrained")
    ax.plot(sizes, [row["evaluate_s"] for row in rows], "o-", label="evaluation")
    ax.plot(sizes, [row["product_s"] for row in rows], "s--", label="bare matrix product")
    ax.set(xscale="log", yscale="log", xlabel="gallery images", ylabel="seconds, 512 queries")
    ax.legend(frameon=False)
    fig.savefig(path, dpi=120)
    plt.close(fig)


def print_plot(rows: list[dict]) -> None:
    """The same as text: bars of evaluation (#) and, of it, bare product (=)."""
    longest = max(row["evaluate_s"] for row in rows)
    print("\nseconds for 512 queries against gallery size: = matrix product, # the rest")
    for row in rows:
        product, whole = (round(50 * row[k] / longest) for k in ("product_s", "evaluate_s"))
        bar = "=" * product + "#" * max(0, whole - product)
        print(f"{row['shape'][1]:>8} {bar} {row['evaluate_s']:.3f}")


def print_table(rows: list[dict]) -> None:
    print(f"{'case':14}{'queries x gallery x width':28}{'product':>9}{'evaluate':>9}", end="")
    print(f"{'ratio':>7}{'median':>7}{'peak MB':>9}{'classic':>9}{'faster':>8}")
    for row in rows:
        cells = [f"{row['case']:14}{' x '.join(map(str, row['shape'])):28}"]
        cells += [f"{row['product_s']:9.3f}{row['evaluate_s']:9.3f}"]
        cells += [f"{row['times_product']:7.2f}{row['times_product_median']:7.2f}"]
        cells += [f"{row['peak_MB']:9.0f}" if "peak_MB" in row else " " * 9]
        if "classic_s" in row:
            cells += [f"{row['classic_s']:9.2f}{row['times_faster_than_classic']:7.0f}x"]
        print("".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, default=VERI_LABELS, help="VeRi's label files")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=["veri", "wild", "sizes"])
    parser.add_argument("--plot", type=Path, help="PNG of cost against gallery size")
    args = parser.parse_args()
    chosen = args.only or ["veri", "wild", "sizes"]
    rows = bench_veri(args) if "veri" in chosen else []
    rows += bench_wild(args) if "wild" in chosen else []
    sizes = bench_gallery_sizes(args) if "sizes" in chosen else []
    print_table(rows + sizes)
    if sizes:
        print_plot(sizes)
    if args.plot and sizes:
        draw(sizes, args.plot)
    print(json.dumps(rows + sizes))


if __name__ == "__main__":
    main()
