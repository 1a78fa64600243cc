"""What `mtn check` finds, and what a run demands before it starts (property 8)."""

import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from mtn_core.config import ModelConfig
from mtn_core.data.check import CheckReport, check_dataset
from mtn_core.data.labels import load_labels, write_labels
from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.pose_maps import draw_pose
from mtn_core.data.presence import Problem, check_needed_files
from mtn_core.data.source import open_source
from mtn_core.data.split import load_split
from mtn_core.errors import ConfigError, DataError


def one_problem(root, **options):
    report = check_dataset(root, **options)
    assert len(report.problems) == 1, report.to_text()
    assert not report.ok
    return str(report.problems[0])


def first_image(root, split="train"):
    return sorted((root / "veri" / f"image_{split}").iterdir())[0]


def label_lines(root, split="train"):
    return (root / "veri" / f"label_{split}.csv").read_text().splitlines()


def write_lines(root, lines, split="train"):
    (root / "veri" / f"label_{split}.csv").write_text("\n".join(lines) + "\n")


def test_a_good_data_set_has_no_problems(tiny_root):
    report = check_dataset(tiny_root, heatmaps=True, segments=True)
    assert report.ok, report.to_text()
    assert report.counts["train"] == {
        "images": 18,
        "ids": 6,
        "cameras": 3,
        "images with keypoints": 18,
    }
    assert "no problems" in report.to_text()
    report.raise_if_bad()


def test_synthveri_and_the_real_crops_pass(smoke_root, shared_data):
    assert check_dataset(smoke_root, heatmaps=True, segments=True).ok
    real = check_dataset(shared_data / "real_vehicles")
    assert real.ok, real.to_text()
    assert any("color_id unknown in 250 of 250" in str(n) for n in real.notes)


def test_no_veri_folder(tmp_path):
    assert "veri: folder is missing" in one_problem(tmp_path)
    with pytest.raises(DataError, match="must be the folder that holds veri/"):
        load_split(tmp_path, "train")


def test_a_missing_split_folder(tiny_root):
    shutil.rmtree(tiny_root / "veri" / "image_query")
    assert "image_query: folder is missing" in one_problem(tiny_root)
    with pytest.raises(DataError, match="image_query is missing"):
        load_split(tiny_root, "query")
    assert check_dataset(tiny_root, splits=["train"]).ok, "only what is asked for"


def test_a_missing_label_file(tiny_root):
    (tiny_root / "veri" / "label_test.csv").unlink()
    assert "label_test.csv: is missing" in one_problem(tiny_root)
    with pytest.raises(DataError, match=r"label_test\.csv is missing; expected rows of 112"):
        load_split(tiny_root, "test")


def test_a_split_without_labels_hides_no_problem_of_the_next(tiny_root):
    for split in ("train", "test"):
        (tiny_root / "veri" / f"label_{split}.csv").unlink()
    missing = [str(p) for p in check_dataset(tiny_root).problems]
    assert len(missing) == 2 and "label_train" in missing[0] and "label_test" in missing[1]


def test_bad_rows_are_listed_with_their_file(tiny_root):
    lines = label_lines(tiny_root)
    lines[0] = lines[0].rsplit(",", 1)[0]
    lines[3] = lines[3].replace(",", ",x", 1)
    lines[5] = lines[4]
    write_lines(tiny_root, lines)
    texts = [str(p) for p in check_dataset(tiny_root).problems]
    assert len(texts) == 3
    assert all("label_train.csv: row" in t for t in texts)
    assert "111 columns" in texts[0]


def test_a_file_that_is_no_csv_is_one_problem(tiny_root, csv_limit):
    lines = label_lines(tiny_root)
    write_lines(tiny_root, [lines[0], f'"{lines[1]}', "x" * 2**17])
    problem = one_problem(tiny_root)
    assert "label_train.csv: cannot be read beyond line 3" in problem
    assert "quotation mark without its partner" in problem
    with pytest.raises(DataError, match=r"label_train\.csv cannot be read beyond line 3"):
        load_split(tiny_root, "train")


def test_a_camera_beyond_any_number_is_a_bad_row(tiny_root):
    lines = label_lines(tiny_root)
    write_lines(tiny_root, [lines[0].replace("_c001_", f"_c{2**31}_"), *lines[1:]])
    assert f"row 1: name '0001_c{2**31}_" in one_problem(tiny_root)


