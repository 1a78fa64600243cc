"""What training and test data have in common, although nothing should be: vehicles and images."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from mtn_core.data.layout import SPLITS
from mtn_core.data.split import Split, load_split
from mtn_core.errors import DataError, first_offenders

logger = logging.getLogger(__name__)


def warn_of_leaks(root: str | Path, *loaded: Split) -> None:
    """Say that vehicles of a root's test are also trained on.

    Args:
        root: The folder that holds ``veri/``.
        loaded: Its splits that are loaded already. The others are, where they can be: neither a
            training needs those of the test, nor an evaluation that of the training.
    """
    found = {split.name: split for split in loaded}
    for name in set(SPLITS) - set(found):
        with contextlib.suppress(DataError):
            found[name] = load_split(root, name)
    train = found.pop("train", None)
    if train is None:
        return
    tested = list(found.values())
    ids, images = find_shared_ids(train, tested), find_shared_images(train, tested)
    if ids or images:
        logger.warning(
            "%d vehicles and %d images of the test in %s are also in its training split: %s; a "
            "network trained on them is tested on what it knows, and its results are too good",
            len(ids),
            len(images),
            root,
            first_offenders(ids or images),
        )


def find_shared_ids(train: Split, others: Sequence[Split]) -> list[int]:
    """Vehicle ids that are trained on and tested with, as the label files have them.

    Splits of different roots share none: there the same number is another vehicle.

    Args:
        train: The training split, or some of its rows, or several joined.
        others: Queries, gallery, or both.

    Returns:
        Sorted ids; results on the others would be too good.
    """
    return sorted(_shared(train, others, "pid"))


def find_shared_images(train: Split, others: Sequence[Split]) -> list[str]:
    """Names of images of the same root that stand in the training split and in others, sorted."""
    return sorted(_shared(train, others, "name"))


def _shared(train: Split, others: Sequence[Split], column: str) -> set:
    trained = dict(_by_root(train, column))
    return {
        value
        for other in others
        for root, values in _by_root(other, column)
        for value in values & trained.get(root, set())
    }


def _by_root(split: Split, column: str) -> Iterator[tuple[str, set]]:
    """A column's values in the rows that are there, part by part; ids as in the file."""
    for number, part in enumerate(split.parts):
        rows = split.part_index[split.part_index[:, 0] == number, 1]
        values: pd.Series = part.frame[column].iloc[rows]
        yield str(part.root.resolve()), set(values.tolist())
