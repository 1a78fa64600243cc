"""Batches for training and evaluation, decoded and augmented in the background.

A batch is a dict of C-contiguous numpy arrays; only uint8 pixels at network size, uint8 maps at
64x64, keypoints and ids leave the host. Normalising, upsampling and joining the channels happen on
the device. What a batch holds does not depend on the number of workers.
"""

from collections.abc import Callable, Iterator

import numpy as np

from mtn_core.config import Config, DataConfig, ModelConfig
from mtn_core.data.buffers import RecycledArrays
from mtn_core.data.samplers import PKSampler
from mtn_core.data.source import Sample, Source, open_source
from mtn_core.data.split import Split, row_repeats
from mtn_core.data.transforms import (
    ENLARGED_MAP_SIZE,
    NO_AUGMENTATION,
    Augmentation,
    draw_augmentation,
    keypoint_vector,
    scratch,
    transform_heatmaps,
    transform_image,
    transform_keypoints,
    transform_segments,
    used_segments,
)
from mtn_core.data.workers import Prefetcher, num_workers_for
from mtn_core.errors import DataError, first_offenders
from mtn_core.pixel_limit import limited_pixels
from mtn_core.vehicle import (
    MAP_SIZE,
    NUM_KEYPOINTS,
    NUM_SEGMENTS,
    SEGMENT_FLIP,
    UNKNOWN,
)

Batch = dict[str, np.ndarray]
Job = tuple[int, np.ndarray]  # step and rows; -1 is padding


class _Loader:
    """What both loaders share: where samples come from and how a batch is put together."""

    def __init__(
        self,
        source: Source,
        model: ModelConfig,
        num_workers: int | None,
        batch_size: int,
    ):
        for maps in ("heatmaps", "segments"):
            if getattr(model, maps) and not getattr(source, maps):
                raise DataError(f"the network needs {maps}; open the source with {maps}=True")
        split = source.split
        self.split, self.model, self._source = split, model, source
        self.num_workers = num_workers_for(num_workers)
        self._colors = _class_index(split, "color_id", model.num_colors)
        self._types = _class_index(split, "type_id", model.num_types)
        self._pid_indices = np.full(len(split), -1, np.int32)
        self._prefetcher: Prefetcher | None = None
        size, map_shape = model.image_size, (MAP_SIZE, MAP_SIZE)
        self._specification = {
            "image": ((batch_size, size, size, 3), np.uint8),
            "keypoints": ((batch_size, 3 * NUM_KEYPOINTS), np.float32),
            "size": ((batch_size, 2), np.int32),  # width and height of the upright crop
        }
        if model.heatmaps:
            self._specification["heatmaps"] = ((batch_size, NUM_KEYPOINTS, *map_shape), np.uint8)
        if model.segments:
            self._specification["segments"] = ((batch_size, NUM_SEGMENTS, *map_shape), np.uint8)
        self._arrays = RecycledArrays(self._specification)

    def close(self) -> None:
        """End the background threads, of which none is left, and give memory back."""
        self._stop()
        self._arrays.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _stop(self) -> None:
        if self._prefetcher is not None:
            self._prefetcher.close()
            self._prefetcher = None

    def _run(self, jobs: list[Job]) -> Iterator[Batch]:
        self._stop()  # an iteration that was left half-way
        order = [row for _, rows in jobs for row in rows.tolist() if row >= 0]
        stream = self._source.samples(order)

        def fetch(job: Job) -> list[Sample | None]:
            return [next(stream) if row >= 0 else None for row in job[1].tolist()]

        self._prefetcher = Prefetcher(
            jobs,
            fetch,
            self._build,
            num_workers=self.num_workers,
            depth=self.num_workers + 2,
            finish=stream.close,  # a pack's stream holds files and threads of MindSpore's
        )
        return iter(self._prefetcher)

    def _build(self, job: Job, samples: list[Sample | None]) -> Batch:
        step, rows = job
        batch: Batch = self._arrays.take()
        for name, values in (
            ("pid_index", self._pid_indices),
            ("color_index", self._colors),
            ("type_index", self._types),
        ):
            batch[name] = np.where(rows >= 0, values[rows], -1).astype(np.int32)
        batch["index"] = rows.astype(np.int32)
        for position, sample in enumerate(samples):
            if sample is None:
                for name in self._specification:
                    batch[name][position] = 0
            else:
                keypoints = self.split.keypoints[rows[position]]
                augmentation = self.augmentation(step, position)
                self._put_sample(batch, position, sample, keypoints, augmentation)
        return batch

    def _put_sample(
        self,
        batch: Batch,
        position: int,
        sample: Sample,
        keypoints: np.ndarray,
        augmentation: Augmentation,
    ) -> None:
        image = sample.image()
        height, width = image.shape[:2]
        batch["size"][position] = width, height
        transform_image(image, self.model.image_size, augmentation, out=batch["image"][position])
        batch["keypoints"][position] = keypoint_vector(
            transform_keypoints(keypoints, width, height, augmentation)
        )
        for name, read, transform in (
            ("heatmaps", sample.heatmaps, transform_heatmaps),
            ("segments", sample.segments, transform_segments),
        ):
            if name in batch:
                out = batch[name][position]
                transform(_read_maps(read, augmentation, out), augmentation, out=out)
        if self.model.segments:
            used = used_segments(keypoints)
            out[~(used[SEGMENT_FLIP] if augmentation.flip else used)] = 0

    def augmentation(self, step: int, position: int) -> Augmentation:
        """What happens to the sample at this place of the epoch."""
        return NO_AUGMENTATION