def test_an_empty_split(tiny_root):
    write_lines(tiny_root, [], "query")
    assert "split 'query' is empty" in one_problem(tiny_root)
    with pytest.raises(DataError, match="split 'query' is empty"):
        load_split(tiny_root, "query")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "image does not exist"),
        (b"", "is empty"),
        (b"no picture", "is not an image"),
        ("cut", "is a truncated JPEG"),
    ],
)
def test_images_that_cannot_be_used(tiny_root, content, message):
    path = first_image(tiny_root)
    if content is None:
        path.unlink()
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        path.write_bytes(content)
    problem = one_problem(tiny_root)
    assert path.name in problem
    assert message in problem
    assert check_dataset(tiny_root, decode=False).ok == (content is not None)


def test_an_image_without_a_label_is_only_noted(tiny_root):
    shutil.copy(first_image(tiny_root), tiny_root / "veri" / "image_train" / "0999_c001_1_0.jpg")
    report = check_dataset(tiny_root)
    assert report.ok
    assert any("1 files without a label: 0999_c001_1_0.jpg" in str(n) for n in report.notes)


@pytest.mark.parametrize(("kind", "count"), [("heatmap", 36), ("segment", 13)])
def test_map_folders_must_be_complete(tiny_root, kind, count):
    folder = sorted((tiny_root / "veri" / f"{kind}_train").iterdir())[0]
    (folder / "07.jpg").unlink()
    problem = one_problem(tiny_root)
    assert f"{count - 1} files, expected {count}; missing 07.jpg" in problem
    assert folder.name in problem
    shutil.rmtree(folder)
    assert f"{kind} folder is missing" in one_problem(tiny_root)


def test_maps_that_cannot_be_used(tiny_root):
    folder = sorted((tiny_root / "veri" / "heatmap_query").iterdir())[0]
    (folder / "03.jpg").write_bytes(b"?")
    assert "03.jpg: is not an image" in one_problem(tiny_root)
    cv2.imwrite(str(folder / "03.jpg"), np.zeros((56, 64), np.uint8))
    assert "03.jpg: is 64x56 pixels, expected 64x64" in one_problem(tiny_root)
    assert check_dataset(tiny_root, heatmaps=False).ok, "heatmaps were not asked for"


def test_map_folders_may_carry_the_full_image_name(tiny_root):
    veri = tiny_root / "veri"
    for folder in list((veri / "heatmap_test").iterdir()):
        folder.rename(folder.with_name(folder.name + ".jpg"))
    assert check_dataset(tiny_root, heatmaps=True).ok
    split = load_split(tiny_root, "test")
    assert split.heatmap_dir(0).name.endswith(".jpg")
    assert not split.segment_dir(0).name.endswith(".jpg")


def test_a_train_id_that_is_also_a_test_id(tiny_root):
    lines = label_lines(tiny_root, "test")
    cells = lines[0].split(",")
    cells[1] = "2"
    lines[0] = ",".join(cells)
    write_lines(tiny_root, lines, "test")
    assert "1 ids are also training ids: 2" in one_problem(tiny_root)


def test_a_test_image_that_is_also_a_training_image(tiny_root):
    lines = label_lines(tiny_root, "test")
    name = label_lines(tiny_root)[4].split(",")[0]
    lines[0] = ",".join([name, *lines[0].split(",")[1:]])
    write_lines(tiny_root, lines, "test")
    shutil.copy(tiny_root / "veri" / "image_train" / name, tiny_root / "veri" / "image_test")
    for kind in ("heatmap", "segment"):
        folder = tiny_root / "veri" / f"{kind}_train" / name.removesuffix(".jpg")
        shutil.copytree(folder, tiny_root / "veri" / f"{kind}_test" / folder.name)
    assert f"1 images are training images: {name}; results would be" in one_problem(tiny_root)


def test_an_image_with_two_map_folders(tiny_root):
    folder = sorted((tiny_root / "veri" / "heatmap_train").iterdir())[2]
    twin = folder.with_name(folder.name + ".jpg")
    shutil.copytree(folder, twin)
    problem = one_problem(tiny_root)
    assert f"{twin}: is not the only heatmap folder of {twin.name}: {folder} is there" in problem
    split = load_split(tiny_root, "train")
    with pytest.raises(DataError, match="is not the only heatmap folder"):
        open_source(split, heatmaps=True, segments=False)
    open_source(split, heatmaps=False, segments=True)
    shutil.rmtree(folder)
    assert check_dataset(tiny_root).ok


