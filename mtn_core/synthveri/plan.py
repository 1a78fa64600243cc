"""Who passes which camera when: sizes, ids, splits, tracks and file names."""

from dataclasses import dataclass

import numpy as np

from mtn_core.errors import ConfigError
from mtn_core.synthveri.cameras import NUM_CAMERAS

MIN_CAMERAS, MAX_CAMERAS = 2, 18
_EXCHANGES = 4000


@dataclass(frozen=True)
class Size:
    """Numbers of a data set.

    Attributes:
        train_ids: Identities for training.
        test_ids: Identities for query and gallery.
        cameras: Mean number of cameras an identity passes.
        frames: Fewest and most images in a track.
    """

    train_ids: int
    test_ids: int
    cameras: float
    frames: tuple[int, int]


SIZES = {
    "smoke": Size(24, 12, 4.5, (1, 3)),
    "demo": Size(100, 40, 4.6, (1, 4)),
    "bench": Size(576, 200, 6.5, (1, 4)),
}


@dataclass(frozen=True)
class Shot:
    """One image to take.

    Attributes:
        pid: Who.
        camid: Which camera, 1..20.
        frame: Time stamp in the file name.
        track: Number of the pass, for what stays the same within it.
        step: Position within the track, metres from the frame's middle.
        split: ``train`` or ``test``.
        query: Whether the image is a query as well.
    """

    pid: int
    camid: int
    frame: int
    track: int
    step: float
    split: str
    query: bool

    @property
    def name(self) -> str:
        """File name as in VeRi."""
        return f"{self.pid:04d}_c{self.camid:03d}_{self.frame:08d}_0.jpg"


def get_size(size: str) -> Size:
    """Look a size up.

    Raises:
        ConfigError: There is no such size.
    """
    if size not in SIZES:
        raise ConfigError(f"unknown size {size!r}; choose one of {', '.join(SIZES)}")
    return SIZES[size]


def choose_test_ids(size: Size, seed: int, attributes: np.ndarray | None = None) -> set[int]:
    """Draw the test ids; spread over the range, as in VeRi, so that a number tells nothing.

    Args:
        size: How many.
        seed: Of the drawing.
        attributes: ``(number of ids, 2)`` integers, colour and type. Vehicles are exchanged between
            training and test until both have similar shares, and each colour several types and
            each type several colours on both sides, as far as there are any: in a small set,
            chance would test what was never trained.

    Returns:
        Ids from 1.
    """
    rng = np.random.default_rng([seed, 0x9A7])
    total = size.train_ids + size.test_ids
    in_test = np.zeros(total, bool)
    in_test[rng.permutation(total)[: size.test_ids]] = True
    if attributes is None:
        return set((1 + np.flatnonzero(in_test)).tolist())
    colours, types = attributes.T
    shape = (int(colours.max()) + 1, int(types.max()) + 1)
    every = np.zeros(shape, int)
    np.add.at(every, (colours, types), 1)

    def difference(test: np.ndarray) -> float:
        cost = 0.0
        for axis in (0, 1):
            wanted = every.sum(axis) * size.test_ids / total
            cost += float(((test.sum(axis) - wanted) ** 2).sum())
            enough = np.minimum(2, (every > 0).sum(axis))
            for side in (test, every - test):
                cost += 10.0 * float(np.maximum(enough - (side > 0).sum(axis), 0).sum())
        return cost

    test = np.zeros(shape, int)
    np.add.at(test, (colours[in_test], types[in_test]), 1)
    best = difference(test)
    for _ in range(_EXCHANGES):
        out = rng.choice(np.flatnonzero(in_test))
        into = rng.choice(np.flatnonzero(~in_test))
        changed = test.copy()
        changed[colours[out], types[out]] -= 1
        changed[colours[into], types[into]] += 1
        cost = difference(changed)
        if cost <= best:
            best, test = cost, changed
            in_test[out], in_test[into] = False, True
    return set((1 + np.flatnonzero(in_test)).tolist())


def create_shots(size: Size, seed: int, attributes: np.ndarray | None = None) -> list[Shot]:
    """All images of a data set, by id, camera and time; ``attributes`` see `choose_test_ids`."""
    total = size.train_ids + size.test_ids
    test = choose_test_ids(size, seed, attributes)
    shots = []
    for pid in range(1, total + 1):
        own = np.random.default_rng([seed, 0x7AC, pid])
        spread = 2.5 * own.standard_normal() + size.cameras
        passed = int(np.clip(round(spread), MIN_CAMERAS, MAX_CAMERAS))
        chosen = np.sort(1 + own.permutation(NUM_CAMERAS)[:passed])
        clock = int(own.integers(200, 40_000))
        for track, camid in enumerate(chosen.tolist()):
            clock += int(own.integers(50, 4_000))
            count = int(own.integers(size.frames[0], size.frames[1] + 1))
            pace = own.uniform(1.2, 3.0)
            start = own.uniform(-3.0, 3.0) - 0.5 * pace * (count - 1)
            query = int(own.integers(count))
            for number in range(count):
                shots.append(
                    Shot(
                        pid=pid,
                        camid=camid,
                        frame=clock + 5 * number,
                        track=track,
                        step=start + pace * number,
                        split="test" if pid in test else "train",
                        query=pid in test and number == query,
                    )
                )
    return shots
