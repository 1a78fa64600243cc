"""Trials of image files."""

import os
from pathlib import Path

import pytest
from pictures import NAME, encoded, instead, png
from trial import Trial, check, replace, root_without_maps

from mtn_core.cli import main

PLAIN = "--segmentaware False --heatmapaware False --splits query"
CHECK = f"check --root d/i {PLAIN}"
LAST = "--ckpt_path r/smoke/ckpt/last.ckpt --out x/e"


def hole(data):
    middle = len(data) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


def image(content, *, maps=()):
    """A root ``d/i`` whose first query image is something else.

    Args:
        content: Bytes, or what makes them of the image's own, or makes something at its path.
        maps: Kinds of maps that the root has.
    """

    def put(workspace):
        veri = root_without_maps(workspace, "i") / "veri"
        for kind in maps:
            for split in ("train", "query", "test"):
                source = (workspace / "d/base/veri" / f"{kind}_{split}").resolve()
                (veri / f"{kind}_{split}").symlink_to(source)
        path = veri / "image_query" / f"{NAME}.jpg"
        data = path.read_bytes()
        path.unlink()
        made = content(data) if content in (hole, half, closed_half, mangled) else content
        if isinstance(made, bytes):
            path.write_bytes(made)
        else:
            made(path)

    return put


