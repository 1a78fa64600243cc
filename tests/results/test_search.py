import json

import numpy as np
import pytest

from mtn_core.errors import DataError, RunFolderError
from mtn_core.results import Embeddings, RetrievalResult
from mtn_core.results import search as search_module
from mtn_core.results.search import search


@pytest.fixture
def run_dir(tmp_path):
    rng = np.random.default_rng(0)
    pids = np.arange(300) // 3
    features = 3 * rng.standard_normal((100, 16))[pids] + 0.1 * rng.standard_normal((300, 16))
    gallery = Embeddings(
        split="test",
        names=[f"{i}<b>.jpg" for i in range(300)],
        pids=pids,
        camids=np.arange(300) % 3,
        color_ids=np.where(pids % 2, 7, -1),
        type_ids=np.full(300, 2),
        features=features,
        color_logits=np.zeros((300, 10)),
        type_logits=np.zeros((300, 9)),
        keypoints=np.zeros((300, 36, 3)),
        sizes=np.ones((300, 2)),
    )
    gallery.save(tmp_path / "embeddings_gallery.npz")
    return tmp_path


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss", reason="faiss is not installed (pip install faiss-cpu)")


@pytest.fixture
def features(run_dir):
    return Embeddings.load(run_dir / "embeddings_gallery.npz").features


def test_a_crop_finds_its_vehicle(run_dir, features, tmp_path):
    image = tmp_path / "crop.jpg"
    image.write_bytes(b"")
    answer = search(run_dir, image, embed=lambda path: features[31] + 0.01, top=5)
    assert answer.hits["rank"].tolist() == [1, 2, 3, 4, 5]
    assert answer.hits["row"].iloc[0] == 31
    assert set(answer.hits["row"][:3]) == {30, 31, 32}
    assert answer.hits["distance"].is_monotonic_increasing
    assert answer.hits["distance"].iloc[0] == pytest.approx(0.04, rel=1e-3)
    first = answer.hits.iloc[0]
    assert (first["pid"], first["camid"], first["color"], first["type"]) == (
        10,
        1,
        "unknown",
        "SUV",
    )
    assert answer.exact
    sightings = answer.sightings
    assert sightings["num_images"].sum() == 5
    assert sightings[["pid", "camid"]].iloc[0].tolist() == [10, 1]


def test_forms_of_the_answer(run_dir, features):
    answer = search(run_dir, embedding=features[0], top=2)
    data = json.loads(json.dumps(answer.to_json_dict(), allow_nan=False))
    assert data["hits"][0]["name"] == "0<b>.jpg"
    assert data["num_gallery"] == 300
    table = answer.format_table().splitlines()
    assert table[0].split() == ["rank", "distance", "pid", "camid", "color", "type", "name"]
    assert len(table) == 4
    assert "300 gallery images" in table[-1]


def test_more_answers_than_images_gives_all(run_dir, features):
    assert len(search(run_dir, embedding=features[0], top=1000).hits) == 300


def test_metric_is_that_of_the_run(run_dir, features):
    assert search(run_dir, embedding=features[0]).metric == "euclidean"
    gallery = Embeddings.load(run_dir / "embeddings_gallery.npz")
    RetrievalResult.from_embeddings(gallery, gallery, metric="cosine").save(run_dir)
    answer = search(run_dir, embedding=5 * features[7])
    assert answer.metric == "cosine"
    assert answer.hits["row"].iloc[0] == 7
    assert answer.hits["distance"].iloc[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_faiss_agrees_with_exact_search(faiss, run_dir, features, monkeypatch, metric):
    exact = search(run_dir, embedding=features[50], top=3, metric=metric)
    monkeypatch.setattr(search_module, "FAISS_FROM", 100)
    answer = search(run_dir, embedding=features[50], top=3, metric=metric)
    assert not answer.exact
    assert answer.hits["row"].tolist() == exact.hits["row"].tolist()
    np.testing.assert_allclose(answer.hits["distance"], exact.hits["distance"], atol=2e-3)
    assert (run_dir / "gallery.faiss").is_file()


def test_index_is_kept_and_not_used_for_other_embeddings(faiss, run_dir, features, monkeypatch):
    monkeypatch.setattr(search_module, "FAISS_FROM", 100)
    search(run_dir, embedding=features[0])
    built = (run_dir / "gallery.faiss").stat().st_mtime_ns
    search(run_dir, embedding=features[0])
    assert (run_dir / "gallery.faiss").stat().st_mtime_ns == built
    gallery = Embeddings.load(run_dir / "embeddings_gallery.npz")
    fields = vars(gallery) | {"features": gallery.features[::-1]}
    Embeddings(**fields).save(run_dir / "embeddings_gallery.npz")
    assert search(run_dir, embedding=features[0]).hits["row"].iloc[0] == 299
    (run_dir / "gallery.faiss").write_bytes(b"broken")
    assert search(run_dir, embedding=features[0]).hits["row"].iloc[0] == 299


def test_without_faiss_search_stays_exact(run_dir, features, monkeypatch):
    monkeypatch.setattr(search_module, "FAISS_FROM", 100)
    monkeypatch.setattr(search_module, "find_spec", lambda name: None)
    assert search(run_dir, embedding=features[0]).exact
    assert not (run_dir / "gallery.faiss").exists()


def test_bad_input(run_dir, features, tmp_path):
    with pytest.raises(DataError, match="one width; got 3 and 16"):
        search(run_dir, embedding=np.zeros(3))
    with pytest.raises(DataError, match="row 0"):
        search(run_dir, embedding=np.full(16, np.nan))
    with pytest.raises(DataError, match="either `embedding`, or `image`"):
        search(run_dir)
    with pytest.raises(DataError, match="at least 1; got 0"):
        search(run_dir, embedding=features[0], top=0)
    with pytest.raises(FileNotFoundError, match=r"none\.jpg does not exist"):
        search(run_dir, tmp_path / "none.jpg", embed=lambda path: features[0])
    with pytest.raises(DataError, match="'manhattan'"):
        search(run_dir, embedding=features[0], metric="manhattan")
    with pytest.raises(RunFolderError, match="mtn eval"):
        search(tmp_path / "nowhere", embedding=features[0])
    (run_dir / "embeddings_gallery.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a file of embeddings"):
        search(run_dir, embedding=features[0])
