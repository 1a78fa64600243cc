"""Identity-balanced batches: P vehicles, K images of each."""

from collections.abc import Sequence

import numpy as np

from mtn_core.errors import ConfigError, DataError


class PKSampler:
    """Draws batches of exactly P ids x K images, anew every epoch; usable as a batch sampler.

    An id with n images is cut into ceil(n / K) groups of K, in random order; the last group is
    filled up with other images of the id (with repetitions only where it has fewer than K). Every
    group enters some step of the epoch, so every image is seen in every epoch. An id stands in a
    step once. The step count is the same in every epoch.

    With several ranks a step is P x ranks ids drawn once for all of them, of which each rank takes
    its P: whole groups, and no id twice in a step.

    Args:
        pids: ``(N,)`` identity of every row.
        ids_per_batch: P, for one rank.
        images_per_id: K.
        seed: Of the drawing; ranks must agree on it.
        rank: This rank.
        rank_size: Number of ranks.
        repeats: ``(N,)`` how often a row's id is to come in an epoch, relative to once (below one:
            a random share of its groups); must be equal within an id. By default 1.

    Raises:
        DataError: Fewer ids than P x ranks.
        ConfigError: P, K, rank or repeats out of range.
    """

    def __init__(
        self,
        pids: np.ndarray,
        ids_per_batch: int,
        images_per_id: int,
        *,
        seed: int,
        rank: int = 0,
        rank_size: int = 1,
        repeats: np.ndarray | None = None,
    ):
        if ids_per_batch < 1 or images_per_id < 1:
            raise ConfigError(
                f"ids_per_batch and images_per_id must be 1 or more; "
                f"got {ids_per_batch} and {images_per_id}"
            )
        if not 0 <= rank < rank_size:
            raise ConfigError(f"rank must be 0..{rank_size - 1}; got {rank}")
        ids, first, labels = np.unique(np.asarray(pids), return_index=True, return_inverse=True)
        repeats = np.ones(len(labels)) if repeats is None else np.asarray(repeats, np.float64)
        if repeats.shape != labels.shape or not (np.isfinite(repeats) & (repeats >= 0)).all():
            raise ConfigError("repeats must be finite, 0 or more, one a row")
        shares = repeats[first]
        self._ids_per_step = ids_per_batch * rank_size
        usable = int((shares > 0).sum())
        if usable < self._ids_per_step:
            ranks = f" on each of {rank_size} ranks" if rank_size > 1 else ""
            raise DataError(
                f"a batch needs {ids_per_batch} ids{ranks}, but the training split has {usable}; "
                f"set data.ids_per_batch to {max(usable // rank_size, 1)} or less"
            )
        self.ids_per_batch, self.images_per_id = ids_per_batch, images_per_id
        self.seed, self.rank, self.rank_size = seed, rank, rank_size
        by_id = np.argsort(labels, kind="stable")
        self._rows = np.split(by_id, np.cumsum(np.bincount(labels, minlength=len(ids)))[:-1])
        natural = np.array([-(-len(rows) // images_per_id) for rows in self._rows])
        self._groups = natural * shares  # fractions are rounded at random, epoch by epoch
        # Rounding up, so that an id that comes up more often in one epoch still fits.
        most = np.ceil(self._groups).astype(np.int64)
        total = int(np.ceil(round(float(self._groups.sum()), 6)))
        self._num_steps = int(max(-(-total // self._ids_per_step), most.max()))

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self._num_steps

    def batches(self, epoch: int) -> list[np.ndarray]:
        """This rank's batches of an epoch.

        Returns:
            A list of ``(P * K,) int64`` row indices; the K rows of an id stand together.
        """
        rng = np.random.default_rng([self.seed, epoch])
        counts = self._draw_counts(rng)
        queues = [
            self._draw_groups(rows, int(count), rng) if count else []
            for rows, count in zip(self._rows, counts, strict=True)
        ]
        steps = self._draw_steps(counts, rng)
        mine = slice(self.rank * self.ids_per_batch, (self.rank + 1) * self.ids_per_batch)
        batches = []
        for ids in steps:
            groups = [
                queues[i].pop() if queues[i] else self._draw_groups(self._rows[i], 1, rng)[0]
                for i in ids
            ]
            batches.append(np.concatenate(groups[mine]))
        return batches

    def _draw_counts(self, rng: np.random.Generator) -> np.ndarray:
        """Groups of every id in this epoch: whole numbers with the wanted total."""
        counts = np.floor(self._groups + 1e-9).astype(np.int64)
        rest = self._groups - counts
        missing = round(float(rest.sum()))
        if missing > 0:
            chosen = rng.choice(len(rest), missing, replace=False, p=rest / rest.sum())
            counts[chosen] += 1
        return counts

    def _draw_groups(
        self, rows: np.ndarray, count: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """``count`` groups of K rows; rows are used up before any comes again."""
        size = self.images_per_id
        if len(rows) < size:
            rounds = -(-size // len(rows))
            return [
                np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:size]
                for _ in range(count)
            ]
        groups: list[np.ndarray] = []
        while len(groups) < count:
            order = rng.permutation(rows)
            spare = -len(order) % size
            if spare:
                used_last = order[len(order) - len(order) % size :]
                others = np.setdiff1d(rows, used_last, assume_unique=True)
                order = np.concatenate([order, rng.choice(others, spare, replace=False)])
            groups += list(order.reshape(-1, size))
        return groups[:count]

    def _draw_steps(self, counts: np.ndarray, rng: np.random.Generator) -> Sequence[np.ndarray]:
        """Distinct ids for every step, in random order, so that every group finds a step.

        An id with as many groups left as there are steps left must be taken now; of the others,
        those with more left are likelier. This never paints itself into a corner: it keeps
        (groups of an id) <= (steps left) and (all groups) <= (steps left) x (ids a step).
        """
        left = counts.copy()
        steps = []
        for remaining in range(self._num_steps, 0, -1):
            # Sorting by u ** (1 / weight) draws without replacement, with these weights
            # (Efraimidis and Spirakis, 2006).
            with np.errstate(divide="ignore"):
                keys = np.log(rng.random(len(left))) / left
            keys[left == 0] = -np.inf
            keys[left >= remaining] = np.inf
            available = int((left > 0).sum())
            take = min(self._ids_per_step, available)
            ids = np.argpartition(-keys, take - 1)[:take] if take else np.empty(0, np.int64)
            left[ids] -= 1
            if take < self._ids_per_step:  # near the end of an epoch some ids come once more
                others = np.setdiff1d(np.flatnonzero(self._groups > 0), ids)
                more = rng.choice(others, self._ids_per_step - take, replace=False)
                ids = np.concatenate([ids, more])
            steps.append(rng.permutation(ids))
        # The forced choices gather at the end; a random order of steps spreads them.
        return [steps[i] for i in rng.permutation(len(steps))]
