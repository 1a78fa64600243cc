"""Decodes files for :mod:`mtn_core.data.strict` and listens to what the JPEG library says of them.

OpenCV repairs a damaged JPEG and returns a picture; that it was damaged only stands, without the
file's name, in one line on file descriptor 2, where the library prints it past Python. A process
of its own can put a pipe there and decode one file after the other without deafening the program.
"""

import io
import json
import os
import signal
import sys

import cv2
from PIL import Image

from mtn_core.data.images import decode_image, decode_map, image_size, read_bytes
from mtn_core.errors import DataError, MtnError
from mtn_core.vehicle import MAP_SIZE

_ORIENTATION = 0x0112
_UPRIGHT = 1
# Frames that are not sequential with Huffman codes.
_OTHER_CODINGS = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ZEROED = bytes(16)  # as many bytes of 0 in coded data are a hole, see _has_hole()


def main() -> None:
    """Answer a line of items with a line of what was found, or null, for each of them.

    An item is ``[kind, paths]``: ``image``, or ``map`` for grey files of the size of a map. What
    was found is the first path with a problem and the problem; or for an image that EXIF turns its
    path, null, and its width and height as it is stored and upright.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process ends it
    cv2.setNumThreads(1)
    ear, mouth = os.pipe()
    for end in (ear, mouth):
        os.set_blocking(end, False)
    os.dup2(mouth, 2)
    for line in sys.stdin:
        print(json.dumps([_look(kind, paths, ear) for kind, paths in json.loads(line)]), flush=True)


def _look(kind: str, paths: list[str], ear: int) -> tuple[str, str | None, tuple] | None:
    for path in paths:
        try:
            turned = _look_at_map(path, ear) if kind == "map" else _look_at_image(path, ear)
        except MtnError as error:
            return path, str(error).removeprefix(f"{path} "), ()
        if turned:
            return path, None, turned
    return None


def _look_at_map(path: str, ear: int) -> tuple[()]:
    data = read_bytes(path)
    _hear(ear)
    height, width = decode_map(data, path).shape
    _refuse_damage(data, path, _hear(ear))
    if (height, width) != (MAP_SIZE, MAP_SIZE):
        raise DataError(f"{path} is {width}x{height} pixels, expected {MAP_SIZE}x{MAP_SIZE}")
    return ()


def _look_at_image(path: str, ear: int) -> tuple:
    data = read_bytes(path)
    _hear(ear)
    height, width, _ = decode_image(data, path).shape
    _refuse_damage(data, path, _hear(ear))
    if b"Exif" not in data and b"eXIf" not in data:
        return ()
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = image.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
    except Exception:  # Pillow's readers raise what they like on broken EXIF; OpenCV passes over it
        upright = True
    stored = image_size(data)
    return () if upright and stored == (width, height) else (stored, (width, height))


def _refuse_damage(data: bytes, path: str, said: str) -> None:
    # OpenCV's own lines, about EXIF for instance, begin with a bracket.
    lines = [line for line in said.splitlines() if line.strip() and line[0] != "["]
    if lines and data.startswith(b"\xff\xd8"):
        raise DataError(
            f"{path} is a damaged JPEG, parts of the picture are lost ({lines[0]}); get it anew"
        )

    if _has_hole(data):
        raise DataError(
            f"{path} is a damaged JPEG, parts of the picture are lost ({len(_ZEROED)} bytes or "
            "more of its coded data are 0); get it anew"
        )


def _has_hole(data: bytes) -> bool:
    """Whether coded data has a run of zeros that no picture gives.

    Zeros decode, to whatever symbol has the code of zeros alone. Where that is "the rest of the
    block is 0", a plain area may well be coded so. With the common tables it is a coefficient of
    -1, and a picture does not have forty of them in a row.
    """
    if not data.startswith(b"\xff\xd8") or _ZEROED not in data:
        return False
    first_symbols: dict[int, int] = {}
    position = 2
    while data[position : position + 1] == b"\xff":
        marker, size = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + size]
        position += 2 + size
        if marker in _OTHER_CODINGS:
            return False
        if marker == 0xC4:
            first_symbols |= _first_symbols(body)
        elif marker == 0xDA:
            coded = data[position : data.rfind(b"\xff\xd9")]
            symbol = first_symbols.get(body[2] & 15, 0) if len(body) > 2 else 0
            one_scan = b"\xff\xda" not in coded  # further scans use codes of their own
            return one_scan and symbol & 15 > 0 and _ZEROED in coded
    return False


def _first_symbols(body: bytes) -> dict[int, int]:
    """What the code of zeros alone stands for in each table of AC coefficients, by its number."""
    found = {}
    while len(body) > 17:
        count = sum(body[1:17])
        if body[0] >> 4 == 1 and count:
            found[body[0] & 15] = body[17]
        body = body[17 + count :]
    return found


def _hear(ear: int) -> str:
    try:
        return os.read(ear, 1 << 16).decode("utf-8", "replace")
    except BlockingIOError:  # nothing was said
        return ""


if __name__ == "__main__":
    main()
