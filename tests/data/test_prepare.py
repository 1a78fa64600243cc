import os
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mtn_core.data.check import check_dataset
from mtn_core.data.prepare.folder import pattern_to_regex, prepare_folder
from mtn_core.data.prepare.placing import place_file
from mtn_core.data.split import load_split
from mtn_core.errors import ConfigError, DataError, RunFolderError

CARS = [f"{car}_{camera}_{shot}.jpg" for car in "abcdef" for camera in (1, 2) for shot in (0, 1)]


@pytest.fixture
def crops(tmp_path):
    folder = tmp_path / "crops"
    folder.mkdir()
    for i, name in enumerate(CARS):
        Image.new("RGB", (40 + i, 30), (10 * i, 0, 0)).save(folder / name)
    return folder


def prepare(crops, root, **options):
    return prepare_folder(crops, root, progress=False, **options)


def frames(root):
    return {name: load_split(root, name).frame for name in ("train", "query", "test")}


def test_a_pattern_makes_the_layout(crops, tmp_path):
    root = tmp_path / "root"
    report = prepare(crops, root, pattern="{pid}_{camid}_*.jpg")
    assert report.images == {"train": 12, "query": 6, "test": 12}
    assert check_dataset(root).ok
    split = frames(root)
    assert set(split["test"]["pid"]) == set(split["query"]["pid"])
    assert not set(split["train"]["pid"]) & set(split["test"]["pid"])
    assert set(split["train"]["pid"]) | set(split["test"]["pid"]) == set(range(1, 7))
    # One query for each id and camera, and queries in the gallery, as in VeRi.
    assert split["query"].groupby(["pid", "camid"]).size().tolist() == [1] * 6
    assert set(split["query"]["name"]) <= set(split["test"]["name"])
    names = pd.read_csv(root / "veri" / "names.csv").set_index("name")["source"]
    for name, source in names.items():
        folders = [root / "veri" / f"image_{s}" / name for s in split]
        assert any(f.is_file() and f.samefile(crops / source) for f in folders)
        assert f"_c00{source.split('_')[1]}_" in name


def test_ids_are_numbered_in_sorted_order(crops, tmp_path):
    prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg")
    names = pd.read_csv(tmp_path / "root" / "veri" / "names.csv")
    numbers = {s[0]: int(n[:4]) for n, s in zip(names["name"], names["source"], strict=True)}
    assert numbers == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6}


def test_numeric_ids_stay(tmp_path, crops):
    for path in list(crops.iterdir()):
        path.rename(crops / path.name.replace(path.name[0], str(ord(path.name[0]))))
    prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg")
    split = frames(tmp_path / "root")
    assert set(split["train"]["pid"]) | set(split["test"]["pid"]) == set(range(97, 103))


def test_without_cameras_every_gallery_image_counts_and_the_report_says_so(crops, tmp_path):
    root = tmp_path / "root"
    report = prepare(crops, root, pattern="{pid}_*.jpg")
    assert "cameras are unknown" in report.to_text()
    assert "every gallery image of the same id counts" in report.to_text()
    split = frames(root)
    assert set(split["test"]["camid"]) == {0}
    # An image that nothing makes ignored must not find itself.
    assert not set(split["query"]["name"]) & set(split["test"]["name"])
    assert len(split["query"]) == 3
    assert len(split["test"]) == 9
    assert any("camera unknown" in str(n) for n in check_dataset(root).notes)


def test_a_csv_with_everything(crops, tmp_path):
    table = pd.DataFrame({"name": CARS})
    table["pid"] = table["name"].str[0]
    table["camid"] = table["name"].str[2]
    table["color_id"] = [3 if c == "a" else None for c in table["pid"]]
    table["type_id"] = 5
    table["split"] = ["train" if c in "abc" else "test" for c in table["pid"]]
    table.loc[table["name"].isin(["d_1_0.jpg", "e_1_0.jpg"]), "split"] = "query"
    table.to_csv(tmp_path / "t.csv", index=False)
    report = prepare(crops, tmp_path / "root", csv=tmp_path / "t.csv")
    assert report.images == {"train": 12, "query": 2, "test": 10}
    train = frames(tmp_path / "root")["train"]
    assert train.loc[train["pid"] == 1, "color_id"].tolist() == [3] * 4
    assert train.loc[train["pid"] == 2, "color_id"].tolist() == [-1] * 4
    assert set(train["type_id"]) == {5}


def test_the_split_is_repeatable_and_follows_the_share(crops, tmp_path):
    options = {"pattern": "{pid}_{camid}_*.jpg", "test_share": 1 / 3}
    one, two = (prepare(crops, tmp_path / n, **options, seed=3) for n in ("one", "two"))
    assert one.images == two.images == {"train": 16, "query": 4, "test": 8}
    labels = [(tmp_path / n / "veri" / "label_test.csv").read_text() for n in ("one", "two")]
    assert labels[0] == labels[1]
    others = [prepare(crops, tmp_path / f"{s}", **options, seed=s) for s in range(4, 9)]
    texts = {(tmp_path / f"{s}" / "veri" / "label_test.csv").read_text() for s in range(4, 9)}
    assert len(others) == 5
    assert len(texts) > 1