def half(data):
    return data[: len(data) // 2]


def closed_half(data):
    return half(data) + b"\xff\xd9"


def mangled(data):
    """What a transfer as text makes of it."""
    return data.replace(b"\n", b"\r\n")


TRIALS = [
    Trial(
        40,
        "20000x20000 PNG",
        CHECK,
        f"{NAME}.jpg: has 20000x20000 = 400000000 pixels, more than "
        "50000000; shrink it, or raise data.max_pixels",
        image(png(20_000, 20_000)),
    ),
    Trial(
        41,
        "20000x20000 PNG [eval]",
        f"eval --root d/i {LAST}",
        f"{NAME}.jpg has 20000x20000 = 4",
        image(png(20_000, 20_000), maps=["segment"]),
    ),
    Trial(
        42,
        "40000x40000 PNG",
        CHECK,
        f"{NAME}.jpg: has 40000x40000 = 1600000000 pixels, more than",
        image(png(40_000, 40_000)),
    ),
    Trial(
        43, "200 zeroed bytes", CHECK, f"{NAME}.jpg: is a damaged JPEG, parts of the", image(hole)
    ),
    Trial(
        48,
        "a named pipe",
        CHECK,
        f"{NAME}.jpg: cannot be read: it is a named pipe, expected a re",
        image(os.mkfifo),
    ),
    Trial(
        52,
        "a half with an end marker",
        CHECK,
        f"{NAME}.jpg: is a damaged JPEG, parts of the pict",
        image(closed_half),
    ),
    Trial(None, "a half", CHECK, f"{NAME}.jpg: is a truncated JPEG: no end marker in", image(half)),
    Trial(
        None, "sent as a text", CHECK, f"{NAME}.jpg: is a broken JPEG: it has no", image(mangled)
    ),
    Trial(
        None,
        "a PNG of 2000000x10",
        CHECK,
        "is 2000000x10 pixels, of which no side may be longer",
        image(png(2_000_000, 10)),
    ),
    Trial(None, "a PNG of 0x10", CHECK, f"{NAME}.jpg: is a PNG without pixels", image(png(0, 10))),
    Trial(
        None, "a PNG without data", CHECK, "is not an image that can be decoded", image(png(9, 9))
    ),
    Trial(None, "no bytes", CHECK, f"{NAME}.jpg: is empty", image(b"")),
    Trial(None, "two markers", CHECK, "is a broken JPEG: it has no fr", image(b"\xff\xd8\xff\xd9")),
    Trial(None, "a page", CHECK, "is not an image that can be decoded", image(b"<html></html>")),
    Trial(
        None,
        "CMYK",
        CHECK,
        r"is a JPEG with 4 channels \(CMYK\); convert it",
        image(encoded("JPEG", cmyk=True)),
    ),
    Trial(
        None,
        "half a WebP",
        CHECK,
        "is not an image that can be decoded",
        image(encoded("WEBP")[:2000]),
    ),
    Trial(None, "a GIF", CHECK, "is not an image that can be decoded", image(encoded("GIF"))),
    Trial(
        None,
        "a progressive JPEG under a false name",
        CHECK,
        "no problems",
        image(encoded("JPEG", progressive=True)),
        code=0,
    ),
    Trial(None, "a folder", CHECK, "it is a folder, expected a regular file", image(Path.mkdir)),
    Trial(
        None,
        "a folder [check --fast]",
        f"{CHECK} --fast",
        "it is a folder, expected a regular",
        image(Path.mkdir),
    ),
    Trial(
        None,
        "a link to nothing",
        CHECK,
        f"{NAME}.jpg: link to nothing",
        image(lambda path: path.symlink_to("nowhere")),
    ),
    Trial(
        None,
        "a link to itself",
        CHECK,
        f"{NAME}.jpg: link to nothing",
        image(lambda path: path.symlink_to(path.name)),
    ),
    Trial(
        None,
        "a device",
        CHECK,
        "it is a device, expected a regular file",
        image(lambda path: path.symlink_to("/dev/zero")),
    ),
    Trial(
        None,
        "a named pipe [draw-pose]",
        "draw-pose --root d/i --splits query",
        f"images cannot be read: .*{NAME}.jpg cannot be read: it is a named",
        image(os.mkfifo),
    ),
    Trial(
        None,
        "a named pipe [eval]",
        f"eval --root d/i {LAST}",
        f"{NAME}.jpg: cannot be read: it is",
        image(os.mkfifo, maps=["segment"]),
    ),
    Trial(
        None,
        "200 zeroed bytes [pack]",
        "pack --root d/i --splits query",
        f"{NAME}.jpg: is a damaged JPEG, .*see them all with mtn check",
        image(hole),
    ),
    Trial(
        None,
        "20000x20000 PNG [search]",
        "search --run r/smoke --image q.png",
        r"q\.png has 20000x20000 = 400000000",
        lambda w: replace(w / "q.png", png(20_000, 20_000)),
    ),
    Trial(
        None,
        "the images' folder is a file",
        CHECK,
        "image_query: is no folder",
        lambda w: instead(root_without_maps(w, "i") / "veri/image_query", Path.touch),
    ),
    Trial(
        None,
        "the limit [train]",
        "train --root d/base --out x/t --recipe smoke --set data.max_pixels=100",
        r"veri/image_train/.* pixels, more than 100; shrink it",
    ),
    Trial(
        None,
        "a limit of none [train]",
        "train --root d/base --out x/t --recipe smoke --set data.max_pixels=0",
        r"'data\.max_pixels': .*; got 0",
        code=2,
    ),
    Trial(
        None,
        "a setting that plays no part [eval]",
        f"eval --root d/base {LAST} --set data.flip=1",
        r"data\.flip is settled by the network .* takes eval\.\*, data\.num_workers and data\.max",
        code=2,
    ),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)


def test_the_limit_of_the_configuration_rules_over_the_variable(workspace, capfd, monkeypatch):
    """The first query has 26,390 pixels, the second 28,086."""
    monkeypatch.setenv("MTN_MAX_PIXELS", "9")
    arguments = ["eval", "--root", "d/base", *LAST.split(), "--set"]
    assert main([*arguments, "data.max_pixels=27000", "data.num_workers=1"]) == 1
    assert "186x151 = 28086 pixels, more than 27000; shrink" in capfd.readouterr().err
    assert main([*arguments, "data.num_workers=1"]) == 1
    assert "203x130 = 26390 pixels, more than 9; shrink" in capfd.readouterr().err
    assert not (workspace / "x/e").exists()


@pytest.mark.parametrize(
    "command",
    [
        "check --root d/base --splits query",
        "prepare --images d/base/veri/image_query --pattern '{pid}_*.jpg' --root d/z",
    ],
)
def test_the_variable_rules_where_there_is_no_configuration(
    command, workspace, capfd, caplog, monkeypatch
):
    monkeypatch.setenv("MTN_MAX_PIXELS", "100")
    check(Trial(None, "a limit", command, "26390 pixels, more than 100"), workspace, capfd, caplog)
    monkeypatch.setenv("MTN_MAX_PIXELS", "all")
    expected = "MTN_MAX_PIXELS must be a whole number"
    check(Trial(None, "no limit", command, expected, code=2), workspace, capfd, caplog)
