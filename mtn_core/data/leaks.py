"""What training and test data have in common, although nothing should be: vehicles and images."""

from collections.abc import Iterator, Sequence

import pandas as pd

from mtn_core.data.split import Split


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