def test_ids_with_one_view_are_for_training(crops, tmp_path):
    for path in crops.glob("[a-d]_*"):
        if path.name[2:] != "1_0.jpg":
            path.unlink()
    report = prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg", test_share=1)
    assert report.ids == {"train": 4, "query": 2, "test": 2}
    assert "only 2 ids have a second view" in report.to_text()


def test_folders_as_ids(crops, tmp_path):
    for path in list(crops.iterdir()):
        (crops / path.name[0]).mkdir(exist_ok=True)
        path.rename(crops / path.name[0] / path.name[2:])
    report = prepare(crops, tmp_path / "root", pattern="{pid}/{camid}_*.jpg")
    assert sum(report.images.values()) == 30


@pytest.mark.parametrize(
    ("pattern", "name", "groups"),
    [
        ("{pid}_c{camid}_*.jpg", "12_c03_x.y.jpg", {"pid": "12", "camid": "03"}),
        ("{split}/{pid}-{color_id}.png", "test/7-3.png", {"split": "test", "pid": "7"}),
        ("{pid}_*", "a_b/c", None),
        ("{pid}.jpg", "a.png", None),
    ],
)
def test_patterns(pattern, name, groups):
    match = pattern_to_regex(pattern).fullmatch(name)
    assert (match is None) == (groups is None)
    assert groups is None or groups.items() <= match.groupdict().items()


@pytest.mark.parametrize("pattern", ["*.jpg", "{camid}_*", "{pid}{pid}", "{pid}_{make}"])
def test_patterns_that_make_no_sense(crops, tmp_path, pattern):
    with pytest.raises(ConfigError, match=r"must hold \{pid\}"):
        prepare(crops, tmp_path / "root", pattern=pattern)


def test_bad_files_stop_it_or_are_left_out(crops, tmp_path):
    (crops / "a_1_0.jpg").write_bytes(b"broken")
    (crops / "poster.jpg").write_bytes((crops / "b_1_0.jpg").read_bytes())
    with pytest.raises(DataError, match=r"poster.jpg: does not match.*a_1_0.jpg: is not an image"):
        prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg")
    assert not (tmp_path / "root" / "veri").exists()
    report = prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg", skip_bad=True)
    assert len(report.left_out) == 2
    assert "left out: poster.jpg" in report.to_text()
    assert check_dataset(tmp_path / "root").ok


