"""Hostile uploads: each is one clear line, and nothing of any is kept."""

import io
import os
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mtn_core.errors import DataError
from mtn_core.serve.uploads import UploadDecoder, UploadLimits

SVG = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">
<script>alert(1)</script><image href="file:///etc/passwd"/></svg>"""


def png_of(width, height, rows=b""):
    """A PNG that says it has a size, whatever it holds."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(rows or bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def saved(kind, size=(60, 40), **options):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def cut(data):
    return data[: len(data) // 2]


def holed(data):
    middle = len(data) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "crop"),
        (b"hello, I am no image", "not an image of a known format"),
        (SVG, "not an image of a known format"),
        (saved("GIF"), "not an image of a known format"),
        (saved("TIFF"), "not an image of a known format"),
        (b"%PDF-1.7", "not an image of a known format"),
        (b"PK\x03\x04" + bytes(50), "not an image of a known format"),
        (b"<html><script>alert(1)</script>", "not an image of a known format"),
        (png_of(40_000, 40_000), "40000x40000 pixels, more than 200000"),  # a bomb
        (png_of(30_000, 30_000, bytes(50_000_000)), "30000x30000 pixels"),
        (saved("JPEG", (600, 400)), "600x400 pixels"),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 50_000, 50_000) + bytes(30), "50000x50000"),
        (png_of(0, 5), "without pixels"),
        (png_of(100, 100), ""),
        (cut(saved("PNG")), "truncated PNG"),
        (cut(saved("JPEG", quality=95)), "truncated JPEG"),
        (holed(saved("JPEG", quality=95)), "damaged JPEG"),
        (cut(saved("WEBP")), ""),
        (saved("JPEG")[:2] + b"\xff" + bytes(40), ""),
        (b"\xff\xd8\xff\xe0" + b"\x00\x10JFIF" + os.urandom(300), ""),
    ],
    ids=range(20),
)
def test_what_is_no_good_image_is_refused(client, data, said):
    answer = client.post("/api/search?name=evil.png", content=data)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert said in error and "\n" not in error
    assert "/proc" not in error and "/tmp" not in error


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_what_cameras_write_is_taken(client, kind):
    assert client.post("/api/search", content=saved(kind)).status_code == 200


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "<img src=x onerror=alert(1)>", "a\nb\x00c\x1b[31m", "x" * 150]
)
def test_a_name_is_a_text_and_no_path(client, crop_file, name):
    answer = client.post("/api/search", params={"name": name}, content=crop_file("cam3/v1_0.png"))
    (shown,) = answer.json()["query"]["images"]
    assert shown == "".join(c for c in name if c.isprintable())[:80]
    refused = client.post("/api/search", params={"name": name}, content=b"no").json()["error"]
    assert refused.startswith(shown) and "\n" not in refused
    assert answer.headers["content-type"] == "application/json"


def test_too_many_bytes_are_refused_before_they_are_read(client):
    answer = client.post("/api/search", content=bytes(300_001))
    assert answer.status_code == 413 and "0.3 MB" in answer.json()["error"]
    asked = client.build_request("POST", "/api/search", content=b"x")
    asked.headers["content-length"] = "9" * 30
    assert client.send(asked).status_code == 413
    asked.headers["content-length"] = "-1"
    assert client.send(asked).status_code == 400


def test_too_many_bytes_in_chunks_are_refused_while_they_come(client):
    taken = []

    def chunks():
        for _ in range(100):
            taken.append(1)
            yield bytes(50_000)

    answer = client.post("/api/search", content=chunks())
    assert answer.status_code == 413
    assert "content-length" not in answer.request.headers


def test_too_many_crops(client, crop_file):
    data = crop_file("cam3/v1_0.png")
    sizes = ",".join([str(len(data))] * 4)
    answer = client.post(f"/api/search?sizes={sizes}", content=data * 4)
    assert answer.status_code == 400 and "1 to 3 crops; got 4" in answer.json()["error"]


def test_too_many_pixels_together(client):
    data = cv2.imencode(".png", np.full((300, 300, 3), 99, np.uint8))[1].tobytes()
    assert client.post("/api/search", content=data).status_code == 200
    sizes = ",".join([str(len(data))] * 3)
    answer = client.post(f"/api/search?sizes={sizes}", content=data * 3)
    assert answer.status_code == 400 and "200000 for all crops" in answer.json()["error"]


def test_one_bad_crop_among_good_ones_is_named(client, crop_file):
    data = crop_file("cam3/v1_0.png")
    sizes = f"{len(data)},{len(SVG)}"
    answer = client.post(f"/api/search?sizes={sizes}&name=good&name=bad.svg", content=data + SVG)
    assert answer.json()["error"].startswith("bad.svg is not an image")


def test_nothing_is_kept(client, crop_file, car_gallery, monkeypatch):
    """Neither in the gallery, nor in a temporary folder, nor in an open file."""
    before = {p: p.stat().st_mtime_ns for p in car_gallery.path.rglob("*")}
    temporary = set(Path(tempfile.gettempdir()).glob("mtn-serve-*"))
    client.post("/api/search", content=crop_file("cam3/v1_0.png"))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for data in (crop_file("cam3/v1_0.png"), b"no", SVG, saved("JPEG")):
        client.post("/api/search", content=data)
    assert {p: p.stat().st_mtime_ns for p in car_gallery.path.rglob("*")} == before
    assert set(Path(tempfile.gettempdir()).glob("mtn-serve-*")) == temporary
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 1


def test_where_memory_cannot_be_a_file_a_folder_is_made_and_removed(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with UploadDecoder(UploadLimits()) as decoder:
        data = saved("PNG")
        (upload,) = decoder.decode(data, [len(data)], ["a.png"])
        assert upload.image.shape == (40, 60, 3)
        with pytest.raises(DataError, match=r"a\.png is a damaged|a\.png"):
            broken = holed(saved("JPEG", quality=95))
            decoder.decode(broken, [len(broken)], ["a.png"])
    assert list(tmp_path.iterdir()) == []
