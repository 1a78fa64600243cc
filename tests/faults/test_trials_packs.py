"""Trials of packs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trial import Trial, check, replace, root_without_maps

from mtn_core.cli import main

SHARD = "shard-000.mindrecord"
MANIFEST = "manifest.json"
CHECK = "check --root d/p --splits query"
PACK = "pack --root d/p --splits query"


@pytest.fixture(scope="module")
def packs(given, tmp_path_factory):
    """Packs of query and gallery, images and segments; read-only."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "d").mkdir()
    (folder / "d/base").symlink_to(given / "d/base")
    put_root(folder, "p")
    root = str(folder / "d/p")
    assert main(["pack", "--root", root, "--splits", "query", "test"]) == 0
    return folder / "d/p/veri"


@pytest.fixture
def packed(workspace, packs):
    """The workspace with a root ``d/p`` that has packs of its own."""
    veri = put_root(workspace, "p")
    for split in ("query", "test"):
        shutil.copytree(packs / f"pack_{split}", veri / f"pack_{split}")
    return workspace


def put_root(workspace, name):
    veri = root_without_maps(workspace, name) / "veri"
    for split in ("query", "test"):
        source = (workspace / f"d/base/veri/segment_{split}").resolve()
        (veri / f"segment_{split}").symlink_to(source)
    return veri


def at(name, change, root="p"):
    """Do something with a path in the query's pack."""
    return lambda workspace: change(workspace / "d" / root / "veri/pack_query" / name)


