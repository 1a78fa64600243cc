"""Trials of label files and of data roots."""

import os
import shutil
from pathlib import Path

import pytest
from trial import Trial, check, replace, root_without_maps

from mtn_core.cli import main

FAST = "--segmentaware False --heatmapaware False --splits query --fast"
CHECK = f"check --root d/l {FAST}"
NO_KEYPOINTS = ",0" * 108


def labels(change, split="query"):
    """A root ``d/l`` with other labels: a text, bytes, or a change of those that are there."""

    def put(workspace):
        path = root_without_maps(workspace, "l") / "veri" / f"label_{split}.csv"
        replace(path, change(path.read_text()) if callable(change) else change)

    return put


def cell(column, value):
    """Other labels whose first row has this value."""

    def change(text):
        first, rest = text.split("\n", 1)
        cells = first.split(",")
        cells[column] = value
        return f"{','.join(cells)}\n{rest}"

    return labels(change)


def one_more(name):
    return labels(lambda text: f"{text}{name},1,1,1{NO_KEYPOINTS}\n")


def in_place(make):
    """A root ``d/l`` where the query's label file is something else."""

    def put(workspace):
        path = root_without_maps(workspace, "l") / "veri" / "label_query.csv"
        path.unlink()
        make(path)

    return put


def leaking(workspace):
    """A root ``d/leak`` where one row of the gallery is a training vehicle."""
    veri = root_without_maps(workspace, "leak") / "veri"
    pid = (veri / "label_train.csv").read_text().split(",")[1]
    cells = (veri / "label_test.csv").read_text().split(",")
    replace(veri / "label_test.csv", ",".join([cells[0], pid, *cells[2:]]))


def same_split(workspace):
    """A root ``d/leak`` whose gallery is its training split."""
    veri = root_without_maps(workspace, "leak") / "veri"
    replace(veri / "label_test.csv", (veri / "label_train.csv").read_text())
    shutil.rmtree(veri / "image_test")
    shutil.copytree(veri / "image_train", veri / "image_test", copy_function=os.link)


