"""Strict decoding finds what OpenCV repairs in silence, and nothing in files that are whole."""

import os
import signal
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image

from mtn_core.data import strict, strict_worker
from mtn_core.data.images import read_image
from mtn_core.data.strict import StrictDecoder
from mtn_core.data.turned import Turned
from mtn_core.errors import DataError


@pytest.fixture(scope="module")
def decoder():
    with StrictDecoder() as opened:
        yield opened


@pytest.fixture
def jpeg(tmp_path):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), cv2.resize(small, (240, 180), interpolation=cv2.INTER_CUBIC))
    return path


def zeroed(data, count):
    middle = len(data) // 2
    return data[:middle] + bytes(count) + data[middle + count :]


def problems_of(decoder, paths):
    problems, _ = decoder.find_broken_images(paths)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: zeroed(data, 200),
        lambda data: zeroed(data, 17),
        lambda data: data[: len(data) // 2] + b"\xff\xd9",
        lambda data: data[:-40] + b"\xff\xd9",
        lambda data: data[:-2] + data[len(data) // 2 :],
    ],
    ids=["200 zeros", "17 zeros", "half and an end marker", "a bit cut off", "too much"],
)
def test_a_damaged_jpeg_is_named(decoder, jpeg, damage):
    whole = jpeg.with_name("whole.jpg")
    whole.write_bytes(jpeg.read_bytes())
    jpeg.write_bytes(damage(jpeg.read_bytes()))
    assert read_image(jpeg).shape == (180, 240, 3), "OpenCV repairs it, so a training goes on"
    (problem,) = problems_of(decoder, [whole, jpeg, whole])
    assert problem.startswith(f"{jpeg}: is a damaged JPEG, parts of the picture are lost (")
    assert problem.endswith("get it anew")


