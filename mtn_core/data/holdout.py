"""A validation split by vehicles: some training vehicles are held out, as queries and gallery."""

from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.data.split import Split
from mtn_core.errors import ConfigError, DataError, first_offenders


def hold_out(split: Split, val_ids: float | str, seed: int) -> tuple[Split, Split, Split]:
    """Take vehicles out of the training split, to choose on instead of on the test.

    Vehicles that a second camera has seen are held out. As in VeRi each has one query a camera, and
    the queries stand in the gallery, too. Where cameras are unknown, each vehicle of two images or
    more has one query.

    Args:
        split: Training split of a root, or of several joined.
        val_ids: Share of the vehicles, or a text file with a vehicle id in each line.
        seed: Of the share's choice; the same seed holds the same vehicles out.

    Returns:
        What is left to train on, the queries, and the gallery.

    Raises:
        ConfigError: A share that leaves nothing on one of the sides, or ids that the file has and
            the labels have not.
        DataError: Too few vehicles have a second view.
    """
    frame = split.frame
    queries = _queries(frame)
    candidates = np.unique(frame["pid"].to_numpy()[queries])
    chosen = (
        _drawn(frame, candidates, val_ids, seed)
        if isinstance(val_ids, float)
        else _listed(split, candidates, Path(val_ids))
    )
    held = frame["pid"].isin(chosen).to_numpy()
    if held.all():
        raise ConfigError(f"data.val_ids={val_ids} holds every vehicle out; none is left to train")
    is_query = np.zeros(len(frame), bool)
    is_query[queries] = True
    return split.take(~held), split.take(held & is_query), split.take(held)


def _queries(frame: pd.DataFrame) -> np.ndarray:
    """Rows that are the first of their vehicle and camera, where another view of it is there."""
    pids, cameras = frame["pid"], frame["camid"]
    by_id = frame.groupby("pid")
    first = ~frame.duplicated(["pid", "camid"])
    elsewhere = (by_id["camid"].transform("nunique") > 1) & (cameras > 0)
    alone = (cameras == 0) & (by_id["name"].transform("size") > 1)
    return np.flatnonzero((first & (elsewhere | alone)).to_numpy() & (pids >= 0).to_numpy())


def _drawn(frame: pd.DataFrame, candidates: np.ndarray, share: float, seed: int) -> np.ndarray:
    count = max(1, round(share * frame["pid"].nunique()))
    if count > len(candidates):
        raise DataError(
            f"data.val_ids={share} asks for {count} vehicles with a second view to hold out, the "
            f"training split has {len(candidates)}; lower it"
        )
    return np.random.default_rng(seed).permutation(candidates)[:count]


def _listed(split: Split, candidates: np.ndarray, path: Path) -> np.ndarray:
    if len(split.parts) > 1:
        raise ConfigError(
            "data.val_ids as a file goes with one --root: ids of several would be mixed up"
        )
    if not path.is_file():
        raise ConfigError(
            f"data.val_ids must be a share such as 0.15, or a file with a vehicle id in each line; "
            f"{path} is no file"
        )
    try:
        words = path.read_text("utf-8-sig").split()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error.reason})") from error
    wrong = [word for word in words if not (word.isascii() and word.isdigit() and len(word) < 19)]
    if wrong or not words:
        raise ConfigError(
            f"{path} must have a vehicle id in each line; "
            f"{f'got {first_offenders(wrong)}' if wrong else 'it is empty'}"
        )
    ids = np.unique(np.array(words, np.int64))
    absent = sorted(set(ids.tolist()) - set(split.frame["pid"].tolist()))
    if absent:
        raise ConfigError(
            f"{path} names vehicles that are not in {split.root}: {first_offenders(absent)}"
        )
    if not np.isin(ids, candidates).any():
        raise DataError(f"no vehicle of {path} has a second view, so none can be a query")
    return ids
