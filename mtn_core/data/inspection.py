"""Tables that a researcher looks at before training; :mod:`mtn_core.viz.data` draws them."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from mtn_core.data.images import open_image
from mtn_core.data.layout import SPLITS, present_splits
from mtn_core.data.split import Split, load_split
from mtn_core.data.workers import num_workers_for
from mtn_core.vehicle import color_name, type_name
from mtn_core.viewpoint import estimate_azimuths, viewpoint_names


def load_splits(root, names: Iterable[str] | None = None) -> dict[str, Split]:
    """The splits of a data set by name; see :func:`mtn_core.data.split.load_split`.

    Args:
        root: The folder that holds ``veri/``.
        names: By default those that are there; all three are demanded where none is.
    """
    wanted = (present_splits(root) or SPLITS) if names is None else names
    return {name: load_split(root, name) for name in wanted}


def summarise(splits: Mapping[str, Split]) -> pd.DataFrame:
    """A row per split: images, vehicles, cameras, the smallest and largest count per vehicle."""
    rows = {}
    for name, split in splits.items():
        frame = split.frame
        by_id = frame.groupby("pid")
        rows[name] = {
            "images": len(frame),
            "vehicles": frame["pid"].nunique(),
            "cameras": frame.loc[frame["camid"] > 0, "camid"].nunique(),
            "images per vehicle": _range(by_id.size()),
            "cameras per vehicle": _range(by_id["camid"].nunique()),
            "camera unknown": int((frame["camid"] == 0).sum()),
            "colour unknown": int((frame["color_id"] < 0).sum()),
            "type unknown": int((frame["type_id"] < 0).sum()),
            "without keypoints": int((~(split.keypoints[..., 2] > 0).any(axis=1)).sum()),
        }
    return pd.DataFrame(rows).T.rename_axis("split")


def _range(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"


def describe_images(splits: Mapping[str, Split]) -> pd.DataFrame:
    """One row an image of every split.

    Columns: ``split, row, name, pid, camid, color, type, width, height, confidence`` (mean over the
    36 keypoints), ``visible`` (keypoints at 0.5 or more), ``azimuth`` (degrees), ``viewpoint``.
    """
    frames = []
    for name, split in splits.items():
        sizes = read_sizes(split)
        confidence = split.keypoints[..., 2].clip(0, 1)
        azimuth = estimate_azimuths(split.keypoints)
        frames.append(
            pd.DataFrame(
                {
                    "split": name,
                    "row": np.arange(len(split)),
                    "name": split.frame["name"],
                    "pid": split.frame["pid"],
                    "camid": split.frame["camid"],
                    "color": split.frame["color_id"].map(color_name),
                    "type": split.frame["type_id"].map(type_name),
                    "width": sizes[:, 0],
                    "height": sizes[:, 1],
                    "confidence": confidence.mean(axis=1),
                    "visible": (confidence >= 0.5).sum(axis=1),
                    "azimuth": azimuth,
                    "viewpoint": viewpoint_names(azimuth),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def read_sizes(split: Split) -> np.ndarray:
    """``(N, 2) int64`` width and height of the crops, from their headers, upright."""

    def size_of(row: int) -> tuple[int, int]:
        with open_image(split.image_path(row)) as image:
            width, height = image.size
            # EXIF orientations 5 to 8 lie on their side; decoding turns them upright.
            return (height, width) if image.getexif().get(0x0112, 1) >= 5 else (width, height)

    with ThreadPoolExecutor(num_workers_for(None)) as pool:
        return np.array(list(pool.map(size_of, range(len(split)))), np.int64).reshape(-1, 2)


def coverage(frame: pd.DataFrame) -> pd.DataFrame:
    """Images of every id (rows) in every camera (columns)."""
    return pd.crosstab(frame["pid"], frame["camid"])


def label_errors(images: pd.DataFrame, limit: int = 20) -> pd.DataFrame:
    """Labels that contradict each other: an id with two colours or types.

    Args:
        images: From :func:`describe_images`.
        limit: Most rows to return.

    Returns:
        ``split, pid, what, values, images``.
    """
    rows = []
    for what in ("color", "type"):
        known = images[images[what] != "unknown"]
        for (split, pid), group in known.groupby(["split", "pid"]):
            counts = group[what].value_counts()
            if len(counts) > 1:
                values = ", ".join(f"{value} {count}" for value, count in counts.items())
                rows.append((split, pid, what, values, len(group)))
    columns = ["split", "pid", "what", "values", "images"]
    return pd.DataFrame(rows, columns=columns).head(limit)