def test_every_hole_of_zeros_and_every_cut_in_real_crops_is_found(decoder, shared_data, tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    crops = sorted((shared_data / "real_vehicles").rglob("image_*/*.jpg"))[:60]
    for number, crop in enumerate(crops):
        data = crop.read_bytes()
        start, end = data.rfind(b"\xff\xda") + 14, len(data) - 2
        hole = int(rng.integers(start, end - 200))
        paths += [tmp_path / f"hole{number}.jpg", tmp_path / f"cut{number}.jpg"]
        paths[-2].write_bytes(data[:hole] + bytes(200) + data[hole + 200 :])
        paths[-1].write_bytes(data[: int(rng.integers(start, end - 20))] + b"\xff\xd9")
    assert len(paths) == 120
    assert problems_of(decoder, crops) == []
    assert len(problems_of(decoder, paths)) == 120


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize(
    "options",
    [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_areas_are_no_hole(decoder, tmp_path, value, options, mode):
    """Where a plain block has the code of zeros alone, a long run of zeros is right."""
    half = Image.new("RGB", (640, 480), (value, value, value))
    half.paste((90, 200, 30), (320, 100, 640, 300))
    path = tmp_path / "plain.jpg"
    half.convert(mode).save(path, **options)
    assert problems_of(decoder, [path]) == []


def test_zeros_behind_the_picture_and_in_a_profile_are_no_hole(decoder, jpeg):
    with Image.open(jpeg) as image:
        image.save(jpeg, icc_profile=bytes(500), comment=bytes(100))
    jpeg.write_bytes(jpeg.read_bytes() + bytes(100))
    assert problems_of(decoder, [jpeg]) == []


def huffman_table(place, *symbols):
    """A table in which the symbols have codes of two bits, the first one 00."""
    return bytes([place, 0, len(symbols), *[0] * 14, *symbols])


def test_the_symbol_of_the_code_of_zeros_alone():
    first, second = huffman_table(0x10, 0x01, 0x22, 0x33), huffman_table(0x13, 0xF0)
    light, unused = huffman_table(0x01, 0x07), huffman_table(0x12)
    assert strict_worker._first_symbols(first + light + unused + second) == {0: 0x01, 3: 0xF0}
    assert strict_worker._first_symbols(second) == {3: 0xF0}
    assert strict_worker._first_symbols(b"") == {}


def segment(marker, body):
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def coded(symbol=0x01, zeros=16, table=2, frame=0xC0, lead=b"", behind=b"", magic=b"\xff\xd8"):
    """A JPEG's skeleton, whose only component uses the table of AC coefficients 2."""
    tables = huffman_table(0x10 | table, symbol) + huffman_table(0x11, 0x05)
    scan = segment(0xDA, bytes([1, 1, 0x12, 0, 63, 0])) + b"\x5a" + bytes(zeros) + b"\x5a"
    return (
        magic
        + lead
        + segment(frame, bytes(15))
        + segment(0xC4, tables)
        + scan
        + behind
        + b"\xff\xd9"
    )


@pytest.mark.parametrize(
    ("data", "hole"),
    [
        (coded(), True),
        (coded(symbol=0x0F), True),
        (coded(symbol=0x00), False),  # the rest of the block is 0
        (coded(symbol=0xF0), False),  # sixteen zeros
        (coded(zeros=15), False),
        (coded(zeros=17), True),
        (coded(table=3), False),  # the component's table is not told
        (coded(frame=0xC1), True),
        (coded(frame=0xC2), False),  # progressive
        (coded(frame=0xCF), False),
        (coded(behind=b"\xff\xda"), False),  # a further scan
        (coded(magic=b"\xff\xd9"), False),
        (coded(zeros=0) + bytes(16), False),  # behind the picture
        (coded(lead=segment(0xE1, bytes(300))), True),
        (coded(lead=segment(0xE1, b"\xff\xd9")), True),  # the end of a thumbnail
        (b"\xff\xd8" + segment(0xDA, bytes(2)) + bytes(16) + b"\xff\xd9", False),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else str(value),
)
def test_a_hole_is_a_run_of_zeros_that_stands_for_coefficients(data, hole):
    assert strict_worker._has_hole(data) == hole


def test_only_what_the_jpeg_library_says_is_damage():
    jpeg, png = coded(zeros=0), b"\x89PNG"
    for data, said in ((jpeg, "[ WARN:0] a warning\n"), (jpeg, " \n\n"), (png, "Corrupt data\n")):
        strict_worker._refuse_damage(data, "a.jpg", said)
    with pytest.raises(DataError, match=r"a\.jpg is a damaged JPEG, .* lost \(Corrupt \[x\]\)"):
        strict_worker._refuse_damage(jpeg, "a.jpg", "[ WARN:0] one\nCorrupt [x]\nmore\n")
    with pytest.raises(DataError, match=r"lost \(C\[1\]\)"):
        strict_worker._refuse_damage(jpeg, "a.jpg", "C[1]")


def test_maps_have_the_size_of_maps(decoder, tmp_path):
    for number in range(13):
        cv2.imwrite(str(tmp_path / f"{number:02d}.jpg"), np.zeros((64, 64), np.uint8))
    assert decoder.find_broken_maps([tmp_path], "segment") == []
    cv2.imwrite(str(tmp_path / "12.jpg"), np.zeros((56, 64), np.uint8))
    (problem,) = decoder.find_broken_maps([tmp_path], "segment")
    assert str(problem) == f"{tmp_path / '12.jpg'}: is 64x56 pixels, expected 64x64"


def test_a_flipped_bit_in_a_png_is_found(decoder, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    assert problems_of(decoder, [path]) == []
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert len(problems_of(decoder, [path])) == 1


def test_problems_come_in_order_from_several_processes(jpeg, tmp_path, monkeypatch):
    monkeypatch.setattr(strict, "num_workers_for", lambda _: 2)
    paths = []
    for number in range(200):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(b"?" if number % 50 == 7 else jpeg.read_bytes())
    with StrictDecoder() as decoder:
        found, turned = decoder.find_broken_images(paths)
        workers = list(decoder._all)
    assert [problem.path.stem for problem in found] == ["7", "57", "107", "157"]
    assert turned == {}
    assert len(workers) == 2
    assert all(worker.poll() is not None for worker in workers), "no process is left"


def test_a_decoder_that_crashes_is_a_problem_of_its_file(jpeg, tmp_path, monkeypatch):
    """The process dies on one of three files; the other two are still judged."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"?")
    ask = strict._ask

    def dies(worker, items):
        if any("a.jpg" in path for _, paths in items for path in paths):
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
        return ask(worker, items)

    monkeypatch.setattr(strict, "_ask", dies)
    with StrictDecoder() as decoder:
        first, second = problems_of(decoder, [bad, jpeg, bad.with_name("none.jpg")][:2])
        (of_folder,) = decoder.find_broken_maps([tmp_path / "a.jpg"], "segment")
    assert "bad.jpg: is not an image" in first
    assert second == f"{jpeg}: ends the decoder's process (exit status -9)"
    assert of_folder.path.name == "00.jpg"


def test_processes_that_cannot_be_started(jpeg, monkeypatch):
    def start():
        return subprocess.Popen(
            ["/bin/sh", "-c", "exit 3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    monkeypatch.setattr(strict, "_start", start)
    with StrictDecoder() as decoder:
        with pytest.raises(DataError, match=r"can be started \(exit status 3\); mtn check --fast"):
            decoder.find_broken_images([jpeg])


def test_names_that_are_not_utf8(decoder, jpeg):
    path = jpeg.with_name(os.fsdecode(b"\xe9\n.jpg"))
    path.write_bytes(b"?")
    (found,), _ = decoder.find_broken_images([path])
    assert found.path == path


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize(("orientation", "is_turned"), [(6, True), (1, False)])
def test_what_exif_turns_is_told_with_both_sizes(decoder, tmp_path, suffix, orientation, is_turned):
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", (40, 30)).save(path, exif=exif)
    problems, turned = decoder.find_broken_images([path])
    assert problems == []
    assert turned == ({path: Turned((40, 30), (30, 40))} if is_turned else {})
