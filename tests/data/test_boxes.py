import json

import numpy as np
import pytest
from PIL import Image

from mtn_core.cli import main
from mtn_core.data.images import read_image
from mtn_core.data.prepare.boxes import read_boxes
from mtn_core.data.prepare.folder import prepare_folder
from mtn_core.data.split import load_split
from mtn_core.errors import ConfigError, DataError

# Two frames of 100x80, each with a red box of 20x10 at (30, 20) and a green one at (70, 50).
CORNERS = {"red": (30, 20, 50, 30), "green": (70, 50, 90, 60)}


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in (0, 1):
        pixels = np.zeros((80, 100, 3), np.uint8)
        pixels[20:30, 30:50, 0] = pixels[50:60, 70:90, 1] = 250
        Image.fromarray(pixels).save(folder / f"{n:06d}.png")
    return folder


def cvat_images(boxes):
    items = "".join(
        f'<image id="{n}" name="{n:06d}.png" width="100" height="80">'
        + "".join(
            f'<box label="car" xtl="{c[0]}" ytl="{c[1]}" xbr="{c[2]}" ybr="{c[3]}">'
            f'<attribute name="vehicle_id">{name}</attribute>'
            f'<attribute name="camera">cam{n + 1}</attribute>'
            f'<attribute name="color">{name}</attribute></box>'
            for name, c in boxes.items()
        )
        + "</image>"
        for n in (0, 1)
    )
    return f"<?xml version='1.0'?><annotations>{items}</annotations>"


def cvat_video(boxes):
    tracks = "".join(
        f'<track id="{t}" label="car">'
        + "".join(
            f'<box frame="{n}" outside="{int(n == 2)}" xtl="{c[0]}" ytl="{c[1]}" xbr="{c[2]}" '
            f'ybr="{c[3]}"/>'
            for n in (0, 1, 2)
        )
        + "</track>"
        for t, c in enumerate(boxes.values())
    )
    return f"<annotations>{tracks}</annotations>"


def coco(boxes):
    return json.dumps(
        {
            "images": [{"id": n + 5, "file_name": f"{n:06d}.png"} for n in (0, 1)],
            "annotations": [
                {
                    "image_id": n + 5,
                    "bbox": [c[0], c[1], c[2] - c[0], c[3] - c[1]],
                    "attributes": {"pid": name, "camera": f"cam{n + 1}", "color": name},
                }
                for n in (0, 1)
                for name, c in boxes.items()
            ],
        }
    )


def write(tmp_path, text):
    path = tmp_path / "boxes.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("form", [cvat_images, coco, cvat_video])
def test_boxes_become_crops(frames, tmp_path, form):
    root = tmp_path / "root"
    path = write(tmp_path, form(CORNERS))
    report = prepare_folder(
        frames, root, boxes=path, margin=0, test_share=0, copy=False, progress=False
    )
    assert report.images == {"train": 4} and report.ids == {"train": 2}
    split = load_split(root, "train")
    if form is not cvat_video:
        assert sorted(split.frame["color_id"].tolist()) == [3, 3, 5, 5]
        assert sorted(split.frame["camid"].tolist()) == [1, 1, 2, 2]
    shades = []
    for row in range(4):
        pixels = read_image(split.image_path(row))
        assert pixels.shape == (10, 20, 3)
        shades.append((split.frame["pid"][row], int(pixels.mean((0, 1)).argmax())))
    assert len(set(shades)) == 2 and pixels.max() > 200


def test_a_margin_goes_as_far_as_the_frame(frames, tmp_path):
    path = write(tmp_path, coco({"red": (30, 20, 50, 30), "green": (90, 70, 100, 80)}))
    prepare_folder(frames, tmp_path / "root", boxes=path, margin=0.5, test_share=0, progress=False)
    split = load_split(tmp_path / "root", "train")
    sizes = {read_image(split.image_path(row)).shape[:2] for row in range(4)}
    assert sizes == {(20, 40), (15, 15)}
    with pytest.raises(ConfigError, match=r"--margin must be 0\.\.1"):
        prepare_folder(frames, tmp_path / "other", boxes=path, margin=2, progress=False)


def test_what_cannot_be_cut_is_named_with_the_reason(frames, tmp_path, capsys):
    text = coco(CORNERS | {"tiny": (0, 0, 3, 3), "turned": (50, 30, 30, 20)})
    path = write(tmp_path, text.replace("000001.png", "../frames/000001.png"))
    arguments = ["prepare", "--images", str(frames), "--boxes", str(path), "--test_share", "0"]
    arguments += ["--root", str(tmp_path / "root")]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "../frames/000001.png: does not exist" in said and "smaller than 8 pixels" in said
    assert not (tmp_path / "root" / "veri").exists()
    assert main([*arguments, "--skip_bad"]) == 0
    assert len(load_split(tmp_path / "root", "train")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither CVAT's XML nor COCO's JSON"),
        ("[1]", "neither CVAT's XML nor COCO's JSON"),
        ("<annotations>", "neither CVAT's XML nor COCO's JSON"),
        ("<annotations/>", "has no boxes"),
        ('{"images": [], "annotations": []}', "has no boxes"),
        ('{"images": [], "annotations": [{"image_id": 3, "bbox": [1, 2, 3, 4]}]}', "KeyError"),
        (coco({"": (1, 1, 20, 20)}), "every box needs a vehicle"),
        ("[" * 10**5, "neither CVAT's XML nor COCO's JSON"),
    ],
)
def test_files_that_are_no_boxes(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path, text))
