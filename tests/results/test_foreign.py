"""Other programs' embeddings: ids, cameras and names in every form, and files that are refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mtn_core.errors import ConfigError, DataError, MissingFileError, MtnError
from mtn_core.results import RetrievalResult
from mtn_core.results.array_files import read_labels
from mtn_core.results.foreign import EmbeddingFiles, load_foreign, name_networks

# Two vehicles on a line. By hand, images of the query's own camera ignored: query 0 has true
# matches at ranks 2 and 4, query 1 at ranks 2 and 5.
QUERY = {"features": [[0.0], [1.0]], "pids": [1, 2], "camids": [0, 2]}
GALLERY = {
    "features": [[0.1], [0.2], [0.3], [0.9], [0.8]],
    "pids": [2, 1, 1, 1, 2],
    "camids": [1, 0, 1, 2, 0],
}
MAP = ((1 / 2 + 2 / 4) / 2 + (1 / 2 + 2 / 5) / 2) / 2
MINP = (2 / 4 + 2 / 5) / 2
MAP_WITHOUT_CAMERAS = ((1 / 2 + 2 / 3 + 3 / 5) / 3 + (1 / 2 + 2 / 5) / 2) / 2


@pytest.fixture
def write(tmp_path):
    """Writes the two splits, with changes, and gives their files."""

    def save(query=None, gallery=None, drop=()):
        for name, arrays, changes in (("query", QUERY, query), ("gallery", GALLERY, gallery)):
            kept = {k: v for k, v in arrays.items() if k not in drop} | (changes or {})
            np.savez(tmp_path / f"{name}.npz", **{k: np.asarray(v) for k, v in kept.items()})
        return EmbeddingFiles(tmp_path / "query.npz", tmp_path / "gallery.npz")

    return save


def evaluate(files, **options):
    (network,) = load_foreign([files])
    return RetrievalResult.from_embeddings(network.query, network.gallery, **options), network


def test_figures_are_those_worked_by_hand(write):
    result, network = evaluate(write())
    assert result.mAP == pytest.approx(MAP)
    assert result.mINP == pytest.approx(MINP)
    assert result.cmc[:2].tolist() == [0, 1]
    assert network.query.camids.tolist() == [1, 3]  # the file counts from 0, which is unknown here
    assert "counted from 0" in " ".join(network.notes)


def test_cameras_from_1_stay_as_they_are(write):
    _, network = evaluate(write({"camids": [1, 3]}, {"camids": [2, 1, 2, 3, 1]}))
    assert network.gallery.camids.tolist() == [2, 1, 2, 3, 1]
    assert not any("counted" in note for note in network.notes)


def test_without_cameras_every_image_of_the_vehicle_counts(write):
    result, network = evaluate(write(drop=["camids"]))
    assert result.mAP == pytest.approx(MAP_WITHOUT_CAMERAS)
    assert not network.query.camids.any() and "Cameras are not given" in network.notes[0]


@pytest.mark.parametrize("unknown", [[-1] * 2, [float("nan")] * 2, ["", ""], ["nan", " "]])
def test_cameras_that_are_all_unknown_are_no_cameras(write, unknown):
    result, _ = evaluate(write({"camids": unknown}, {"camids": (unknown * 3)[:5]}))
    assert result.mAP == pytest.approx(MAP_WITHOUT_CAMERAS)


def test_words_are_numbered_over_both_splits_and_kept(write):
    files = write(
        {"pids": ["van-7", "bus-2"], "camids": ["north", "yard"]},
        {
            "pids": ["bus-2", "van-7", "van-7", "van-7", "bus-2"],
            "camids": ["gate", "north", "gate", "yard", "north"],
        },
    )
    result, network = evaluate(files)
    assert result.mAP == pytest.approx(MAP)
    assert network.vehicles == ["bus-2", "van-7"] and network.query.pids.tolist() == [2, 1]
    assert network.cameras == ["gate", "north", "yard"]
    assert network.gallery.camids.tolist() == [1, 2, 1, 3, 2]


def test_text_of_numbers_is_numbers(write):
    _, network = evaluate(write({"pids": ["0001", "0002"]}, {"pids": ["2", "1", "1", "1", "0002"]}))
    assert network.query.pids.tolist() == [1, 2] and network.vehicles == []


@pytest.mark.parametrize("key", ["features", "embeddings", "feats"])
def test_features_have_several_names_and_types(write, key):
    for dtype in (np.float16, np.float32, np.float64):
        query, gallery = ({key: np.asarray(s["features"], dtype)} for s in (QUERY, GALLERY))
        result, network = evaluate(write(query, gallery, drop=["features"]))
        assert result.mAP == pytest.approx(MAP) and network.query.features.dtype == np.float32


def test_names_are_file_names_where_these_are_unique_else_paths(write):
    query = {"names": ["/data/veri/q/a.jpg", "/data/veri/q/b.jpg"]}
    gallery = {"names": [f"/data/veri/g\\{k}.jpg" for k in range(5)]}
    _, network = evaluate(write(query, gallery))
    assert network.query.names.tolist() == ["a.jpg", "b.jpg"]
    assert network.gallery.names[0] == "0.jpg"
    gallery = {"paths": [f"/data/veri/g/{k % 2}/{k // 2}.jpg" for k in range(5)]}
    _, network = evaluate(write(query, gallery))
    assert network.gallery.names[1] == "g/1/0.jpg" and network.query.names[0] == "q/a.jpg"


def test_the_querys_own_picture_is_ignored_by_its_name(write):
    names = {"names": ["a.jpg", "b.jpg"]}, {"names": ["x.jpg", "a.jpg", "y.jpg", "z.jpg", "b.jpg"]}
    result, _ = evaluate(write(*names, drop=["camids"]))
    # Gallery rows 1 and 4 are the queries themselves: what is left are ranks 2 and 4, and 4.
    assert result.mAP == pytest.approx(((1 / 2 + 2 / 4) / 2 + 1 / 4) / 2)


def test_rows_are_named_where_the_file_has_no_names(write):
    _, network = evaluate(write())
    assert network.query.names.tolist() == ["query[0]", "query[1]"]
    assert "Names are not given" in " ".join(network.notes)


def test_npy_files_take_their_labels_from_csv(tmp_path):
    for name, split in (("query", QUERY), ("gallery", GALLERY)):
        np.save(tmp_path / f"{name}.npy", np.asarray(split["features"]))
    (tmp_path / "q.csv").write_bytes(
        "\ufeffName;PID;CamID;color_id\r\nä.jpg;1;0;7\r\nb.jpg;2;2;\r\n".encode()
    )
    rows = zip(GALLERY["pids"], GALLERY["camids"], strict=True)
    lines = ["path\tpid\tcamid", *(f"g/{k}.jpg\t{p}\t{c}" for k, (p, c) in enumerate(rows))]
    (tmp_path / "g.csv").write_text("\n".join(lines))
    result, network = evaluate(
        EmbeddingFiles(*(tmp_path / n for n in ("query.npy", "gallery.npy", "q.csv", "g.csv")))
    )
    assert result.mAP == pytest.approx(MAP)
    assert network.query.names.tolist() == ["ä.jpg", "b.jpg"]
    assert network.query.color_ids.tolist() == [7, -1]
    assert network.gallery.names[3] == "3.jpg"


def test_files_of_a_run_folder_are_read_as_they_are(run_dir):
    files = EmbeddingFiles(run_dir / "embeddings_query.npz", run_dir / "embeddings_gallery.npz")
    result, network = evaluate(files)
    saved = RetrievalResult.load(run_dir)
    assert result.mAP == pytest.approx(saved.mAP) and result.color.accuracy == saved.color.accuracy
    assert network.notes == []


PICKLED = np.array([{"a": 1}, None], dtype=object)
BAD_QUERIES = {
    "nan": ({"features": [[0.0], [np.nan]]}, r"query\.npz` must be finite.*row 1"),
    "too large for float32": ({"features": [[0.0], [1e300]]}, r"query\.npz.*float32.*row 1"),
    "unequal length": ({"pids": [1, 2, 3]}, r"query\.npz has 2 embeddings, but `pids`.*\(3,\)"),
    "flat": ({"features": [0.0, 1.0]}, r"shape \(images, width\).*got \(2,\)"),
    "empty": ({"features": np.zeros((0, 1))}, r"neither of them 0.*\(0, 1\)"),
    "complex": ({"features": [[1j], [0]]}, "real numbers"),
    "words": ({"features": [["a"], ["b"]]}, "real numbers"),
    "pickled": ({"pids": PICKLED}, r"array `pids`.*pickled.*numpy\.savez"),
    "negative": ({"pids": [1, -1]}, "0 or more.*-1.*left out"),
    "no id": ({"pids": ["a", ""]}, "needs a vehicle id"),
    "both": ({"feats": [[0.0], [1.0]]}, "both `features` and `feats`"),
    "other width": ({"features": [[0.0, 1.0]] * 2}, "have 2 numbers.*gallery.npz 1"),
    "colour": ({"color_ids": [0, 11]}, "1 to 10, or -1.*got 0, 11"),
    "type": ({"type_ids": ["suv", "1"]}, "1 to 9, or -1.*suv"),
}


@pytest.mark.parametrize("name", BAD_QUERIES)
def test_bad_arrays_are_refused_in_one_line(write, name):
    changes, words = BAD_QUERIES[name]
    with pytest.raises(DataError, match=words) as caught:
        load_foreign([write(changes)])
    assert "\n" not in str(caught.value)


def test_missing_arrays_are_named(write):
    with pytest.raises(DataError, match=r"no vehicle ids.*`pids`.*--labels"):
        load_foreign([write(drop=["pids"])])
    with pytest.raises(DataError, match=r"no embeddings.*it has camids, pids"):
        load_foreign([write(drop=["features"])])


def test_one_camera_for_all_is_refused(write):
    with pytest.raises(DataError, match=r"one camera.*leave the cameras out"):
        load_foreign([write({"camids": [0, 0]}, {"camids": [0] * 5})])


def test_files_that_are_none(write, tmp_path):
    files = write()
    with pytest.raises(MissingFileError, match=r"nowhere\.npz does not exist"):
        load_foreign([dataclasses.replace(files, query=tmp_path / "nowhere.npz")])
    with pytest.raises(DataError, match="is a folder"):
        load_foreign([dataclasses.replace(files, query=tmp_path)])
    whole = files.gallery.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:200] + b"\xff" * 60):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(MtnError, match=r"bad\.npz") as caught:
            load_foreign([dataclasses.replace(files, query=tmp_path / "bad.npz")])
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "pickled.npy", PICKLED, allow_pickle=True)
    with pytest.raises(DataError, match="pickled Python objects"):
        load_foreign([dataclasses.replace(files, query=tmp_path / "pickled.npy")])


def test_what_torch_save_writes_is_told_apart(write, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    files = write()
    torch.save({"features": torch.zeros(2, 1)}, tmp_path / "features.pt")
    with pytest.raises(DataError, match=r"features\.pt is not an .*torch\.save"):
        load_foreign([dataclasses.replace(files, query=tmp_path / "features.pt")])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not a table"),
        (b"name,camid\na.jpg,1\n", r"no column `pid`.*got name, camid"),
        (b"pid,pids\n1,1\n", "two columns of pids"),
        (b"pid,name\n1,\xff\xfe.jpg\n", "UTF-8"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, words):
    (tmp_path / "labels.csv").write_bytes(text)
    with pytest.raises(DataError, match=words):
        read_labels(tmp_path / "labels.csv")


def test_names_of_networks():
    def files(query, gallery):
        return EmbeddingFiles(Path("/x/agw") / query, Path("/x/agw") / gallery)

    strong, plain = files("strong_query.npz", "strong_gallery.npz"), files("query.npz", "g.npz")
    assert name_networks([strong, plain], None) == ["strong", "agw"]
    assert name_networks([files("embeddings_query.npz", "embeddings_gallery.npz")], None) == ["agw"]
    assert name_networks([strong, plain], ["a", "b"]) == ["a", "b"]
    bad = {"expected 2, got 1": ["a"], "cannot name": ["a", "../b"], "two networks": ["a", "a"]}
    for words, names in bad.items():
        with pytest.raises(ConfigError, match=words):
            name_networks([strong, plain], names)