def test_two_images_that_share_a_map_folder(tiny_root):
    image = first_image(tiny_root)
    twin = image.with_suffix(".png")
    shutil.copy(image, twin)
    lines = label_lines(tiny_root)
    write_lines(tiny_root, [*lines, lines[0].replace(".jpg", ".png", 1)])
    texts = [str(p) for p in check_dataset(tiny_root, segments=False).problems]
    assert len(texts) == 2
    assert all("is the heatmap folder of 2 images with the same stem" in text for text in texts)
    with pytest.raises(DataError, match=rf"would share a folder.*{image.name}, {twin.name}"):
        draw_pose(tiny_root, splits=["train"], overwrite=True, progress=False)


@pytest.mark.timeout(300)
def test_files_that_are_no_images_are_named_at_once(tiny_root):
    pipe, folder = sorted((tiny_root / "veri" / "image_train").iterdir())[:2]
    pipe.unlink()
    os.mkfifo(pipe)
    folder.unlink()
    folder.mkdir()
    maps = sorted((tiny_root / "veri" / "heatmap_test").iterdir())[0] / "05.jpg"
    maps.unlink()
    os.mkfifo(maps)
    texts = [str(p) for p in check_dataset(tiny_root).problems]
    assert texts == [
        f"{pipe}: cannot be read: it is a named pipe, expected a regular file",
        f"{folder}: cannot be read: it is a folder, expected a regular file",
        f"{maps}: cannot be read: it is a named pipe, expected a regular file",
    ]


