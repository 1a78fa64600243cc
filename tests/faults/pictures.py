"""Pictures that are not what they should be."""

import io
import shutil
import struct
import zlib

import numpy as np
from PIL import Image

NAME = "0003_c003_00013131_0"  # the first query


def png(width, height):
    """A PNG of some bytes that claims to have this many pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(kind, **options):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    mode = "CMYK" if options.pop("cmyk", False) else "RGB"
    Image.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


def instead(path, make):
    path.unlink() if path.is_file() else shutil.rmtree(path)
    make(path)