def flip(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(byte ^ 255 for byte in data[middle : middle + 50])
    path.write_bytes(data)


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def zero_half(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def zero_40_bytes_of_a_jpeg(path):
    data = path.read_bytes()
    start = data.index(b"\xff\xda") + 200  # in the coded data of the first picture
    path.write_bytes(data[:start] + bytes(40) + data[start + 40 :])


def instead(make):
    def put(path):
        path.unlink()
        make(path)

    return put


def says(**values):
    """The manifest with other values."""

    def change(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return at(MANIFEST, change)


def shard(**values):
    """The manifest with other values of its shard; ``times`` repeats it."""

    def change(path):
        manifest = json.loads(path.read_text())
        times = values.pop("times", 1)
        manifest["shards"] = [manifest["shards"][0] | values] * times
        path.write_text(json.dumps(manifest))

    return at(MANIFEST, change)


def text(content):
    return at(MANIFEST, lambda path: replace(path, content))


DAMAGED = r"pack d/p/veri/pack_query is damaged: "
NO_MANIFEST = (
    rf"{DAMAGED}manifest\.json cannot be read .*; delete the folder or run mtn pack --over"
)
UNUSED = r"note: d/p/veri/pack_query: not used: "

TRIALS = [
    Trial(67, "flipped bytes", CHECK, rf"{DAMAGED}the content of {SHARD} is not", at(SHARD, flip)),
    Trial(None, "a zeroed index", CHECK, rf"{DAMAGED}.*{SHARD}\.db is no", at(f"{SHARD}.db", zero)),
    Trial(
        None,
        "an empty shard",
        CHECK,
        rf"{DAMAGED}{SHARD} has 0 bytes, expected",
        at(SHARD, lambda path: path.write_bytes(b"")),
    ),
    Trial(
        None,
        "a shard is a named pipe",
        CHECK,
        rf"{DAMAGED}{SHARD} is missing",
        at(SHARD, instead(os.mkfifo)),
    ),
    Trial(None, "no text in the manifest", CHECK, NO_MANIFEST, text("")),
    Trial(None, "bytes in the manifest", CHECK, NO_MANIFEST, text(b"\xff\xfe\0")),
    Trial(None, "a list in the manifest", CHECK, NO_MANIFEST, text("[]")),
    Trial(None, "null in the manifest", CHECK, NO_MANIFEST, text("null")),
    Trial(None, "100,000 brackets in the manifest", CHECK, NO_MANIFEST, text("[" * 100_000)),
    Trial(None, "no shards in the manifest", CHECK, NO_MANIFEST, says(shards=[])),
    Trial(None, "a further key in the manifest", CHECK, NO_MANIFEST, says(further=1)),
    Trial(None, "a version that is none", CHECK, NO_MANIFEST, says(version="two")),
    Trial(None, "a shard twice", CHECK, NO_MANIFEST, shard(rows=28, times=2)),
    Trial(None, "a shard elsewhere", CHECK, NO_MANIFEST, shard(name="../pack_test/" + SHARD)),
    Trial(None, "a shard of the system", CHECK, NO_MANIFEST, shard(name="/dev/zero")),
    Trial(None, "a shard's name is a number", CHECK, NO_MANIFEST, shard(name=5)),
    Trial(None, "a shard of fewer rows", CHECK, NO_MANIFEST, shard(rows=5)),
    Trial(
        None,
        "the manifest is a named pipe",
        CHECK,
        NO_MANIFEST,
        at(MANIFEST, instead(os.mkfifo)),
    ),
    Trial(
        None,
        "the manifest is a link to itself",
        CHECK,
        NO_MANIFEST,
        at(MANIFEST, instead(lambda path: path.symlink_to(path.name))),
    ),
    Trial(
        None,
        "no manifest",
        CHECK,
        rf"{UNUSED}it has no manifest\.json; run mtn pack --overwrite",
        at(MANIFEST, Path.unlink),
        code=0,
    ),
    Trial(None, "another version", CHECK, f"{UNUSED}it has version 99", says(version=99), code=0),
    Trial(None, "another split", CHECK, f"{UNUSED}it is that of the s", says(split="test"), code=0),
    Trial(
        None,
        "other labels",
        CHECK,
        f"{UNUSED}the label file changed since",
        at("../label_query.csv", lambda path: replace(path, path.read_text() + "\n")),
        code=0,
    ),
    Trial(None, "a pack is there", PACK, "pack d/p/veri/pack_query exists; add --overwrite"),
    Trial(
        None,
        "a file for a pack",
        PACK,
        "pack d/p/veri/pack_query exists; add --overwrite",
        at("", lambda folder: (shutil.rmtree(folder), folder.write_text("mine"))),
    ),
    Trial(None, "no rows in a shard", f"{PACK} --rows_per_shard 0", "expected 1 or more", code=2),
    Trial(
        None,
        "an image is absent",
        f"{PACK} --overwrite",
        r"image_query/.*\.jpg: image does not exist; see them all with mtn check",
        at("../image_query", lambda folder: min(folder.iterdir()).unlink()),
    ),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, packed, capfd, caplog):
    check(trial, packed, capfd, caplog)


EVALUATE = """
import sys
from mtn_core.cli import main
for name in sys.argv[1:]:
    arguments = "--ckpt_path r/smoke/ckpt/last.ckpt --root d/" + name + " --out x/" + name
    limit = [] if name == "whole" else ["--set", "data.max_pixels=9"]
    print("code", main(["eval", *arguments.split(), *limit]), name, file=sys.stderr, flush=True)
"""


def test_evaluations_of_damaged_packs(workspace, packs):
    """68, 70, 448, 450: the folders serve; MindRecord ends the process on some, so it is another.

    The pixel limit ends all but one of them at their first image, which is one of a folder.
    """
    damages = {
        "68": (SHARD, flip),
        "70": (f"{SHARD}.db", zero),
        "450": (SHARD, zero_40_bytes_of_a_jpeg),
        "448": (SHARD, zero_half),
        "whole": (SHARD, zero_half),
    }
    for number, (name, damage) in damages.items():
        veri = put_root(workspace, number)
        shutil.copytree(packs / "pack_query", veri / "pack_query")
        at(name, damage, number)(workspace)
    done = subprocess.run(
        [sys.executable, "-c", EVALUATE, *damages],
        capture_output=True,
        text=True,
        env={**os.environ, "GLOG_v": "3"},
        check=False,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    for number, (name, _) in damages.items():
        said = (
            rf"WARNING .* pack d/{number}/veri/pack_query is damaged: the content of {name} is not "
            rf"what .* or run mtn pack --overwrite; reading plain folders meanwhile\n"
        )
        said += (
            r"(error: d/{0}/veri/image_query/.* pixels, more than 9.*\n|next: .*\n)?code [01] {0}\n"
        )
        assert re.search(said.format(number), done.stderr), done.stderr
        assert (workspace / "x" / number).exists() == (number == "whole")
    results, expected = (
        json.loads((workspace / run / "results.json").read_text()) for run in ("x/whole", "r/smoke")
    )
    assert results["mAP"] == expected["mAP"]