def test_a_damaged_map_is_named(tiny_root):
    path = max((tiny_root / "veri" / "segment_test").rglob("*.jpg"), key=lambda p: p.stat().st_size)
    data = path.read_bytes()
    path.write_bytes(data[: (data.rfind(b"\xff\xda") + len(data)) // 2] + b"\xff\xd9")
    assert f"{path}: is a damaged JPEG" in one_problem(tiny_root)


def test_the_pixel_limit_of_a_check(tiny_root, monkeypatch):
    monkeypatch.setenv("MTN_MAX_PIXELS", "8000")
    texts = [str(p) for p in check_dataset(tiny_root, splits=["query"]).problems]
    assert texts
    assert all("more than 8000; shrink it, or raise data.max_pixels (" in t for t in texts)
    monkeypatch.setenv("MTN_MAX_PIXELS", "all")
    with pytest.raises(ConfigError, match="MTN_MAX_PIXELS must be"):
        check_dataset(tiny_root)


def turn(path, orientation=6):
    """Store an image so that EXIF turns it upright to what it was; the stored size is returned."""
    undo = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    with Image.open(path) as image:
        stored = image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path, quality=95, exif=exif)
    return stored.size


def test_an_image_that_exif_turns_is_noted(tiny_root):
    path = first_image(tiny_root)
    turn(path, 3)
    report = check_dataset(tiny_root)
    assert report.ok, report.to_text()
    assert any("1 images are turned upright as their EXIF says" in str(n) for n in report.notes)
    assert any(str(n).endswith(path.name) for n in report.notes)
    turn(first_image(tiny_root, "query"))
    assert check_dataset(tiny_root).ok


def test_keypoints_of_the_picture_as_it_is_stored(tiny_root):
    path = first_image(tiny_root, "query")
    width, height = turn(path)
    label = tiny_root / "veri" / "label_query.csv"
    frame, keypoints = load_labels(label)
    keypoints = keypoints.copy()
    keypoints[0, :, :2] = np.linspace([0, 0], [width, height], 36)
    write_labels(label, frame, keypoints)
    draw_pose(tiny_root, splits=["query"], overwrite=True, progress=False)
    problem = one_problem(tiny_root, splits=["query"])
    assert f"{path}: EXIF turns it upright to {height}x{width}, but its keypoints lie" in problem


def test_heatmaps_of_the_picture_as_it_is_stored(tiny_root):
    from mtn_core.data.pose_maps import draw_heatmaps, write_map_files

    path = first_image(tiny_root, "query")
    folder = tiny_root / "veri" / "heatmap_query" / path.stem
    stored = turn(path)
    label = tiny_root / "veri" / "label_query.csv"
    frame, keypoints = load_labels(label)
    keypoints = keypoints.copy()
    keypoints[0, :, :2] = np.linspace([0, 0], [min(stored)] * 2, 36)  # inside either way
    write_labels(label, frame, keypoints)
    write_map_files(folder, draw_heatmaps(keypoints[:1], np.array([stored]))[0])
    problem = one_problem(tiny_root, splits=["query"])
    assert f"{folder}: EXIF turns the image upright to {stored[1]}x{stored[0]}, but the" in problem
    draw_pose(tiny_root, splits=["query"], overwrite=True, progress=False)
    assert check_dataset(tiny_root, splits=["query"]).ok
    shutil.rmtree(folder.parent)
    assert check_dataset(tiny_root, splits=["query"]).ok


def test_classes_beyond_veris(tiny_root):
    lines = label_lines(tiny_root)
    cells = lines[0].split(",")
    cells[2] = "11"
    write_lines(tiny_root, [",".join(cells), *lines[1:]])
    assert "color_id above 10" in one_problem(tiny_root)
    source = open_source(load_split(tiny_root, "train"), heatmaps=False, segments=False)
    with pytest.raises(DataError, match="color_id above 10, the model's number of classes"):
        EvalLoader(source, model=ModelConfig(), batch_size=4)


def test_only_what_the_run_needs_is_demanded(tiny_root):
    for kind in ("heatmap", "segment"):
        shutil.rmtree(tiny_root / "veri" / f"{kind}_train")
    split = load_split(tiny_root, "train")
    plain = {"heatmaps": False, "segments": False}
    check_needed_files(split, **plain)
    with EvalLoader(open_source(split, **plain), model=ModelConfig(), batch_size=4) as loader:
        assert len(list(loader)) == 5
    for needs in ({"heatmaps": True, "segments": False}, {"heatmaps": False, "segments": True}):
        with pytest.raises(DataError, match=r"folder is missing, but (heatmap|segment)s are"):
            check_needed_files(split, **needs)
        with pytest.raises(DataError, match="are asked for; mtn draw-pose"):
            open_source(split, **needs)
    first_image(tiny_root).unlink()
    with pytest.raises(DataError, match="image does not exist"):
        open_source(split, **plain)


def test_five_problems_are_shown_and_all_are_counted(tiny_root):
    for path in sorted((tiny_root / "veri" / "image_train").iterdir())[:7]:
        path.unlink()
    with pytest.raises(DataError, match=r"and 2 more, 7 in all.*mtn check"):
        check_needed_files(load_split(tiny_root, "train"), heatmaps=False, segments=False)
    assert len(check_dataset(tiny_root).problems) == 7


def test_notes_on_cameras_and_single_images(tiny_root):
    lines = [line for line in label_lines(tiny_root) if not line.startswith("0001_c00")]
    lines.append(label_lines(tiny_root)[0])
    lines = [line.replace("_c003_", "_c000_") for line in lines]
    for path in (tiny_root / "veri" / "image_train").iterdir():
        path.rename(path.with_name(path.name.replace("_c003_", "_c000_")))
    write_lines(tiny_root, lines)
    notes = " ".join(str(n) for n in check_dataset(tiny_root, heatmaps=False, segments=False).notes)
    assert "camera unknown (c000) in 5 rows" in notes
    assert "1 ids have a single image" in notes


def test_split_names_and_paths(tiny_root):
    with pytest.raises(DataError, match="must be one of train, query, test; got 'gallery'"):
        load_split(tiny_root, "gallery")
    split = load_split(tiny_root, "test")
    assert split.image_path(0).is_file()
    assert split.heatmap_dir(3).is_dir()
    assert len(list(split.segment_dir(3).iterdir())) == 13
    assert split.has_keypoints
    assert not split.keypoints.flags.writeable


def test_report_text(tmp_path):
    report = CheckReport([Problem(tmp_path / "a", "is odd")], counts={"train": {"images": 3}})
    assert report.to_text().splitlines() == [
        "train: 3 images",
        f"problem: {tmp_path / 'a'}: is odd",
        "1 problem",
    ]
    with pytest.raises(DataError, match="a: is odd; see them all with mtn check"):
        report.raise_if_bad()
