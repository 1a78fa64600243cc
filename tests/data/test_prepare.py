import os
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mtn_core.data.check import check_dataset
from mtn_core.data.prepare.folder import prepare_folder
from mtn_core.data.prepare.placing import place_file
from mtn_core.data.prepare.sources import pattern_to_regex
from mtn_core.data.roles import read_roles, without_junk
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
        ("{pid}_cam{camid}.jpg", "bus_0002_cam1.jpg", {"pid": "bus_0002", "camid": "1"}),
        ("{pid}_{camid}.jpg", "a_left.jpg", {"pid": "a", "camid": "left"}),
        ("{pid}*.jpg", "0002_c1.jpg", {"pid": "0002"}),
        ("{pid}_*.jpg", "AB_1.JPG", {"pid": "AB"}),
        ("**/{pid}/{track}/*", "x/y/K-Ä 7/t1/2.webp", {"pid": "K-Ä 7", "track": "t1"}),
        ("{pid}_c{camid}*", "7_c003_1.jpg", {"camid": "003"}),
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
        ("name,camid\na,1\n", "lacks the columns pid; expected a header with name, pid"),
        ("name,pid\na_1_0.jpg,1\na_1_0.jpg,2\n", "rows contradict each other: a_1_0.jpg"),
        ("name,pid\n../a_1_0.jpg,1\n", "names leave the image folder"),
        ("name,pid\n/a_1_0.jpg,1\n", "names leave the image folder"),
        ("name,pid\na_1_0.jpg,\n", "empty name or pid in line 2"),
        ("name,pid\na_1_0.jpg,1\na_1_0.jpg,1\n", "stand there twice: a_1_0.jpg"),
        ("name,pid,Pid\na_1_0.jpg,1,2\n", "has a column twice: pid"),
        ("name,pid\n", "a header and no rows"),
        ("name,pid,color_id\na_1_0.jpg,1,0\n", "color_id must be 1 to 10, a name"),
        ("name,pid,color_id\na_1_0.jpg,1,11\n", "color_id must be 1 to 10, a name"),
        ("name,pid,type_id\na_1_0.jpg,1,tank\n", "a_1_0.jpg has 'tank'"),
        ("name,pid,split\na_1_0.jpg,1,validation\n", "train, query or test.* got 'validation'"),
        ("name,pid,split\na_1_0.jpg,1,train+query\n", "cannot be trained on and tested"),
        ("name,pid,role\na_1_0.jpg,1,dirt\n", "role must be junk or distractor"),
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
    with pytest.raises(ConfigError, match="exactly one of --pattern, --regex, --csv and --boxes"):
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
    row = {"name": CARS[0], "pid": "7", "camid": "7", "color_id": "1", "type_id": "1"}
    pd.DataFrame([row | {column: value}]).to_csv(tmp_path / "t.csv", index=False)
    options = {"csv": tmp_path / "t.csv", "test_share": 0}
    if column in ("color_id", "type_id"):
        with pytest.raises(DataError, match=f"{column} must be 1 to .* has '{value}'"):
            prepare(crops, tmp_path / "root", **options)
        return
    # A number of that size is a name.
    prepare(crops, tmp_path / "root", **options)
    assert load_split(tmp_path / "root", "train").frame[column].tolist() == [1]


@pytest.mark.timeout(300)
def test_what_is_no_file_among_the_crops(crops, tmp_path):
    (crops / "folder_1_0.jpg").mkdir()
    os.mkfifo(crops / "g_1_0.jpg")
    (crops / "h_1_0.jpg").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"g_1_0\.jpg: is not a regular file.*, h_1_0\.jpg: is not"):
        prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg")
    report = prepare(crops, tmp_path / "root", pattern="{pid}_{camid}_*.jpg", skip_bad=True)
    assert len(report.left_out) == 2
    assert report.images == {"train": 12, "query": 6, "test": 12}


def draw(folder, names):
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + i, 30), (7 * i % 250, 0, 0)).save(path)
    return folder


def names_of(root):
    return pd.read_csv(root / "veri" / "names.csv", dtype=str, keep_default_na=False)


