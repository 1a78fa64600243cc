import os
import socket
import struct
import time
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mtn_core.data.images import decode_image, decode_map, image_size, open_image, read_image
from mtn_core.errors import ConfigError, DataError
from mtn_core.pixel_limit import max_pixels


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (80, 60))


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_colours_come_in_the_order_rgb(tmp_path):
    red = np.zeros((10, 12, 3), np.uint8)
    red[..., 0] = 255
    image = read_image(save(tmp_path / "a.png", red))
    np.testing.assert_array_equal(image, red)
    assert image.dtype == np.uint8


def test_a_grey_image_becomes_rgb(tmp_path):
    grey = np.tile(np.arange(40, dtype=np.uint8), (30, 1))
    image = read_image(save(tmp_path / "a.jpg", grey, quality=100))
    assert image.shape == (30, 40, 3)
    assert np.abs(image.astype(int) - grey[..., None]).max() <= 2


def test_a_16_bit_png_keeps_its_upper_8_bits(tmp_path):
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image[..., 1], (values >> 8).astype(np.uint8))


def test_transparency_and_palettes_become_rgb(tmp_path, picture):
    rgba = np.dstack([picture, np.full(picture.shape[:2], 128, np.uint8)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", rgba)), picture)
    palette = Image.fromarray(picture).convert("P")
    palette.save(tmp_path / "p.png")
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_rotation_is_applied(tmp_path, picture, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", picture, quality=95, exif=exif)
    with Image.open(path) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    image = read_image(path)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 2


def test_a_jpeg_with_four_channels_is_refused(tmp_path, picture):
    path = tmp_path / "a.jpg"
    Image.fromarray(picture).convert("CMYK").save(path)
    with pytest.raises(DataError, match=r"a\.jpg is a JPEG with 4 channels \(CMYK\); convert"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_truncated_image_is_refused(tmp_path, picture, suffix, share):
    data = save(tmp_path / f"a{suffix}", picture).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match=rf"cut\{suffix} is a (truncated|broken)"):
        read_image(path)


def test_a_progressive_jpeg_and_bytes_behind_the_end_are_read(tmp_path, picture):
    path = save(tmp_path / "a.jpg", picture, progressive=True)
    expected = read_image(path)
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    np.testing.assert_array_equal(read_image(path), expected)


def test_a_truncated_jpeg_with_a_thumbnail_is_refused(tmp_path, picture):
    """The thumbnail's end marker must not pass for the picture's."""
    data = save(tmp_path / "a.jpg", picture).read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    path = tmp_path / "thumb.jpg"
    path.write_bytes(data[:2] + segment + data[2:])
    assert read_image(path).shape == (60, 80, 3)
    path.write_bytes((data[:2] + segment + data[2:])[:-40])
    with pytest.raises(DataError, match="truncated"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", r"is empty \(0 bytes\)"),
        (b"this is text, not a picture", "is not an image that can be decoded"),
        (b"\xff\xd8\xff\xda\xff\xd9", "is a broken JPEG"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"broken\.jpg {message}"):
        read_image(path)


def test_a_folder_is_not_an_image(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


def test_images_without_pixels_are_refused(tmp_path, picture):
    data = bytearray(save(tmp_path / "a.jpg", picture).read_bytes())
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 7] = b"\0\0"
    with pytest.raises(DataError, match="no pixels"):
        decode_image(bytes(data), "zero.jpg")
    png = bytearray(save(tmp_path / "a.png", picture).read_bytes())
    png[16:20] = b"\0\0\0\0"
    with pytest.raises(DataError, match="PNG without pixels"):
        decode_image(bytes(png), "zero.png")


def test_a_map_is_grey(tmp_path, picture):
    data = save(tmp_path / "a.jpg", picture[..., 0]).read_bytes()
    assert decode_map(data, "a.jpg").shape == (60, 80)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["named pipe", "folder", "socket", "device"])
def test_only_regular_files_are_opened(tmp_path, kind, monkeypatch):
    path = tmp_path / "a.jpg"
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("a.jpg")
    with pytest.raises(DataError, match=rf"a\.jpg cannot be read: it is a {kind}, expected a reg"):
        read_image(path)


def test_a_link_to_an_image_is_read(tmp_path, picture):
    save(tmp_path / "a.png", picture)
    (tmp_path / "link.png").symlink_to("a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "link.png"), picture)


def png_of_zeros(width, height):
    """A grey PNG that is whole and a thousand times smaller than its pixels."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes((width + 1) * 100)) for _ in range(height // 100)]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", b"".join(rows) + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.jpg"
    path.write_bytes(png_of_zeros(10_000, 6_000))
    assert path.stat().st_size < 100_000
    started = time.process_time()
    tracemalloc.start()
    expected = r"bomb\.jpg has 10000x6000 = 60000000 pixels, more than 50000000;.*MTN_MAX_PIXELS"
    with pytest.raises(DataError, match=expected):
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert time.process_time() - started < 0.05


def test_a_side_longer_than_the_decoder_takes(tmp_path):
    path = tmp_path / "line.png"
    path.write_bytes(png_of_zeros(2_000_000, 2))
    with pytest.raises(DataError, match="2000000x2 pixels, of which no side may be longer than"):
        read_image(path)


def test_what_pillow_finds_too_large_is_refused_by_us(tmp_path, picture, monkeypatch):
    path = save(tmp_path / "a.gif", picture)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    for read, limit in ((read_image, "50000000; shrink it"), (open_image, "Pillow opens")):
        with pytest.raises(DataError, match=f"has over 178 million pixels, more than {limit}"):
            read(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".ppm"])
def test_the_limit_holds_for_every_format(tmp_path, picture, suffix, monkeypatch):
    path = save(tmp_path / f"a{suffix}", picture)
    assert image_size(path.read_bytes()) == (80, 60)
    monkeypatch.setenv("MTN_MAX_PIXELS", "4799")
    with pytest.raises(DataError, match="has 80x60 = 4800 pixels, more than 4799"):
        read_image(path)
    monkeypatch.setenv("MTN_MAX_PIXELS", "4800")
    if suffix != ".gif":  # OpenCV has no reader for it
        assert read_image(path).shape == (60, 80, 3)


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"exif": b"Exif"}])
def test_sizes_in_the_three_headers_of_webp(tmp_path, picture, options):
    data = save(tmp_path / "a.webp", picture, **options).read_bytes()
    kind = {"lossless": b"VP8L" if options.get("lossless") else b"VP8 ", "exif": b"VP8X"}
    assert data[12:16] == kind[next(iter(options))]
    assert image_size(data) == (80, 60)
    assert image_size(data[:20]) in {(0, 0), (1, 1)}


@pytest.mark.parametrize(
    ("chunk", "size"),
    [
        (b"VP8X" + bytes(8) + b"\x45\x23\x01" + b"\x01\x00\x02", (0x12346, 0x20002)),
        (b"VP8L" + bytes(5) + struct.pack("<I", 0x3FFF | 5 << 14 | 3 << 28), (0x4000, 6)),
        (b"VP8L" + bytes(5) + struct.pack("<I", 7 | 0x3FFE << 14), (8, 0x3FFF)),
        (b"VP8 " + bytes(10) + struct.pack("<HH", 0x4000 | 80, 0xC000 | 60), (80, 60)),
        (b"VP8 " + bytes(10) + struct.pack("<HH", 0x3FFF, 0x3FFE), (0x3FFF, 0x3FFE)),
        (b"ALPH" + bytes(20), (0, 0)),
    ],
)
def test_the_bits_of_a_webp_header(chunk, size):
    assert image_size(b"RIFF" + bytes(4) + b"WEBP" + chunk) == size


def test_a_jpeg_header_counts_where_it_is_whole(tmp_path, picture):
    data = save(tmp_path / "a.jpg", picture).read_bytes()
    end = data.index(b"\xff\xc0") + 10
    assert image_size(data[:end]) == (80, 60)
    assert image_size(data[: end - 1]) == (0, 0)
    assert image_size(data[:2]) == (0, 0)


def test_more_pixels_than_pillow_looks_at(monkeypatch):
    with pytest.raises(DataError, match=r"a\.ppm has over 178 million pixels, more than 50000000"):
        decode_image(b"P6 20000 20000 255\n", "a.ppm")


def test_sizes_in_a_jpeg_behind_markers_without_length(tmp_path, picture):
    data = save(tmp_path / "a.jpg", picture).read_bytes()
    assert image_size(data[:2] + b"\xff\xd0\xff\x01\xff\xff" + data[2:]) == (80, 60)
    assert image_size(data[:2] + b"\x00" + data[2:]) == (0, 0)


def test_sizes_of_bmp_upside_down_and_old(tmp_path, picture):
    data = bytearray(save(tmp_path / "a.bmp", picture).read_bytes())
    data[22:26] = struct.pack("<i", -60)
    assert image_size(bytes(data)) == (80, 60)
    assert image_size(b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 7, 9, 1, 24)) == (7, 9)
    assert image_size(b"BM" + bytes(12) + struct.pack("<Iii", 36, -70000, 9)) == (70000, 9)
    assert image_size(b"BM" + bytes(12) + struct.pack("<IHH", 35, 7, 9)) == (7, 9)
    assert image_size(b"BM") == (0, 0)
    with pytest.raises(DataError, match="without pixels, or with a broken header"):
        decode_image(b"BM", "a.bmp")


def test_an_unusable_limit_is_shown_to_40_characters(monkeypatch):
    monkeypatch.setenv("MTN_MAX_PIXELS", "x" * 41)
    with pytest.raises(ConfigError, match=f"got '{'x' * 40}'$"):
        max_pixels()
    monkeypatch.setenv("MTN_MAX_PIXELS", "1")
    assert max_pixels() == 1


@pytest.mark.parametrize("text", ["many", "-1", "0", "1e6", "\u0663", "1073741825", "9" * 5000])
def test_an_unusable_limit_is_named(tmp_path, picture, monkeypatch, text):
    monkeypatch.setenv("MTN_MAX_PIXELS", text)
    expected = "MTN_MAX_PIXELS must be a whole number from 1 to 1073741824; got"
    with pytest.raises(ConfigError, match=expected):
        read_image(save(tmp_path / "a.png", picture))


def test_a_file_larger_than_any_image_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    with open(path, "wb") as file:
        file.truncate(10**12)
    with pytest.raises(DataError, match=r"a\.jpg has 1000000000000 bytes, more than any image of"):
        read_image(path)
    monkeypatch.setenv("MTN_MAX_PIXELS", "10")
    with open(path, "wb") as file:
        file.truncate(70 << 20)
    with pytest.raises(DataError, match="more than any image of 10 pixels"):
        read_image(path)
    with open(path, "r+b") as file:
        file.truncate((64 << 20) + 8 * 10)
    with pytest.raises(DataError, match="not an image that can be decoded"):
        read_image(path)
    with open(path, "r+b") as file:
        file.truncate((64 << 20) + 8 * 10 + 1)
    with pytest.raises(DataError, match="more than any image of 10 pixels"):
        read_image(path)
