"""Near-duplicate images across splits, by perceptual hash: what a test must not have in common."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

from mtn_core.data.images import open_image
from mtn_core.data.split import Split
from mtn_core.data.workers import num_workers_for

MAX_DISTANCE = 4  # of 64 bits
_CHUNK = 1024
_THUMBNAIL = 32
_MIN_CORRELATION = 0.97


def find_near_duplicates(
    splits: Mapping[str, Split], *, max_distance: int = MAX_DISTANCE, limit: int | None = None
) -> pd.DataFrame:
    """Pairs of nearly equal images in different splits.

    Candidates differ in at most ``max_distance`` bits of their 64-bit perceptual hash; of these
    stay those whose grey thumbnails correlate at 0.97 or more, for cars from the same side often
    share a hash. Query and gallery share images by design, so of that pair only images of different
    ids count.

    Args:
        splits: By name.
        max_distance: Bits.
        limit: At most this many images of each split, spread evenly; None takes all.

    Returns:
        ``split_a, name_a, pid_a, split_b, name_b, pid_b, distance, correlation``, most alike first.

    Source: Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010.
    """
    chosen = {name: _rows(split, limit) for name, split in splits.items()}
    prints = {name: _fingerprints(splits[name], rows) for name, rows in chosen.items()}
    names = list(splits)
    found = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            hashes_a, thumbnails_a = prints[first]
            hashes_b, thumbnails_b = prints[second]
            for a, b, distance in _close_pairs(hashes_a, hashes_b, max_distance):
                correlation = float(thumbnails_a[a] @ thumbnails_b[b])
                label_a = splits[first].frame.iloc[chosen[first][a]]
                label_b = splits[second].frame.iloc[chosen[second][b]]
                shared = {first, second} == {"query", "test"} and label_a.pid == label_b.pid
                if correlation >= _MIN_CORRELATION and not shared:
                    found.append(
                        (
                            *(first, label_a["name"], label_a.pid),
                            *(second, label_b["name"], label_b.pid),
                            *(distance, round(correlation, 4)),
                        )
                    )
    columns = [f"{what}_{side}" for side in "ab" for what in ("split", "name", "pid")]
    table = pd.DataFrame(found, columns=[*columns, "distance", "correlation"])
    return table.sort_values("correlation", ascending=False, ignore_index=True)


def _rows(split: Split, limit: int | None) -> np.ndarray:
    if limit is None or len(split) <= limit:
        return np.arange(len(split))
    return np.linspace(0, len(split) - 1, limit).astype(int)


def _fingerprints(split: Split, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(N,) uint64`` hashes and ``(N, 1024) float32`` normalised thumbnails."""

    def read(row: int) -> tuple[int, np.ndarray]:
        with open_image(split.image_path(row)) as image:
            image.draft("L", (2 * _THUMBNAIL, 2 * _THUMBNAIL))
            grey = image.convert("L")
            bits = imagehash.phash(grey).hash.ravel()
            small = np.asarray(grey.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX))
        values = small.astype(np.float32).ravel()
        values -= values.mean()
        norm = np.linalg.norm(values)
        return int.from_bytes(np.packbits(bits).tobytes(), "big"), values / max(float(norm), 1e-6)

    with ThreadPoolExecutor(num_workers_for(None)) as pool:
        results = list(pool.map(read, rows.tolist()))
    hashes = np.array([h for h, _ in results], np.uint64)
    thumbnails = np.array([t for _, t in results], np.float32).reshape(-1, _THUMBNAIL**2)
    return hashes, thumbnails


def _close_pairs(a: np.ndarray, b: np.ndarray, max_distance: int) -> list[tuple[int, int, int]]:
    pairs = []
    for start in range(0, len(a), _CHUNK):
        distances = _count_bits(a[start : start + _CHUNK, None] ^ b[None, :])
        for i, j in np.argwhere(distances <= max_distance).tolist():
            pairs.append((start + i, j, int(distances[i, j])))
    return pairs


def _count_bits(values: np.ndarray) -> np.ndarray:
    """Set bits of uint64 values, by adding neighbours; NumPy 1.26 has no popcount."""
    one, two, four = (
        np.uint64(m) for m in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F)
    )
    values = values - ((values >> np.uint64(1)) & one)
    values = (values & two) + ((values >> np.uint64(2)) & two)
    values = (values + (values >> np.uint64(4))) & four
    return ((values * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64)
