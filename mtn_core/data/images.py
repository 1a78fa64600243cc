"""Decoding of pictures, with OpenCV, into RGB or grey uint8, or an error that names the file.

OpenCV was chosen by measurement: decoding and resizing a crop takes it 0.26 ms, MindSpore's vision
operators 0.47 ms, Pillow 0.86 ms (``scripts/bench_pipeline.py``). It repairs broken files without a
word, so what it must not repair is looked for here. What is converted, and how: grey and
palette pictures become RGB, 16-bit pictures keep their upper 8 bits, transparency is dropped, and
an EXIF rotation is applied, so that width, height and keypoints are those of the upright picture.
CMYK pictures are refused, because their colours depend on an ink profile.
"""

import struct
from pathlib import Path

import cv2
import numpy as np

from mtn_core.errors import DataError

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Frame headers SOF0..SOF15 without DHT, JPG and DAC, which share the range.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_bytes(path: str | Path) -> bytes:
    """Content of a file, with a :class:`DataError` where it cannot be read or is empty."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    if not data:
        raise DataError(f"{path} is empty (0 bytes)")
    return data


def decode_image(data: bytes, name: str | Path) -> np.ndarray:
    """Decode one picture.

    Args:
        data: The file's bytes.
        name: What an error calls it.

    Returns:
        ``(H, W, 3) uint8`` RGB, upright.

    Raises:
        DataError: Truncated, CMYK, without pixels, or not a picture.
    """
    return _decode(data, name, cv2.IMREAD_COLOR_RGB)


def decode_map(data: bytes, name: str | Path) -> np.ndarray:
    """Decode one grey pose map to ``(H, W) uint8``; same errors as :func:`decode_image`."""
    return _decode(data, name, cv2.IMREAD_GRAYSCALE)


def read_image(path: str | Path) -> np.ndarray:
    """Read and decode one picture to ``(H, W, 3) uint8`` RGB."""
    return decode_image(read_bytes(path), path)


def _decode(data: bytes, name: str | Path, mode: int) -> np.ndarray:
    problem = _problem(data)
    if problem:
        raise DataError(f"{name} {problem}")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error as error:
        raise DataError(f"{name} cannot be decoded ({error})") from error
    if image is None or not image.size:
        raise DataError(f"{name} is not an image that can be decoded ({len(data)} bytes)")
    return image


def _problem(data: bytes) -> str | None:
    if data.startswith(_JPEG):
        # In coded data 0xFF is always followed by 0x00 or a restart marker, so an end marker after
        # the last scan header is the end of the picture, whatever a camera appended to it.
        end = data.rfind(b"\xff\xd9")
        if end < 0 or end < data.rfind(b"\xff\xda"):
            return f"is a truncated JPEG: no end marker in {len(data)} bytes"
        components = _jpeg_components(data)
        if components == 0:
            return "is a broken JPEG: it has no frame header or no pixels"
        if components > 3:
            return f"is a JPEG with {components} channels (CMYK); convert it to RGB first"
    elif data.startswith(_PNG):
        if data.rfind(b"IEND") < 0:
            return f"is a truncated PNG: no end chunk in {len(data)} bytes"
        if len(data) < 24 or 0 in struct.unpack(">II", data[16:24]):
            return "is a PNG without pixels"
    return None


def _jpeg_components(data: bytes) -> int:
    """Number of colour components in the frame header, 0 where there is none or no pixels."""
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _FRAME_MARKERS:
            height, width, components = struct.unpack(">HHB", data[position + 5 : position + 10])
            return components if height and width else 0
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0
