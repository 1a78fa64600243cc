"""Where things lie in the VeRi layout."""

from pathlib import Path
from typing import Literal

SPLITS = ("train", "query", "test")
GALLERY = "test"  # the layout's name of the gallery
Kind = Literal["image", "heatmap", "segment"]
MapKind = Literal["heatmap", "segment"]
MAP_KINDS: tuple[MapKind, MapKind] = ("heatmap", "segment")
# What is taken for an image in a folder of crops, in lower case.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def split_folder(root: str | Path, kind: Kind, split: str) -> Path:
    """``ROOT/veri/image_train`` and the like."""
    return Path(root) / "veri" / f"{kind}_{split}"


def label_path(root: str | Path, split: str) -> Path:
    """``ROOT/veri/label_train.csv`` and the like."""
    return Path(root) / "veri" / f"label_{split}.csv"


def present_splits(root: str | Path) -> list[str]:
    """The splits that a root has something of, in their order; a set may be for one use alone."""
    return [
        split
        for split in SPLITS
        if label_path(root, split).exists() or split_folder(root, "image", split).exists()
    ]


def find_map_folder(folder: Path, name: str) -> Path:
    """Map folder of an image: named by its full name, or by its stem as some tools do."""
    by_name = folder / name
    by_stem = folder / Path(name).stem
    return by_stem if by_stem.is_dir() and not by_name.is_dir() else by_name


def map_file_names(count: int) -> list[str]:
    """``00.jpg`` .. of a map folder."""
    return [f"{k:02d}.jpg" for k in range(count)]
