"""Batches of crops and keypoint targets, decoded and augmented in the background."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mtn_core.data.workers import Prefetcher, num_workers_for
from mtn_core.errors import ConfigError, DataError
from mtn_core.pose.config import PoseConfig
from mtn_core.pose.sources import PoseSet
from mtn_core.pose.transforms import (
    draw_pose_augmentation,
    make_targets,
    transform_crop,
    transform_points,
)
from mtn_core.vehicle import NUM_KEYPOINTS

Batch = dict[str, np.ndarray]


class PoseTrainLoader:
    """Augmented batches of one or several sets, mixed by weight.

    An epoch has as many samples as the sets have images. Everything random about a sample follows
    from (seed, epoch, step, position), whatever the number of workers.

    Args:
        sets: Where the images come from.
        config: Sections ``data``, ``model`` and ``loss`` are read.
        rank: This rank.
        rank_size: Number of ranks; each gets batches of its own.

    Raises:
        ConfigError: ``data.weights`` does not fit the sets.
        DataError: There are fewer images than a batch of every rank needs.
    """

    def __init__(
        self, sets: Sequence[PoseSet], config: PoseConfig, rank: int = 0, rank_size: int = 1
    ):
        self.sets = list(sets)
        self.config = config
        self.seed = config.train.seed
        self.rank, self.rank_size = rank, rank_size
        self.num_workers = num_workers_for(config.data.num_workers)
        sizes = [len(s) for s in self.sets]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        weights = config.data.weights
        if weights is not None and len(weights) != len(sizes):
            raise ConfigError(
                f"data.weights has {len(weights)} values for {len(sizes)} data sets; "
                "give one for each"
            )
        total = sum(sizes)
        self._counts = np.array(sizes) if weights is None else _shares(weights, total)
        self._steps = total // (config.data.batch_size * rank_size)
        if not self._steps:
            raise DataError(
                f"{total} images are fewer than a batch: data.batch_size {config.data.batch_size} "
                f"on {rank_size} ranks"
            )
        self._epoch = self._start_step = 0
        self._prefetcher: Prefetcher | None = None

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return self._steps

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose what the next iteration yields: the steps of ``epoch`` from ``start_step`` on."""
        if not 0 <= start_step <= len(self):
            raise DataError(f"`start_step` must be 0..{len(self)}; got {start_step}")
        self._epoch, self._start_step = epoch, start_step

    def rows(self, epoch: int) -> np.ndarray:
        """``(steps, batch_size) int64``: this rank's images, counted through over all sets."""
        rng = np.random.default_rng([self.seed, epoch])
        chosen = []
        for start, stop, count in zip(
            self._starts[:-1], self._starts[1:], self._counts, strict=True
        ):
            # Every image once before any is repeated.
            rounds = -(-count // (stop - start))
            drawn = [rng.permutation(np.arange(start, stop)) for _ in range(rounds)]
            chosen.append(np.concatenate(drawn)[:count] if rounds else np.empty(0, np.int64))
        order = rng.permutation(np.concatenate(chosen))
        batch_size = self.config.data.batch_size
        used = order[: self._steps * self.rank_size * batch_size]
        return used.reshape(self._steps, self.rank_size, batch_size)[:, self.rank]

    def name_of(self, row: int) -> str:
        """Path of an image counted through over all sets, for messages."""
        part, position = self._locate(row)
        return str(self.sets[part].paths[position])

    def __iter__(self) -> Iterator[Batch]:
        """Yield ``image (N, S, S, 3) uint8``, ``target (N, 36, 4) float32``, ``index (N,)``."""
        self.close()
        jobs = [(s, r) for s, r in enumerate(self.rows(self._epoch)) if s >= self._start_step]
        self._prefetcher = _prefetch(jobs, self._load, self.num_workers)
        return iter(self._prefetcher)

    def close(self) -> None:
        """End the background threads."""
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None

    def _locate(self, row: int) -> tuple[int, int]:
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return part, int(row - self._starts[part])

    def _load(self, job: tuple[int, np.ndarray]) -> Batch:
        step, rows = job
        model = self.config.model
        size, count = model.image_size, len(rows)
        image = np.empty((count, size, size, 3), np.uint8)
        points = np.empty((count, NUM_KEYPOINTS, 3), np.float32)
        for position, row in enumerate(rows.tolist()):
            seed = [self.seed, self._epoch, step, self.rank * count + position]
            augmentation = draw_pose_augmentation(np.random.default_rng(seed), self.config.data)
            part, index = self._locate(row)
            pixels = self.sets[part].read(index)
            height, width = pixels.shape[:2]
            image[position] = transform_crop(pixels, size, augmentation)
            keypoints = self.sets[part].keypoints[index]
            points[position] = transform_points(keypoints, width, height, augmentation)
        target = make_targets(points, self.config.loss, model.heatmap_size)
        return {"image": image, "target": target, "index": rows.astype(np.int32)}


class CropLoader:
    """Crops in order at network size, without augmentation, in batches of one shape.

    Args:
        pose_set: The images; their keypoints are not read.
        image_size: Side S of the network's input.
        batch_size: Rows a batch; the last one is filled up with rows of ``index`` -1.
        rows: The images wanted; all by default.
        num_workers: Threads; None follows the machine.
    """

    def __init__(
        self,
        pose_set: PoseSet,
        image_size: int,
        batch_size: int,
        rows: Sequence[int] | np.ndarray | None = None,
        num_workers: int | None = None,
    ):
        self.pose_set = pose_set
        self.image_size = image_size
        self.num_workers = num_workers_for(num_workers)
        wanted = np.arange(len(pose_set)) if rows is None else np.asarray(rows, np.int64)
        num_batches = -(-len(wanted) // batch_size)
        padded = np.full(num_batches * batch_size, -1, np.int64)
        padded[: len(wanted)] = wanted
        self._batches = padded.reshape(num_batches, batch_size)
        self._prefetcher: Prefetcher | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """Yield ``image (N, S, S, 3) uint8``, ``size (N, 2) int32``, ``index (N,) int32``."""
        self.close()
        self._prefetcher = _prefetch(list(self._batches), self._load, self.num_workers)
        return iter(self._prefetcher)

    def close(self) -> None:
        """End the background threads."""
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None

    def _load(self, rows: np.ndarray) -> Batch:
        image = np.zeros((len(rows), self.image_size, self.image_size, 3), np.uint8)
        size = np.ones((len(rows), 2), np.int32)
        for position, row in enumerate(rows.tolist()):
            if row >= 0:
                pixels = self.pose_set.read(row)
                size[position] = pixels.shape[1::-1]
                image[position] = transform_crop(pixels, self.image_size)
        return {"image": image, "size": size, "index": rows.astype(np.int32)}


def _prefetch(jobs: Sequence[Any], load: Callable[[Any], Batch], num_workers: int) -> Prefetcher:
    """Loads batches ahead; the threads that decode also read, for crops are small files."""
    return Prefetcher(
        jobs,
        lambda job: None,
        lambda job, _: load(job),
        num_workers=num_workers,
        depth=num_workers + 2,
    )


def _shares(weights: Sequence[float], total: int) -> np.ndarray:
    """Whole numbers in proportion to the weights that sum to ``total`` (largest remainder)."""
    exact = np.array(weights, np.float64) / sum(weights) * total
    counts = np.floor(exact).astype(np.int64)
    rest = total - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    return counts