class TrainLoader(_Loader):
    """Augmented P x K batches of the training split.

    Everything random about a sample follows from (seed, epoch, step, position), so batches are the
    same for any number of workers, and an epoch that is taken up again at a step goes on bit for
    bit as it would have.

    Args:
        source: The training split, opened; several roots are joined by :meth:`Split.join`.
        config: ``ids_per_batch``, ``images_per_id``, ``flip``, ``translation``, ``color_jitter``,
            ``erasing``, ``weights``, ``num_workers``.
        model: ``image_size``, ``heatmaps``, ``segments``, ``num_colors``, ``num_types``.
        seed: Of batches and augmentation.
        rank: This rank.
        rank_size: Number of ranks; each gets whole P x K batches with ids of its own.
        num_workers: Overrides the configuration; None follows the machine.

    Attributes:
        pid_index: ``{pid: class index}``, in the order of sorted pids.

    Raises:
        DataError: Files that the run needs are missing, a class id is beyond the model's, or there
            are fewer ids than a batch needs.
    """

    def __init__(
        self,
        source: Source,
        *,
        config: DataConfig,
        model: ModelConfig,
        seed: int,
        rank: int = 0,
        rank_size: int = 1,
        num_workers: int | None = None,
    ):
        super().__init__(source, model, num_workers or config.num_workers, config.batch_size)
        self.config = config
        pids = self.split.frame["pid"].to_numpy()
        self.pid_index = {int(pid): index for index, pid in enumerate(np.unique(pids))}
        self._pid_indices = np.searchsorted(np.unique(pids), pids).astype(np.int32)
        self.seed, self.rank = seed, rank
        self.sampler = PKSampler(
            pids,
            config.ids_per_batch,
            config.images_per_id,
            seed=seed,
            rank=rank,
            rank_size=rank_size,
            repeats=row_repeats(self.split, config.weights),
        )
        self._epoch = self._start_step = 0

    def __len__(self) -> int:
        """Steps in a whole epoch."""
        return len(self.sampler)

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose what the next iteration yields: the steps of ``epoch`` from ``start_step`` on."""
        if not 0 <= start_step <= len(self):
            raise DataError(f"`start_step` must be 0..{len(self)}; got {start_step}")
        self._epoch, self._start_step = epoch, start_step

    def __iter__(self) -> Iterator[Batch]:
        """Yield the epoch's batches."""
        jobs = list(enumerate(self.sampler.batches(self._epoch)))[self._start_step :]
        return self._run(jobs)

    def augmentation(self, step: int, position: int) -> Augmentation:
        """What happens to the sample at this place of the chosen epoch."""
        position += self.rank * self.config.ids_per_batch * self.config.images_per_id
        rng = np.random.default_rng([self.seed, self._epoch, step, position])
        return draw_augmentation(rng, self.config)


