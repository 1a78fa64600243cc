"""Official downloads of other data sets; their fixtures are drawn by ``downloads.py``."""

import json

import numpy as np
import pandas as pd
import pytest
from downloads import WRITERS, crop, vehicleid, veriwild, vric, write_lines

from mtn_core.cli import main
from mtn_core.data.check import check_dataset
from mtn_core.data.prepare.dataset import prepare_dataset
from mtn_core.data.protocol import read_protocol
from mtn_core.data.split import load_split
from mtn_core.errors import ConfigError, DataError
from mtn_core.metrics.tracks import find_tracks
from mtn_core.results import RetrievalResult


@pytest.fixture
def download(tmp_path):
    folder = tmp_path / "download"
    folder.mkdir()
    return folder


def prepared(name, download, **options):
    root = download.parent / "root"
    report = prepare_dataset(name, download, root, partial=True, progress=False, **options)
    return root, report


@pytest.mark.parametrize("name", WRITERS)
def test_counts_that_are_not_official_are_listed_and_need_partial(name, download):
    WRITERS[name](download)
    root = download.parent / "root"
    with pytest.raises(DataError, match=rf"not the official {name}: .*official.*--partial"):
        prepare_dataset(name, download, root, progress=False)
    assert not root.exists()
    report = prepare_dataset(name, download, root, partial=True, progress=False)
    assert report.deviations and "not official: " in report.to_text()
    splits = ("train",) if name == "vehiclex" else ("train", "query", "test")
    assert check_dataset(root, splits=splits).problems == []


def test_vehicleid_is_one_pool_of_which_the_first_draw_lies_on_disk(download):
    vehicleid(download)
    root, report = prepared("vehicleid", download, seed=5)
    gallery, query = load_split(root, "test").frame, load_split(root, "query").frame
    assert sorted(gallery["pid"]) == list(range(5, 14))  # one image of each
    assert len(query) == 16 and set(query["pid"]) == set(range(5, 13))
    assert not set(query["name"]) & set(gallery["name"])
    train = load_split(root, "train").frame
    # black, blue, grey, red, silver, white, yellow in VeRi's numbers
    colors = {1: 6, 2: 4, 3: 5, 4: -1}
    assert all(colors[row.pid] == row.color_id for row in train.itertuples())
    protocol = read_protocol(root)
    assert (protocol.ignored, protocol.draws, protocol.seed) == ("same_image", 10, 5)
    assert any("1 test vehicles have one image" in note for note in report.notes)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("columns", [1, 3, 5])
def test_releases_of_veriwild(download, header, columns):
    veriwild(download, header=header, columns=columns)
    root, report = prepared("veriwild", download)
    train = load_split(root, "train").frame
    assert sorted(set(train["pid"])) == [1, 2, 3, 4]  # from the folder, not the renumbered column
    assert sorted(set(train["camid"])) == [3, 7]
    # White, Gray and Purple: VeRi has no purple
    assert {(r.pid, r.color_id) for r in train.itertuples()} == {(1, 4), (2, -1), (3, 7), (4, 4)}
    assert set(train["type_id"]) == {1}
    assert any("Purple" in note for note in report.notes)
    assert len(load_split(root, "query")) == 5 and len(load_split(root, "test")) == 10
    assert read_protocol(root).ignored == "same_camera"


def test_the_rule_of_pven_is_named(download):
    veriwild(download)
    root, _ = prepared("veriwild", download, part="small-pven")
    assert read_protocol(root).ignored == "same_image"
    assert "PVEN" in read_protocol(root).name


@pytest.mark.parametrize("separate", [False, True])
def test_vric_has_other_vehicles_in_the_test(download, separate):
    vric(download, separate=separate)
    root, report = prepared("vric", download)
    ids = {name: set(load_split(root, name).frame["pid"]) for name in ("train", "query", "test")}
    tested = {6, 7, 8, 9} if separate else {5, 6, 7, 8}
    assert ids == {"train": {1, 2, 3, 4}, "query": tested, "test": tested}
    assert any("number their vehicles separately" in n for n in report.notes) == separate


