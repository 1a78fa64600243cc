"""Reading crops for figures: a missing or broken image becomes a placeholder and is remembered."""

import io
import logging
import os
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mtn_core.data.images import open_image
from mtn_core.errors import DataError

_LOG = logging.getLogger(__name__)
_PLACEHOLDER_SIZE = (96, 72)
_UNREADABLE = (OSError, DataError, Image.DecompressionBombError, SyntaxError)
FOLDERS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
FOLDERS["test"] = FOLDERS["gallery"]


class CropSource:
    """The crops of one data root or several, by split and name.

    Args:
        root: Folder that holds ``veri/``, or several such folders, tried in order; None when the
            run does not know it, then every crop is a placeholder.

    Attributes:
        key: Where ``config.yaml`` names the folders; with dashes, the flag that does.
        roots: The folders.
        missing: ``(split, name)`` of the crops that could not be read, in order of first use.
    """

    key = "root"

    def __init__(self, root: str | Path | Sequence[str | Path] | None):
        several = [root] if isinstance(root, str | Path) else root or []
        self.roots = tuple(Path(one) for one in several)
        self.missing: dict[tuple[str, str], str] = {}

    def path(self, split: str, name: str) -> Path | None:
        """Where the crop lies, or None for a name that would lead out of its folder."""
        if not self.roots or Path(name).name != name or name in ("", ".", ".."):
            return None
        paths = [root / "veri" / FOLDERS[split] / name for root in self.roots]
        return next((path for path in paths if path.is_file()), paths[0])

    def read(self, split: str, name: str, *, max_side: int | None = None) -> Image.Image:
        """Read one crop as RGB, or a placeholder when it cannot be read.

        Args:
            split: ``train``, ``query``, or ``gallery`` (also called ``test``).
            name: File name of the crop.
            max_side: Shrink so that the longer side has at most this many pixels.
        """
        path = self.path(split, name)
        try:
            if path is None:
                raise FileNotFoundError(name if self.roots else "the run names no data root")
            return _open_crop(path, max_side)
        except _UNREADABLE as error:
            if (split, name) not in self.missing:
                self.missing[split, name] = str(error)
                _LOG.debug("no crop %s of %s: %s", name, split, error)
            return draw_placeholder()

    def read_jpeg(self, split: str, name: str, *, max_side: int = 120, quality: int = 72) -> bytes:
        """The crop as a small JPEG."""
        return encode_jpeg(self.read(split, name, max_side=max_side), quality)


class ImageFolders(CropSource):
    """The pictures of any folders, found by their paths within them, else by their names alone.

    Args:
        root: A folder or several; folders within them are looked into.
    """

    key = "images"

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for root in self.roots:
            for folder, folders, files in os.walk(root):
                folders.sort()
                for file in files:
                    found.setdefault(file, Path(folder) / file)
        return found

    def path(self, split: str, name: str) -> Path | None:
        """Where the picture lies, or None for a name that would lead out of the folders."""
        if not self.roots or not name or Path(name).is_absolute() or ".." in Path(name).parts:
            return None
        paths = [root / name for root in self.roots]
        inside = next((path for path in paths if path.is_file()), None)
        return inside or self._by_name.get(Path(name).name, paths[0])


def read_crop(path: str | Path, *, max_side: int | None = None) -> Image.Image:
    """Read any picture as RGB, or a placeholder when it cannot be read."""
    try:
        return _open_crop(Path(path), max_side)
    except _UNREADABLE:
        return draw_placeholder()


def read_crop_strictly(path: str | Path, max_side: int) -> Image.Image:
    """Read any picture as RGB.

    Raises:
        DataError: It is none, or has too many pixels.
        OSError: It is not there.
    """
    try:
        return _open_crop(Path(path), max_side)
    except (Image.DecompressionBombError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read as an image") from error


def _open_crop(path: Path, max_side: int | None) -> Image.Image:
    with open_image(path) as image:
        if max_side:
            image.draft("RGB", (max_side * 2, max_side * 2))
        crop = image.convert("RGB")
    if max_side and max(crop.size) > max_side:
        crop.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return crop


@lru_cache(maxsize=1)
def _placeholder() -> Image.Image:
    width, height = _PLACEHOLDER_SIZE
    image = Image.new("RGB", _PLACEHOLDER_SIZE, "#b9bec5")
    draw = ImageDraw.Draw(image)
    draw.line((0, 0, width, height), fill="#8d949c")
    draw.line((0, height, width, 0), fill="#8d949c")
    draw.rectangle((14, 28, width - 15, height - 29), fill="#b9bec5")
    draw.text((width / 2, height / 2), "no image", fill="#30353b", anchor="mm")
    return image


def draw_placeholder() -> Image.Image:
    """A grey picture that says ``no image``."""
    return _placeholder().copy()


def encode_jpeg(image: Image.Image, quality: int = 72) -> bytes:
    """Encode as JPEG without metadata."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def as_pixels(image: Image.Image) -> np.ndarray:
    """The image as ``(height, width, 3)`` uint8."""
    return np.asarray(image.convert("RGB"))