def test_names_of_vehicles_and_cameras(tmp_path):
    names = [f"{bus}_cam{c}.jpg" for bus in ("bus_0002", "bus_0010", "van-Ö") for c in (1, 2)]
    root = tmp_path / "root"
    report = prepare(draw(tmp_path / "in", names), root, pattern="{pid}_cam{camid}.jpg")
    table = names_of(root).set_index("source")
    assert {n: table["name"][n][:9] for n in names} == {
        f"{bus}_cam{c}.jpg": f"{number:04d}_c00{c}"[:9]
        for number, bus in enumerate(("bus_0002", "bus_0010", "van-Ö"), start=1)
        for c in (1, 2)
    }
    assert table["pid_name"]["van-Ö_cam2.jpg"] == "van-Ö"
    assert "bus_0002 is 1, bus_0010 is 2" in report.to_text()
    assert report.notes[-1].startswith("next: mtn check --root")


def write_csv(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_csv_as_spreadsheets_write_it(tmp_path):
    folder = draw(tmp_path / "in", ["a.png", "sub/B.JPG", "c.bmp", "d.webp"])
    text = (
        "Name;PID;camid;color_id;type_id;split\r\n"
        "a.png;12345678901234567890123;Nord;White;Sedan;train\r\n"
        "sub\\B.JPG;12345678901234567890123;Süd;grey;;train\r\n"
        "c.bmp;K-AB 12;Nord;-1;suv;query+gallery\r\n"
        "d.webp;K-AB 12;;3;9;gallery\r\n"
    )
    root = tmp_path / "root"
    report = prepare(folder, root, csv=write_csv(tmp_path, text, "utf-8-sig"))
    assert report.images == {"train": 2, "query": 1, "test": 2}
    split = frames(root)
    assert split["train"]["color_id"].tolist() == [7, 4]
    assert split["train"]["type_id"].tolist() == [1, -1]
    assert split["train"]["camid"].tolist() == [1, 2]
    assert split["test"][["camid", "color_id", "type_id"]].to_numpy().tolist() == [
        [1, -1, 2],
        [0, 3, 9],
    ]
    assert split["query"]["name"][0] == split["test"]["name"][0]
    table = names_of(root).set_index("source")
    assert table["camera_name"].to_dict() == {
        "a.png": "Nord", "sub/B.JPG": "Süd", "c.bmp": "Nord", "d.webp": ""
    }  # fmt: skip


def test_an_image_may_be_query_and_gallery_by_two_rows(tmp_path):
    folder = draw(tmp_path / "in", ["a.jpg", "b.jpg"])
    text = "name,pid,split\na.jpg,1,query\na.jpg,1,gallery\nb.jpg,1,gallery\n"
    report = prepare(folder, tmp_path / "root", csv=write_csv(tmp_path, text))
    assert report.images == {"query": 1, "test": 2}
    assert "mtn eval" in report.notes[-1]
    found = check_dataset(tmp_path / "root")
    assert found.ok and "for evaluation only" in found.to_text()


def test_one_image_a_vehicle_is_for_training_only(tmp_path):
    folder = draw(tmp_path / "in", [f"{c}.jpg" for c in "abcd"])
    report = prepare(folder, tmp_path / "root", pattern="{pid}.jpg")
    assert report.images == {"train": 4}
    assert "no vehicle has a second view" in report.to_text()
    assert "train.eval_every=0" in report.notes[-1]
    assert "for training only" in check_dataset(tmp_path / "root").to_text()


@pytest.mark.parametrize("splits", [["train"], ["query", "test"]])
def test_splits_that_are_asked_for_must_be_there(tmp_path, splits):
    folder = draw(tmp_path / "in", ["a.jpg", "b.jpg"])
    other = "test" if splits == ["train"] else "train"
    text = f"name,pid,split\na.jpg,1,{other}\nb.jpg,1,{other}\n"
    prepare(folder, tmp_path / "root", csv=write_csv(tmp_path, text))
    assert not check_dataset(tmp_path / "root", splits=splits).ok


MARKET = [
    *(f"{pid:04d}_c{c}s1_0{c}.jpg" for pid in (2, 7) for c in (1, 2)),
    *("-1_c1s1_01.jpg", "-1_c2s1_02.jpg", "0000_c1s1_03.jpg", "0000_c2s1_04.jpg"),
]


def test_junk_and_distractors_of_market(tmp_path):
    root = tmp_path / "root"
    folder = draw(tmp_path / "in", MARKET)
    report = prepare(folder, root, pattern="{pid}_c{camid}s*", test_share=1)
    assert report.images == {"query": 4, "test": 8}
    split = frames_of(root, "query", "test")
    assert set(split["query"]["pid"]) == {2, 7}
    # Every one of them is a vehicle of its own, which nothing can match.
    counts = split["test"]["pid"].value_counts()
    assert sorted(counts.tolist()) == [1, 1, 1, 1, 2, 2]
    assert sorted(read_roles(root).values()) == ["distractor"] * 2 + ["junk"] * 2
    kept = without_junk(load_split(root, "test"))
    assert len(kept) == 6 and not any(read_roles(root).get(n) == "junk" for n in kept.frame["name"])
    assert "2 images of id -1 are taken for junk" in report.to_text()


def frames_of(root, *splits):
    return {name: load_split(root, name).frame for name in splits}


def test_ids_that_look_like_market_may_be_vehicles(tmp_path):
    folder = draw(tmp_path / "in", MARKET)
    options = {"junk_ids": [], "distractor_ids": [], "test_share": 1}
    report = prepare(folder, tmp_path / "root", pattern="{pid}_c{camid}s*", **options)
    assert report.ids == {"query": 4, "test": 4}
    assert read_roles(tmp_path / "root") == {}


def test_a_regular_expression(tmp_path):
    folder = draw(tmp_path / "in", ["2024-01_K_AB_12_left.jpg", "2024-02_K_AB_12_right.jpg"])
    regex = r"\d{4}-\d\d_(?P<pid>.+)_(?P<camid>left|right)\.jpg"
    report = prepare(folder, tmp_path / "root", regex=regex, test_share=1)
    assert report.ids == {"query": 1, "test": 1}
    for bad, message in (("(", "is not a regular expression"), ("(?P<car>.*)", "must hold")):
        with pytest.raises(ConfigError, match=message):
            prepare(folder, tmp_path / "other", regex=bad)


def test_ids_that_differ_in_zeros_alone_are_two_vehicles(tmp_path):
    folder = draw(tmp_path / "in", ["2_1.jpg", "2_2.jpg", "02_1.jpg", "02_2.jpg"])
    prepare(folder, tmp_path / "root", pattern="{pid}_{camid}.jpg", test_share=0)
    assert load_split(tmp_path / "root", "train").frame["pid"].nunique() == 2


@pytest.mark.parametrize(
    ("cameras", "numbers"),
    [
        (["cam1", "cam03"], [1, 3]),
        (["c1", "d1"], [1, 2]),
        (["-1", "7"], [0, 7]),
        (["0", "7"], [0, 7]),
        (["cam0", "cam1"], [1, 2]),  # 0 would be an unknown camera
        (["1.5", "2.5"], [1, 2]),
        (["99999999999", "5"], [2, 1]),
    ],
)
def test_cameras(tmp_path, cameras, numbers):
    folder = draw(tmp_path / "in", ["a.jpg", "b.jpg"])
    text = f"name,pid,camid\na.jpg,1,{cameras[0]}\nb.jpg,1,{cameras[1]}\n"
    prepare(folder, tmp_path / "root", csv=write_csv(tmp_path, text), test_share=0)
    assert load_split(tmp_path / "root", "train").frame["camid"].tolist() == numbers


def test_an_empty_folder_and_one_without_a_match(tmp_path):
    empty = tmp_path / "in"
    empty.mkdir()
    with pytest.raises(DataError, match="have no image"):
        prepare(empty, tmp_path / "root", pattern="{pid}.jpg")
    draw(empty, ["a.jpg"])
    with pytest.raises(DataError, match=r"can be used: a\.jpg: does not match '\{pid\}\.png'"):
        prepare(empty, tmp_path / "root", pattern="{pid}.png")