TRIALS = [
    Trial(
        20,
        "camera number of 23 digits",
        CHECK,
        r"label_query\.csv: row 1: name .* has camera 30{21}3, expected a number below",
        labels(lambda text: text.replace("_c003_", f"_c3{'0' * 21}3_", 1)),
    ),
    Trial(
        21,
        "unbalanced quote in row 1",
        CHECK,
        r"label_query\.csv: cannot be read beyond line 58 .*quotation mark without its partner",
        labels('"{}'.format),
    ),
    Trial(
        22,
        "field of 200 kB",
        CHECK,
        r"label_query\.csv: cannot be read beyond line 59 .*quotation mark without its partner",
        labels(lambda text: text + '"' + "a" * 200_000),
    ),
    Trial(None, "no rows", CHECK, r"label_query\.csv: split 'query' is empty", labels("\n\n")),
    Trial(
        None,
        "a folder",
        CHECK,
        r"label_query\.csv: is no regular file; expected rows",
        in_place(Path.mkdir),
    ),
    Trial(
        None, "a named pipe", CHECK, r"label_query\.csv: is no regular file", in_place(os.mkfifo)
    ),
    Trial(
        None,
        "a link to itself",
        CHECK,
        r"label_query\.csv: is no regular file",
        in_place(lambda path: path.symlink_to(path.name)),
    ),
    Trial(
        None,
        "UTF-16",
        CHECK,
        r"label_query\.csv: is not UTF-8 text .*; save it as UTF-8",
        labels(lambda text: text.encode("utf-16")),
    ),
    Trial(
        None,
        "semicolons",
        CHECK,
        "row 1: 1 columns, expected 112",
        labels(lambda text: text.replace(",", ";")),
    ),
    Trial(
        None,
        "a header",
        CHECK,
        "row 1: name 'name' has no camera; expected _cNNN as in",
        labels(lambda text: f"name,pid,color,type{',x,y,c' * 36}\n{text}"),
    ),
    Trial(
        None,
        "a byte order mark and Windows' line ends",
        CHECK,
        "no problems",
        labels(lambda text: ("\ufeff" + text.replace("\n", "\r\n")).encode()),
        code=0,
    ),
    Trial(
        None,
        "NUL in a name",
        CHECK,
        "row 1: name .* has a line break or another control char",
        labels(lambda text: text.replace(",", "\0,", 1)),
    ),
    Trial(
        None,
        "a line break in a name",
        CHECK,
        r"row 59: name 'a_c001_\\n1\.jpg' has a line break",
        one_more('"a_c001_\n1.jpg"'),
    ),
    Trial(
        None,
        "a path in a name",
        CHECK,
        r"name '\.\./a_c001_1\.jpg' has a path in it",
        one_more("../a_c001_1.jpg"),
    ),
    Trial(
        None,
        "a name of 300 characters",
        CHECK,
        "row 59: name .* is longer than 255 bytes",
        one_more(f"a_c001_{'1' * 300}.jpg"),
    ),
    Trial(None, "id nan", CHECK, "row 1: a value is nan or infinite", cell(1, "nan")),
    Trial(None, "id 1_000", CHECK, "column 2 is '1_000', expected a number", cell(1, "1_000")),
    Trial(None, "id in Arabic digits", CHECK, "column 2 is '.', expected a n", cell(1, "\u0663")),
    Trial(None, "id 0x10", CHECK, "column 2 is '0x10', expected a number", cell(1, "0x10")),
    Trial(None, "id -1", CHECK, "vehicle id is -1, expected 0 or more", cell(1, "-1")),
    Trial(None, "colour 0", CHECK, "colour id is 0, expected 1 or more, or -1", cell(2, "0")),
    Trial(None, "colour 11", CHECK, r"color_id above 10: 0003_c003_\d+_0\.jpg", cell(2, "11")),
    Trial(None, "keypoint at 1e39", CHECK, "nan or infinite, or too large for", cell(4, "1e39")),
    Trial(
        None,
        "keypoint at 1e9",
        CHECK,
        "keypoints more than 1048576 pixels away: 0003_c003",
        cell(4, "1e9"),
    ),
    Trial(
        None,
        "confidence in percent",
        CHECK,
        "confidences that are not 0 to 1.*: 0003_c003",
        cell(6, "95"),
    ),
    Trial(
        None,
        "labels of another split",
        CHECK,
        r"0001_c\d+_\d+_0\.jpg: image does not exist",
        lambda w: labels((w / "d/base/veri/label_train.csv").read_text())(w),
    ),
    Trial(
        None,
        "an empty path",
        "check --root ''",
        "argument --root: expected a path, got an empt",
        code=2,
    ),
    Trial(None, "the root is veri", f"check --root d/base/veri {FAST}", "--root must hold veri/"),
    Trial(
        None,
        "the root is a link to itself",
        "check --root loop",
        "loop/veri: folder is missing",
        lambda w: (w / "loop").symlink_to("loop"),
    ),
    Trial(
        None,
        "a file name that is no text",
        CHECK,
        r"1 files without a label: \\udcff\.jpg",
        lambda w: (
            root_without_maps(w, "l"),
            Path(os.fsdecode(b"d/l/veri/image_query/\xff.jpg")).touch(),
        ),
        code=0,
    ),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)


@pytest.mark.parametrize(
    ("number", "leak", "command", "expected"),
    [
        (18, leaking, "train --recipe smoke --set train.eval_every=0", "1 vehicles and 0 images"),
        (None, leaking, "train --recipe smoke --set train.eval_every=1", "1 vehicles and 0 images"),
        (
            473,
            same_split,
            "eval --ckpt_path r/smoke/ckpt/last.ckpt --set",
            "24 vehicles and 245 im",
        ),
    ],
)
def test_vehicles_that_are_trained_on_and_tested(
    number, leak, command, expected, workspace, capfd, caplog
):
    """18 and 473: said before the work starts, which the pixel limit ends here."""
    leak(workspace)
    for split in ("train", "query", "test"):
        source = (workspace / f"d/base/veri/segment_{split}").resolve()
        (workspace / f"d/leak/veri/segment_{split}").symlink_to(source)
    if leak is same_split:
        (workspace / "d/leak/veri/segment_test").unlink()
        (workspace / "d/leak/veri/segment_test").symlink_to("segment_train")
    assert main([*command.split(), "data.max_pixels=9", "--root", "d/leak", "--out", "x/r"]) == 1
    assert f"{expected}" in caplog.text and "are also in its training split" in caplog.text
    assert caplog.text.count("too good") == 1
    assert "pixels, more than 9; shrink it" in capfd.readouterr().err
    assert not (workspace / "x/r").exists()