class EvalLoader(_Loader):
    """Batches of a split in order, without augmentation, all of the same shape.

    The last batch is filled up with empty rows of ``index`` -1. With several ranks each takes every
    ``rank_size``-th batch, and all have the same number of them.

    Args:
        source: Any split, opened.
        model: ``image_size``, ``heatmaps``, ``segments``, ``num_colors``, ``num_types``.
        batch_size: Rows a batch.
        rank: This rank.
        rank_size: Number of ranks.
        num_workers: Threads; None follows the machine.
        pid_index: The training loader's map where ``pid_index`` is wanted in the batches.

    Raises:
        DataError: Files that the run needs are missing, or a class id is beyond the model's.
    """

    def __init__(
        self,
        source: Source,
        *,
        model: ModelConfig,
        batch_size: int,
        rank: int = 0,
        rank_size: int = 1,
        num_workers: int | None = None,
        pid_index: dict[int, int] | None = None,
    ):
        if batch_size < 1:
            raise DataError(f"`batch_size` must be 1 or more; got {batch_size}")
        super().__init__(source, model, num_workers, batch_size)
        split = source.split
        if pid_index is not None:
            pids = split.frame["pid"].tolist()
            self._pid_indices = np.array([pid_index.get(p, -1) for p in pids], np.int32)
        num_batches = -(-len(split) // (batch_size * rank_size))
        rows = np.full(num_batches * rank_size * batch_size, -1, np.int64)
        rows[: len(split)] = np.arange(len(split))
        self._batches = list(rows.reshape(-1, batch_size)[rank::rank_size])

    def __len__(self) -> int:
        """Batches of this rank."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches; the same ones every time."""
        return self._run(list(enumerate(self._batches)))


def _read_maps(
    read: Callable[..., np.ndarray], augmentation: Augmentation, out: np.ndarray
) -> np.ndarray:
    """Read maps into their place in the batch, or aside where they are still to be moved."""
    if not augmentation.moves:
        return read(out)
    enlarged = augmentation.shift is not None
    size = ENLARGED_MAP_SIZE if enlarged else MAP_SIZE
    return read(scratch("read maps", (len(out), size, size)), enlarged=enlarged)


def preview_batch(split: Split, config: Config) -> tuple[Batch, list[int]]:
    """The first training batch, with every map that the data has, for a look at it.

    P and K are lowered where the split has fewer ids.

    Args:
        split: The training split.
        config: ``data``, ``model`` and ``train.seed`` are read.

    Returns:
        The batch, and the pid of each class index.
    """
    model = config.model.model_copy(
        update={
            "heatmaps": all(part.folder("heatmap").is_dir() for part in split.parts),
            "segments": all(part.folder("segment").is_dir() for part in split.parts),
        }
    )
    ids = min(config.data.ids_per_batch, split.frame["pid"].nunique())
    data = config.data.model_copy(update={"ids_per_batch": ids, "weights": None})
    source = open_source(split, heatmaps=model.heatmaps, segments=model.segments)
    with (
        limited_pixels(data.max_pixels),
        TrainLoader(source, config=data, model=model, seed=config.train.seed) as loader,
    ):
        return next(iter(loader)), list(loader.pid_index)


def _class_index(split: Split, column: str, num_classes: int) -> np.ndarray:
    """Class ids from 1 to indices from 0; unknown is -1."""
    ids = split.frame[column].to_numpy()
    beyond = ids > num_classes
    if beyond.any():
        names = split.frame.loc[beyond, "name"].tolist()
        raise DataError(
            f"{column} above {num_classes}, the model's number of classes: "
            f"{first_offenders(names)}; correct the labels or set model.num_{column[:-3]}s"
        )
    return np.where(ids == UNKNOWN, -1, ids - 1).astype(np.int32)