def test_a_probe_of_its_gallery_images_camera_is_named(download):
    vric(download)
    write_lines(download / "vric_probe.txt", ["5_1_probe.jpg 5 2"])
    _, report = prepared("vric", download)
    assert any("1 probes have their vehicle's gallery image" in n for n in report.notes)


@pytest.mark.parametrize("encoding", ["gb2312", "utf-8"])
def test_cityflow_holds_vehicles_out_and_keeps_tracks(download, encoding):
    WRITERS["cityflow"](download, encoding=encoding)
    root, _ = prepared("cityflow", download, seed=3)
    train, query, gallery = (load_split(root, n).frame for n in ("train", "query", "test"))
    assert len(set(train["pid"])) == 8 and len(set(gallery["pid"])) == 2
    assert not set(train["pid"]) & set(gallery["pid"])
    assert len(query) == 4 and set(query["name"]) <= set(gallery["name"])
    tracks = find_tracks(*(gallery[c].to_numpy() for c in ("pid", "camid", "name")))
    assert len(tracks) == 4
    other, _ = prepared("cityflow", download, seed=4, overwrite=True)
    assert set(load_split(other, "test").frame["pid"]) != set(gallery["pid"])


def test_two_tracks_of_a_vehicle_at_one_camera_stay_apart(download):
    WRITERS["cityflow"](download)
    (download / "train_track.txt").unlink()
    text = (download / "train_label.xml").read_bytes().replace(b'"c012"', b'"c001"')
    (download / "train_label.xml").write_bytes(text)
    with pytest.raises(DataError, match="none seen by two cameras"):
        prepared("cityflow", download)
    text = text.replace(
        b'000040.jpg" vehicleID="0010" cameraID="c001"',
        b'000040.jpg" vehicleID="0010" cameraID="c002"',
    )
    (download / "train_label.xml").write_bytes(text)
    write_lines(download / "train_track.txt", ["000037.jpg 000039.jpg", "000038.jpg", "000040.jpg"])
    root, _ = prepared("cityflow", download)
    table = pd.read_csv(root / "veri" / "names.csv", dtype=str).set_index("source")["name"]
    names = [table[f"image_train/0000{n}.jpg"] for n in (37, 39, 38)]
    found = find_tracks(np.ones(3, int), np.ones(3, int), np.array(names))
    assert found.index[0] == found.index[1] != found.index[2]


def test_the_official_queries_of_cityflow_become_track2(download, write_run, tmp_path, capsys):
    WRITERS["cityflow"](download)
    root, report = prepared("cityflow", download, part="challenge")
    assert any("no truth" in note for note in report.notes)
    query, gallery = load_split(root, "query"), load_split(root, "test")
    from mtn_core.results import Embeddings

    def embed(split, features):
        sizes = np.ones((len(split), 2), np.int32)
        return Embeddings.of_split(
            split,
            features=np.array(features, np.float32)[:, None],
            color_logits=None,
            type_logits=None,
            sizes=sizes,
        )

    run = tmp_path / "run"
    run.mkdir()
    result = RetrievalResult.from_embeddings(
        embed(query, [0.0, 2.2, 9.0]), embed(gallery, [4.0, 3.0, 2.0, 1.0, 0.5]), max_rank=5
    )
    result.save(run)
    out = tmp_path / "track2.txt"
    arguments = ["track2", str(run), "--root", str(root), "--out", str(out)]
    assert main(arguments) == 0
    assert out.read_text() == "5 4 3 2 1\n3 2 4 5 1\n1 2 3 4 5\n"
    assert main(arguments) == 1 and "exists already" in capsys.readouterr().err


def test_track2_of_another_root_is_refused(run_dir, download, tmp_path, capsys):
    vric(download)
    root, _ = prepared("vric", download)
    out = tmp_path / "track2.txt"
    assert main(["track2", str(run_dir), "--root", str(root), "--out", str(out)]) == 1
    assert "--part challenge" in capsys.readouterr().err
    assert not out.exists()


def test_orientations_of_vehiclex_are_kept(download):
    WRITERS["vehiclex"](download)
    root, _ = prepared("vehiclex", download)
    table = pd.read_csv(root / "veri" / "orientation.csv")
    assert table["degrees"].tolist() == [10.5, 10.5, 21.0, 21.0, 31.5, 31.5, 42.0, 42.0]
    assert not (root / "veri" / "label_test.csv").exists()


