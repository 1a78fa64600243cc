"""Trials of the commands that make data sets: prepare, prepare-veri, synth."""

import os
import shutil
from pathlib import Path

import pytest
from trial import Trial, check, replace, root_without_maps


def damage_first(folder):
    path = sorted(folder.iterdir())[0]
    data, middle = path.read_bytes(), path.stat().st_size // 2
    replace(path, data[:middle] + bytes(200) + data[middle + 200 :])


def all_but_one(folder, names):
    return sorted(names)[1:]


def crops(change=lambda folder: None):
    """A folder ``c`` of crops."""

    def put(workspace):
        folder = workspace / "c"
        shutil.copytree(workspace / "d/base/veri/image_query", folder, copy_function=os.link)
        change(folder)

    return put


def table(text, **columns):
    """A table ``t.csv`` of the query's images, given or with further columns of one value."""

    def put(workspace):
        if text is not None:
            return replace(workspace / "t.csv", text)
        lines = [",".join(["name", "pid", *columns])]
        for path in sorted((workspace / "d/base/veri/image_query").iterdir()):
            lines.append(",".join([path.name, path.name[:4], *columns.values()]))
        return replace(workspace / "t.csv", "\n".join(lines) + "\n")

    return put


def edited(change):
    """The table of the query's images, changed as a text."""

    def put(workspace):
        table(None)(workspace)
        replace(workspace / "t.csv", change((workspace / "t.csv").read_text()))

    return put


def crops_in_the_target(workspace):
    veri = root_without_maps(workspace, "in") / "veri"
    (veri / "image_query").rename(veri / "crops")


def download(change):
    def put(workspace):
        change(root_without_maps(workspace, "VeRi") / "veri")

    return put


def xml(item):
    """A download whose only labels are one item of VeRi's XML."""

    def change(folder):
        for path in folder.glob("*.csv"):
            path.unlink()
        text = f'<?xml version="1.0" encoding="gb2312"?><T><Items><Item {item}/></Items></T>'
        (folder / "train_label.xml").write_text(text)

    return download(change)


IMAGES = "prepare --images c --root d/z --pattern"
PATTERN = f"{IMAGES} '{{pid}}_c{{camid}}_*.jpg'"
CSV = "prepare --images d/base/veri/image_query --csv t.csv --root d/z"
VERI = "prepare-veri --download d/VeRi/veri --root d/z --partial"
MADE = ("d/z", "d/z/*")

