"""Crops that somebody uploads: bounded, of few formats, and decoded strictly, in memory alone."""

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtn_core.data.images import decode_image, image_size
from mtn_core.data.strict import StrictDecoder
from mtn_core.errors import DataError

# Of what OpenCV decodes: what cameras write, and nothing that holds programs or many pictures.
_FORMATS = {
    "JPEG": lambda data: data.startswith(b"\xff\xd8\xff"),
    "PNG": lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
    "WebP": lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP",
    "BMP": lambda data: data.startswith(b"BM"),
}
_LONGEST_NAME = 80


@dataclass(frozen=True)
class UploadLimits:
    """What an upload may have.

    Attributes:
        bytes: Of all crops together.
        pixels: Likewise.
        crops: Of one track.
    """

    bytes: int = 16_000_000
    pixels: int = 25_000_000
    crops: int = 16


@dataclass(frozen=True, eq=False)
class Upload:
    """A crop that was uploaded and is one.

    Attributes:
        name: As the browser calls it; for people.
        image: ``(H, W, 3) uint8`` RGB, upright.
        sha256: Hex, of the file.
    """

    name: str
    image: np.ndarray
    sha256: str


class UploadDecoder:
    """Decodes uploads in processes of their own first, which a hostile file may crash.

    Args:
        limits: Of an upload.
    """

    def __init__(self, limits: UploadLimits = UploadLimits()):
        self.limits = limits
        self._strict = StrictDecoder()
        self._lock = threading.Lock()

    def __enter__(self) -> "UploadDecoder":
        return self

    def __exit__(self, *_: object) -> None:
        self._strict.__exit__()

    def decode(self, body: bytes, sizes: Sequence[int], names: Sequence[str]) -> list[Upload]:
        """The crops of one request.

        Args:
            body: All files, one behind the other.
            sizes: Their lengths in bytes.
            names: What the browser calls them; may be fewer.

        Raises:
            DataError: Too many, too large, of another format, damaged, or not images at all.
        """
        if not 1 <= len(sizes) <= self.limits.crops:
            raise DataError(f"expected 1 to {self.limits.crops} crops; got {len(sizes)}")
        if min(sizes) < 1 or sum(sizes) != len(body):
            raise DataError(f"the crops should have {sum(sizes)} bytes; got {len(body)}")
        shown = [_shown(name) for name in names] + ["crop"] * len(sizes)
        ends = np.cumsum(sizes).tolist()
        parts = [body[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        self._check_headers(parts, shown)
        return [self._decode_one(part, name) for part, name in zip(parts, shown, strict=False)]

    def _check_headers(self, parts: Sequence[bytes], names: Sequence[str]) -> None:
        """Refuse by what the files say of themselves, before anything is decoded."""
        pixels = 0
        for data, name in zip(parts, names, strict=False):
            if not any(is_it(data) for is_it in _FORMATS.values()):
                raise DataError(f"{name} is not an image of a known format ({', '.join(_FORMATS)})")
            width, height = image_size(data) or (0, 0)
            pixels += width * height
            if pixels > self.limits.pixels:
                raise DataError(
                    f"{name} has {width}x{height} pixels, more than {self.limits.pixels} for all "
                    "crops; cut the vehicle out, or shrink the picture"
                )

    def _decode_one(self, data: bytes, name: str) -> Upload:
        with self._lock, _as_file(data) as path:
            problems, _ = self._strict.find_broken_images([path])
        if problems:
            raise DataError(f"{name} {problems[0].what}")
        return Upload(name, decode_image(data, name), hashlib.sha256(data).hexdigest())


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[Path]:
    """A path to the bytes for another process; where the system can, they never see a disk."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryDirectory(prefix="mtn-serve-") as folder:
            path = Path(folder) / "upload"
            path.write_bytes(data)
            yield path
        return
    with open(os.memfd_create("mtn-serve"), "wb") as file:
        file.write(data)
        file.flush()
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")


def _shown(name: str) -> str:
    """A name without anything that could break a line of an error."""
    plain = "".join(c for c in name if c.isprintable())[:_LONGEST_NAME]
    return plain or "crop"