def absent_image(folder):
    (folder / "probe_images" / "5_1_probe.jpg").unlink()


def wrong_width(folder):
    write_lines(folder / "vric_probe.txt", ["5_1_probe.jpg 5"])


def no_list(folder):
    (folder / "vric_gallery.txt").unlink()


def letters(folder):
    write_lines(folder / "vric_probe.txt", ["5_1_probe.jpg five 1"])


def not_text(folder):
    (folder / "vric_probe.txt").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (absent_image, r"lacks probe_images/5_1_probe\.jpg"),
        (wrong_width, r"vric_probe\.txt: expected rows of 3 columns; line 1 has 2 columns"),
        (no_list, r"vric_gallery\.txt does not exist"),
        (letters, r"vric_probe\.txt: id 'five' is not a whole number"),
        (not_text, r"vric_probe\.txt is not UTF-8 text"),
    ],
)
def test_a_broken_download_writes_nothing(download, damage, message):
    vric(download)
    damage(download)
    with pytest.raises(DataError, match=message):
        prepared("vric", download)
    assert not (download.parent / "root").exists()


def test_vehicles_in_both_lists_are_refused(download):
    vehicleid(download)
    crop(download / "image" / "9999999.jpg", 1, 1)
    path = download / "train_test_split" / "test_list_800.txt"
    path.write_text(path.read_text() + "9999999 1\n")
    with pytest.raises(DataError, match="vehicles are in training and test: 1"):
        prepared("vehicleid", download)


def test_a_test_without_a_second_image_is_refused(download):
    vehicleid(download)
    write_lines(download / "train_test_split" / "test_list_800.txt", ["0000037 13"])
    with pytest.raises(DataError, match="no test vehicle has two images"):
        prepared("vehicleid", download)


def test_unknown_names_and_parts(download):
    vric(download)
    with pytest.raises(ConfigError, match="must be one of small, medium, large"):
        prepare_dataset("veriwild", download, download.parent / "root", part="tiny")
    with pytest.raises(ConfigError, match="none: it has one split"):
        prepare_dataset("vric", download, download.parent / "root", part="small")
    with pytest.raises(ConfigError, match="data set must be one of"):
        prepare_dataset("veri", download, download.parent / "root")


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_from_the_download_to_the_report(name, download, smoke_root, tmp_path, capsys):
    WRITERS[name](download)
    root, run = str(download.parent / "root"), tmp_path / "run"
    arguments = ["--download", str(download), "--root", root, "--partial"]
    assert main(["prepare-dataset", name, *arguments]) == 0
    trained = name != "vehiclex"
    splits = ["train", "query", "test"] if trained else ["train"]
    assert main(["check", "--root", root, "--splits", *splits]) == 0
    small = ["model.image_size=32", "model.segments=false", "model.keypoints=false"]
    small += ["data.ids_per_batch=2", "data.images_per_id=2", "train.eval_every=0"]
    train = ["train", "--root", root, "--recipe", "smoke", "--epochs", "1", "--out", str(run)]
    assert main([*train, "--set", *small]) == 0
    # What is for training only is judged on another root.
    where = root if trained else str(smoke_root)
    checkpoint = str(run / "ckpt" / "last.ckpt")
    assert main(["eval", "--root", where, "--ckpt_path", checkpoint, "--out", str(run)]) == 0
    assert main(["report", str(run), "--out", str(tmp_path / "r.html")]) == 0
    said = capsys.readouterr().out
    results = json.loads((run / "results.json").read_text())
    page = (tmp_path / "r.html").read_text()
    named = {"vehicleid": "VehicleID, 800", "veriwild": "VERI-Wild, small", "vric": "VRIC"}
    for text in (said, results["protocol"]["name"], page):
        assert (named | {"cityflow": "CityFlow", "vehiclex": "VeRi"})[name] in text
    if name == "vehicleid":
        values = results["draws"]["rank1"]["values"]
        assert len(values) == 10 and values[0] == pytest.approx(results["cmc"][0])
        assert "Mean of 10 draws" in said and "10 draws" in page