TRIALS = [
    Trial(
        432,
        "prepare-veri from and to one folder",
        "prepare-veri --download d/in/veri --root d/in --partial --overwrite",
        "--download d/in/veri is the veri folder that this command makes anew .*would delete what",
        crops_in_the_target,
        code=2,
    ),
    Trial(
        433,
        "prepare from a folder in the target",
        "prepare --images d/in/veri/crops --pattern '{pid}_c{camid}_*.jpg' --root d/in --overwrite",
        "--images d/in/veri/crops lies in the veri folder that this .*would delete what it reads",
        crops_in_the_target,
        code=2,
    ),
    Trial(
        438,
        "id of 23 digits",
        CSV,
        "vehicle ids are numbered from 1, names.csv has",  # of that size it is a name
        edited(lambda text: text.replace(",0003", f",{'1' * 23}")),
        code=0,
        writes=MADE,
    ),
    Trial(
        444, "seed -1", "synth --root x/s --seed -1", "argument --seed: expected 0 to 42949", code=2
    ),
    Trial(
        445,
        "the root is a file",
        "synth --root d/base/veri/label_query.csv",
        r"label_query\.csv is not a folder, so .*label_query\.csv/veri cannot be written; choose",
    ),
    Trial(
        None,
        "the root lies in a file",
        PATTERN.replace("d/z", "f/sub"),
        "f is not a folder, so f/sub/veri cannot be written",
        crops(lambda c: replace(Path("f"), "")),
    ),
    Trial(
        None,
        "veri is a link to nothing",
        "synth --root x",
        "x/veri exists already; choose another",
        lambda w: (w / "x/veri").symlink_to("nowhere"),
    ),
    Trial(None, "an empty root", PATTERN.replace("d/z", "''"), "--root: expected a path", code=2),
    Trial(
        None,
        "the target in the source",
        PATTERN.replace("d/z", "c"),
        "c/veri, which this command makes, lies in --images c, which it reads",
        crops(),
        code=2,
    ),
    Trial(
        None,
        "no images",
        PATTERN,
        r"c and its subfolders have no image \(\.jpg",
        lambda w: (w / "c").mkdir(),
    ),
    Trial(
        None,
        "a pattern that fits nothing",
        f"{IMAGES} '{{pid}}.png'",
        "no image in c can be used: 0003_c003.* does not match .*58 in all",
        crops(),
    ),
    Trial(
        None,
        "a JPEG with a hole",
        PATTERN,
        r"0003_c003_\d+_0\.jpg: is a damaged JPEG.*Nothing was",
        crops(damage_first),
    ),
    Trial(
        None,
        "a JPEG with a hole, left out",
        f"{PATTERN} --skip_bad",
        r"left out: 0003_c003_\d+_0\.jpg: is a damaged JPEG",
        crops(damage_first),
        code=0,
        writes=MADE,
    ),
    Trial(
        None,
        "a name that is no text",
        PATTERN,
        r"\\udcff\.jpg: the name is not UTF-8 text; ren",
        crops(lambda c: Path(os.fsdecode(bytes(c) + b"/4_c1_\xff.jpg")).touch()),
    ),
    Trial(
        None,
        "one image",
        PATTERN,
        "note: the split query is empty",
        lambda w: shutil.copytree(w / "d/base/veri/image_query", w / "c", ignore=all_but_one),
        code=0,
        writes=MADE,
    ),
    Trial(
        None,
        "nothing to test with",
        f"{PATTERN} --test_share 0",
        "note: the split test is empty",
        crops(),
        code=0,
        writes=MADE,
    ),
    Trial(
        None,
        "test share nan",
        f"{PATTERN} --test_share nan",
        "--test_share must be 0..1; got nan",
        crops(),
        code=2,
    ),
    Trial(
        None,
        "a column twice",
        CSV,
        r"t\.csv has a column twice: pid",
        edited(
            lambda text: "".join(f"{line},5\n" for line in text.splitlines()).replace(
                "name,pid,5", "name,pid,pid"
            )
        ),
    ),
    Trial(
        None,
        "a column that nobody knows",
        CSV,
        r"columns of t\.csv that are not used: colour",
        table(None, colour="1"),
        code=0,
        writes=MADE,
    ),
    Trial(
        None,
        "one file under two names",
        CSV,
        r"rows contradict each other: 0003_c003_\d+_0\.jpg",
        edited(lambda text: text + f"./{text.splitlines()[1].split(',')[0]},9\n"),
    ),
    Trial(
        None,
        "ids of both kinds",
        CSV,
        "vehicle ids are numbered from 1, names.csv has the names: 0006 is 1",
        edited(lambda text: text.replace(",0003", ",car")),
        code=0,
        writes=MADE,
    ),
    Trial(
        None,
        "vehicles in both splits",
        CSV,
        "1 vehicles are trained on and tested with: 3; results",
        edited(
            lambda text: "".join(
                f"{line},{'split' if k == 0 else 'test' if k == 1 else 'train'}\n"
                for k, line in enumerate(text.splitlines())
            )
        ),
        code=0,
        writes=MADE,
    ),
    Trial(
        None,
        "a row too long",
        CSV,
        r"t\.csv cannot be read as a CSV \(Expected 2 fields in line 60",
        edited(lambda text: f"{text}a,1,2,3\n"),
    ),
    Trial(
        None,
        "a table that is an image",
        CSV,
        r"t\.csv cannot be read as a CSV .*decode byte",
        table(b"\xff\xd8\xff"),
    ),
    Trial(
        None,
        "a table that is a named pipe",
        CSV,
        r"t\.csv is not a regular file",
        lambda w: os.mkfifo(w / "t.csv"),
    ),
    Trial(None, "an empty table", CSV, r"t\.csv cannot be read as a CSV", table("")),
    Trial(
        None, "colour puce", CSV, "color_id must be 1 to 10, a name", table(None, color_id="puce")
    ),
    Trial(None, "camera -3", CSV, "camid must be 0 or more", table(None, camid="-3")),
    Trial(
        None,
        "a download without labels",
        VERI,
        "no label files in d/VeRi/veri; expected label_tr",
        download(lambda folder: [path.unlink() for path in folder.glob("*.csv")]),
    ),
    Trial(
        None,
        "a download without a folder",
        VERI,
        "image_test is missing; --download must hold",
        download(lambda folder: shutil.rmtree(folder / "image_test")),
    ),
    Trial(
        None,
        "a download of something else",
        VERI.replace(" --partial", ""),
        "not the official VeRi: train has 245 images, VeRi has 37778.*Nothing was written",
        download(lambda folder: None),
    ),
    Trial(
        None,
        "colour 0 in VeRi's XML",
        VERI,
        r"train_label\.xml: 0035_c001_1\.jpg: colour id is 0",
        xml('imageName="0035_c001_1.jpg" vehicleID="35" colorID="0"'),
    ),
    Trial(
        None,
        "labels of other images",
        VERI,
        "none of the 1 labels has its image in .*0035_c001_1",
        xml('imageName="0035_c001_1.jpg" vehicleID="35"'),
    ),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)