def test_what_the_decoder_would_repair_is_bad_too(crops, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    _, encoded = cv2.imencode(".jpg", noise)
    data = encoded.tobytes()
    middle = len(data) // 2
    (crops / "b:_1_9.jpg").write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    with pytest.raises(DataError, match=r"^b:_1_9\.jpg: is a damaged JPEG.*Nothing was written"):
        prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg")
    report = prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg", skip_bad=True)
    assert len(report.left_out) == 1
    assert "b:_1_9.jpg" not in (tmp_path / "root" / "veri" / "names.csv").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,camid\na,1\n", r"lacks the columns \['pid'\]"),
        ("name,pid\na_1_0.jpg,1\na_1_0.jpg,2\n", "stand there twice: a_1_0.jpg"),
        ("name,pid\n../a_1_0.jpg,1\n", "names leave the image folder"),
        ("name,pid\n/a_1_0.jpg,1\n", "names leave the image folder"),
        ("name,pid\na_1_0.jpg,\n", "empty name or pid in lines 2"),
        ("name,pid,camid\na_1_0.jpg,1,left\n", "camid must be whole numbers: left"),
        ("name,pid,camid\na_1_0.jpg,1,1.5\n", "camid must be whole numbers: 1.5"),
        ("name,pid,camid\na_1_0.jpg,1,-1\n", "camid must be 0 or more"),
        ("name,pid,color_id\na_1_0.jpg,1,0\n", "color_id and type_id 1 or more"),
        ("name,pid,split\na_1_0.jpg,1,validation\n", r"got \['validation'\]"),
        ("name,pid\nnone.jpg,1\n", "none.jpg: does not exist in"),
        ('name,pid\n"a', "cannot be read as a CSV"),
    ],
)
def test_tables_that_make_no_sense(crops, tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        prepare(crops, tmp_path / "root", csv=tmp_path / "t.csv")
    assert not (tmp_path / "root" / "veri").exists()


def test_wrong_use(crops, tmp_path):
    with pytest.raises(ConfigError, match="exactly one of --pattern and --csv"):
        prepare(crops, tmp_path / "root")
    with pytest.raises(DataError, match="does not exist"):
        prepare(tmp_path / "none", tmp_path / "root", pattern="{pid}.jpg")
    with pytest.raises(ConfigError, match=r"--test_share must be 0\.\.1"):
        prepare(crops, tmp_path / "root", pattern="{pid}_*", test_share=2)
    prepare(crops, tmp_path / "root", pattern="{pid}_*")
    with pytest.raises(RunFolderError, match="already holds files"):
        prepare(crops, tmp_path / "root", pattern="{pid}_*")
    prepare(crops, tmp_path / "root", pattern="{pid}_*", overwrite=True)


def test_placing_falls_back_from_link_to_copy(tmp_path, monkeypatch):
    source = tmp_path / "a"
    source.write_text("x")
    assert place_file(source, tmp_path / "b") == "link"

    def refuse(*_):
        raise OSError("another file system")

    monkeypatch.setattr("os.link", refuse)
    assert place_file(source, tmp_path / "c") == "symlink"
    monkeypatch.setattr(type(source), "symlink_to", refuse)
    assert place_file(source, tmp_path / "d") == "copy"
    assert (tmp_path / "d").read_text() == "x"
    shutil.rmtree(tmp_path)


def test_a_source_that_would_be_replaced_is_refused(crops, tmp_path):
    root = tmp_path / "root"
    inside = root / "veri" / "crops"
    inside.parent.mkdir(parents=True)
    crops.rename(inside)
    link, table = tmp_path / "link", root / "veri" / "table.csv"
    link.symlink_to(inside)
    table.write_text("name,pid\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    files = sorted(root.rglob("*"))
    for overwrite in (False, True):
        for images in (inside, link, root / "veri", tmp_path / "root" / ".." / "root" / "veri"):
            with pytest.raises(ConfigError, match=r"--images .*veri.*choose another --root"):
                prepare(images, root, pattern="{pid}_*.jpg", overwrite=overwrite)
        with pytest.raises(
            ConfigError, match=r"--csv .*table\.csv lies in the veri folder .*--root .*root:"
        ):
            prepare(elsewhere, root, csv=table, overwrite=overwrite)
        with pytest.raises(ConfigError, match=r"makes, lies in --images .*--root outside of"):
            prepare(root, root / "new", pattern="{pid}_*.jpg", overwrite=overwrite)
    assert sorted(root.rglob("*")) == files


def test_a_link_to_a_folder_elsewhere_is_not_deleted_either(crops, tmp_path):
    """What is linked would live on, but the link itself would be gone."""
    link = tmp_path / "root" / "veri" / "crops"
    link.parent.mkdir(parents=True)
    link.symlink_to(crops)
    with pytest.raises(ConfigError, match=r"--images .* lies in"):
        prepare(link, tmp_path / "root", pattern="{pid}_*.jpg", overwrite=True)
    assert link.is_symlink()


def test_crops_that_are_links_into_the_target_are_refused(crops, tmp_path):
    root, linked = tmp_path / "root", tmp_path / "linked"
    prepare(crops, root, pattern="{pid}_{camid}_*.jpg")
    linked.mkdir()
    for image in (root / "veri" / "image_train").iterdir():
        (linked / image.name).symlink_to(image)
    files = sorted(root.rglob("*"))
    with pytest.raises(ConfigError, match=r"--images has links into .*12 in all.*copy those"):
        prepare(linked, root, pattern="{pid}_*.jpg", overwrite=True)
    assert sorted(root.rglob("*")) == files
    report = prepare(linked, tmp_path / "new", pattern="{pid}_*.jpg")
    assert sum(report.images.values()) >= 12


@pytest.mark.parametrize("column", ["pid", "camid", "color_id", "type_id"])
@pytest.mark.parametrize("value", ["1" * 23, str(2**31)])
def test_numbers_beyond_what_a_label_file_may_hold(crops, tmp_path, column, value):
    row = {"name": CARS[0], "pid": "1", "camid": "1", "color_id": "1", "type_id": "1"}
    pd.DataFrame([row | {column: value}]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=rf"{column} must be below 2147483648: (1{{23}}|2147|1\.1)"):
        prepare(crops, tmp_path / "root", csv=tmp_path / "t.csv")
    assert not (tmp_path / "root").exists()


@pytest.mark.timeout(60)
def test_what_is_no_file_among_the_crops(crops, tmp_path):
    (crops / "folder_1_0.jpg").mkdir()
    os.mkfifo(crops / "g_1_0.jpg")
    (crops / "h_1_0.jpg").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"g_1_0\.jpg: is not a regular file.*, h_1_0\.jpg: is not"):
        prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg")
    report = prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg", skip_bad=True)
    assert len(report.left_out) == 2
    assert report.images == {"train": 12, "query": 6, "test": 12}
