"""Decoding of pictures, with OpenCV, into RGB or grey uint8, or an error that names the file.

OpenCV was chosen by measurement: decoding and resizing a crop takes it 0.26 ms, MindSpore's vision
operators 0.47 ms, Pillow 0.86 ms (``scripts/bench_pipeline.py``). It repairs broken files without a
word, so what it must not repair is looked for here. What is converted, and how: grey and
palette pictures become RGB, 16-bit pictures keep their upper 8 bits, transparency is dropped, and
an EXIF rotation is applied, so that width, height and keypoints are those of the upright picture.
CMYK pictures are refused, because their colours depend on an ink profile. So are pictures of more
pixels than :func:`mtn_core.pixel_limit.max_pixels`, by their header: a PNG of 1 MB can hold 400
million.
"""

import io
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mtn_core.errors import DataError, first_line
from mtn_core.pixel_limit import HOW_TO_RAISE, max_pixels

_LONGEST_SIDE = 1 << 20  # that OpenCV decodes
_BEYOND_PILLOW = (1 << 31, 1 << 31)  # a size that Pillow refuses to tell
_MOST_BYTES_A_PIXEL = 8  # RGBA of 16 bits, not compressed
_BYTES_BESIDE_PIXELS = 64 << 20
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Frame headers SOF0..SOF15 without DHT, JPG and DAC, which share the range.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RST0..RST7: no length follows


def read_bytes(path: str | Path) -> bytes:
    """Content of an image file.

    Raises:
        DataError: Absent, not readable, not a regular file, empty, or larger than any picture of
            as many pixels as are allowed.
    """
    try:
        found = refuse_irregular(path)
        if found.st_size > _BYTES_BESIDE_PIXELS and found.st_size > _max_bytes():
            raise DataError(
                f"{path} has {found.st_size} bytes, more than any image of {max_pixels()} pixels "
                f"needs; is it an image? Then {HOW_TO_RAISE}"
            )
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    if not data:
        raise DataError(f"{path} is empty (0 bytes)")
    return data


def refuse_irregular(path: str | Path) -> os.stat_result:
    """Refuse what is no regular file before it is opened: a named pipe would be waited for.

    Returns:
        The file's status.

    Raises:
        DataError: A folder, named pipe, device or socket.
        OSError: Absent, or not to be looked at.
    """
    found = os.stat(path)  # noqa: PTH116, called for every image
    if not stat.S_ISREG(found.st_mode):
        raise DataError(
            f"{path} cannot be read: it is a {_file_kind(found.st_mode)}, expected a regular file"
        )
    return found


def open_image(path: str | Path) -> Image.Image:
    """Open a picture with Pillow, which decodes when it is asked for pixels.

    For figures and thumbnails, which shrink while they decode; what is trained on is decoded whole.

    Raises:
        DataError: Not a regular file, or more pixels by its header than are allowed.
        OSError: Absent, or not a picture that Pillow knows.
    """
    refuse_irregular(path)
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} has over 178 million pixels, more than Pillow opens") from error
    problem = _too_large(*image.size)
    if problem:
        image.close()
        raise DataError(f"{path} {problem}")
    return image


def _max_bytes() -> int:
    return _MOST_BYTES_A_PIXEL * max_pixels() + _BYTES_BESIDE_PIXELS


def _file_kind(mode: int) -> str:
    kinds: dict[str, Callable[[int], bool]] = {
        "folder": stat.S_ISDIR,
        "named pipe": stat.S_ISFIFO,
        "socket": stat.S_ISSOCK,
    }
    return next((kind for kind, is_it in kinds.items() if is_it(mode)), "device")


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


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a picture's header tells, without decoding it or applying EXIF.

    Returns:
        Pixels; ``(0, 0)`` for a header that is broken, None for a format that is not known.
    """
    try:
        if data.startswith(_JPEG):
            return _jpeg_frame(data)[:2]
        if data.startswith(_PNG):
            kind, width, height = struct.unpack(">4sII", data[12:24])
            return (width, height) if kind == b"IHDR" else (0, 0)
        if data.startswith(b"BM"):
            old = int.from_bytes(data[14:18], "little") < 36
            width, height = struct.unpack("<HH" if old else "<ii", data[18 : 22 if old else 26])
            return abs(width), abs(height)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp_size(data)
    except struct.error:
        return 0, 0
    try:
        with Image.open(io.BytesIO(data)) as image:  # reads the header only
            return image.size
    except Image.DecompressionBombError:
        return _BEYOND_PILLOW
    except Exception:  # Pillow's plugins raise what they like on broken headers
        return None


def _webp_size(data: bytes) -> tuple[int, int]:
    # Not by Pillow, which makes room for the whole picture when it opens it.
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = data[24:27], data[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _decode(data: bytes, name: str | Path, mode: int) -> np.ndarray:
    problem = _problem(data)
    if problem:
        raise DataError(f"{name} {problem}")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error as error:
        raise DataError(f"{name} cannot be decoded ({error.err or first_line(error)})") from error
    if image is None or not image.size:
        raise DataError(f"{name} is not an image that can be decoded ({len(data)} bytes)")
    return image


def _problem(data: bytes) -> str | None:
    frame = _jpeg_frame(data) if data.startswith(_JPEG) else None
    size = frame[:2] if frame else image_size(data)
    if size is None:
        return f"is not an image that can be decoded ({len(data)} bytes)"
    if frame:
        # In coded data 0xFF is always followed by 0x00 or a restart marker, so an end marker after
        # the last scan header is the end of the picture, whatever a camera appended to it.
        end = data.rfind(b"\xff\xd9")
        if end < 0 or end < data.rfind(b"\xff\xda"):
            return f"is a truncated JPEG: no end marker in {len(data)} bytes"
        if 0 in size:
            return "is a broken JPEG: it has no frame header or no pixels"
        if frame[2] > 3:
            return f"is a JPEG with {frame[2]} channels (CMYK); convert it to RGB first"
    elif data.startswith(_PNG):
        if data.rfind(b"IEND") < 0:
            return f"is a truncated PNG: no end chunk in {len(data)} bytes"
        if 0 in size:
            return "is a PNG without pixels"
    elif 0 in size:
        return f"is an image without pixels, or with a broken header ({len(data)} bytes)"
    return _too_large(*size)


def _too_large(width: int, height: int) -> str | None:
    if max(width, height) > _LONGEST_SIDE and (width, height) != _BEYOND_PILLOW:
        return f"is {width}x{height} pixels, of which no side may be longer than {_LONGEST_SIDE}"
    if width * height > max_pixels():
        known = (width, height) != _BEYOND_PILLOW
        pixels = f"{width}x{height} = {width * height}" if known else "over 178 million"
        return f"has {pixels} pixels, more than {max_pixels()}; shrink it, or {HOW_TO_RAISE}"
    return None


def _jpeg_frame(data: bytes) -> tuple[int, int, int]:
    """Width, height and components in the frame header, zeros where there is none or no pixels."""
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _LONE_MARKERS:
            position += 2
            continue
        if marker in _FRAME_MARKERS:
            height, width, components = struct.unpack(">HHB", data[position + 5 : position + 10])
            return (width, height, components) if height and width else (0, 0, 0)
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0, 0, 0
