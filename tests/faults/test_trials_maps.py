"""Trials of pose maps."""

import shutil
from pathlib import Path

import pytest
from pictures import NAME, encoded, instead, png
from PIL import Image
from trial import Trial, check, replace, root_without_maps

from mtn_core.cli import main


def maps(change, kind="heatmap"):
    """A root ``d/m`` with maps of the queries; those of the first one may be damaged."""

    def put(workspace):
        root_without_maps(workspace, "m")
        folder = Path("d/m/veri", f"{kind}_query")
        folder.mkdir()
        for source in (workspace / f"d/base/veri/{kind}_query").resolve().iterdir():
            if source.name != NAME:
                (folder / source.name).symlink_to(source)
        shutil.copytree(Path("d/base/veri", f"{kind}_query", NAME), folder / NAME)
        change(folder / NAME)

    return put


def foreign(name):
    """A root ``d/m`` where a folder's name is that of a file."""
    return lambda workspace: replace(root_without_maps(workspace, "m") / "veri" / name, "mine")


CHECK = "check --root d/m --splits query"
DRAW = "draw-pose --root d/m --splits query"
TRIALS = [
    Trial(
        62,
        "two folders of heatmaps",
        CHECK,
        f"{NAME}.jpg: is not the only heatmap folder of "
        f"{NAME}.jpg: .*{NAME} is there, too; delete the one that is wrong",
        maps(lambda folder: shutil.copytree(folder, f"{folder}.jpg")),
    ),
    Trial(
        None,
        "a map is absent",
        CHECK,
        f"{NAME}: 35 files, expected 36; missing 03.jpg",
        maps(lambda folder: (folder / "03.jpg").unlink()),
    ),
    Trial(
        None,
        "a map too many",
        CHECK,
        f"{NAME}: 37 files, expected 36; unexpected 36.jpg",
        maps(lambda folder: (folder / "36.jpg").touch()),
    ),
    Trial(
        None,
        "a map under a false name",
        CHECK,
        "missing 03.jpg; unexpected 03.png",
        maps(lambda folder: (folder / "03.jpg").rename(folder / "03.png")),
    ),
    Trial(
        None,
        "a map is a crop",
        CHECK,
        "03.jpg: is 80x60 pixels, expected 64x64",
        maps(lambda folder: replace(folder / "03.jpg", encoded("JPEG"))),
    ),
    Trial(
        None,
        "a map is empty",
        CHECK,
        f"{NAME}/03.jpg: is empty",
        maps(lambda folder: replace(folder / "03.jpg", b"")),
    ),
    Trial(
        None,
        "a map is a folder",
        CHECK,
        f"{NAME}/03.jpg: cannot be read: it is a folder",
        maps(lambda folder: instead(folder / "03.jpg", Path.mkdir)),
    ),
    Trial(
        None,
        "a map of 400 million pixels",
        CHECK,
        "03.jpg: has 20000x20000 = 400000000 pix",
        maps(lambda folder: replace(folder / "03.jpg", png(20_000, 20_000))),
    ),
    Trial(
        None,
        "a file for a folder of maps",
        CHECK,
        f"{NAME}.jpg: heatmap folder is missing",
        maps(lambda folder: instead(folder, Path.touch)),
    ),
    Trial(
        None,
        "segments as heatmaps",
        CHECK,
        "13 files, expected 36; missing 13.jpg",
        lambda w: (root_without_maps(w, "m") / "veri/heatmap_query").symlink_to(
            (w / "d/base/veri/segment_query").resolve()
        ),
    ),
    Trial(
        None,
        "a file for all heatmaps",
        CHECK,
        "heatmap_query: is no folder, but heatmaps lie",
        foreign("heatmap_query"),
    ),
    Trial(
        None,
        "a file for all heatmaps [draw-pose]",
        DRAW,
        "hold files, or are something else: .*he",
        foreign("heatmap_query"),
    ),
    Trial(
        None,
        "maps are there [draw-pose]",
        DRAW,
        "map folders already hold files.*heatmap_query",
        maps(lambda folder: None),
    ),
    Trial(
        None,
        "the maps are incomplete [pack]",
        "pack --root d/m --splits query",
        f"{NAME}: 35 files, expected 36; missing 03.jpg; see them all with mtn check",
        maps(lambda folder: (folder / "03.jpg").unlink()),
    ),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)


def test_maps_of_an_image_that_exif_turns(workspace, capfd):
    """63: they are those of the upright picture; those of the picture as it is stored are told."""
    upright, turned = (root_without_maps(workspace, name) / "veri" for name in ("u", "e"))
    for veri in (upright, turned):
        row = (veri / "label_query.csv").read_text().split("\n")[0]
        replace(veri / "label_query.csv", f"{row}\n")
    path = turned / "image_query" / f"{NAME}.jpg"
    stored = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    path.unlink()
    stored.save(path, exif=exif)
    for root in ("d/u", "d/e"):
        assert main(["draw-pose", "--root", root, "--splits", "query"]) == 0
    for kind in ("heatmap", "segment"):
        drawn = [sorted((veri / f"{kind}_query" / NAME).iterdir()) for veri in (upright, turned)]
        assert len(drawn[0]) == len(drawn[1]) > 12
        for one, other in zip(*drawn, strict=True):
            assert one.read_bytes() == other.read_bytes()
    assert main(["check", "--root", "d/e", "--splits", "query"]) == 0
    stored.save(path)  # without EXIF, and maps drawn for that
    assert main(["draw-pose", "--root", "d/e", "--splits", "query", "--overwrite"]) == 0
    stored.save(path, exif=exif)
    capfd.readouterr()
    assert main(["check", "--root", "d/e", "--splits", "query"]) == 1
    assert "but the maps are drawn for 130x203; mtn draw-pose --overwrite" in capfd.readouterr().out
