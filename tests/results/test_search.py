import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mtn_core.errors import DataError, MissingPackageError, RunFolderError
from mtn_core.metrics.ranking import nearest
from mtn_core.results import Embeddings, RetrievalResult
from mtn_core.results import search as search_module
from mtn_core.results.answer import BEYOND
from mtn_core.results.search import search
from mtn_core.results.search_index import SearchIndex, open_index
from mtn_core.results.threshold import Threshold, run_threshold
from mtn_core.runs import RunFolder


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
    assert (first["vehicle"], first["camera"]) == ("10", "1")
    assert np.isnan(first["type_confidence"])
    assert answer.exact and answer.threshold is None and answer.hits["likely"].all()
    sightings = answer.sightings
    assert sightings["num_images"].sum() == 5
    assert sightings[["vehicle", "camera"]].iloc[0].tolist() == ["10", "1"]


def test_only_given_rows_are_compared(run_dir, features):
    rows = np.ones(300, bool)
    rows[[30, 31]] = False
    answer = search(run_dir, embedding=features[31], rows=rows, top=300)
    assert answer.hits["row"].iloc[0] == 32
    assert (len(answer.hits), answer.num_compared, answer.num_gallery) == (298, 298, 300)
    assert not set(answer.hits["row"]) & {30, 31}
    none = search(run_dir, embedding=features[31], rows=np.zeros(300, bool))
    assert (len(none.hits), none.num_compared) == (0, 0)
    assert "nothing is left" in none.format_table()
    assert none.to_json_dict()["hits"] == []


def test_a_threshold_cuts_the_list(run_dir, features):
    answer = search(run_dir, embedding=features[0], top=6, threshold=Threshold(1.5, 0.01, 0.9))
    assert answer.hits["likely"].tolist() == [True] * 3 + [False] * 3
    assert answer.sightings["num_images"].sum() == 3
    lines = answer.format_table().splitlines()
    assert "1 % of the pairs of different vehicles and 90 % of those of one vehicle" in lines[2]
    beyond = lines.index(BEYOND)
    assert sum("<b>.jpg" in line for line in lines[:beyond]) == 3
    none = search(run_dir, embedding=features[0] + 9, top=6, threshold=Threshold(1.5))
    assert len(none.likely) == 0 and not len(none.sightings)
    assert "none: the vehicle was not seen" in none.format_table()


def test_colours_are_predicted_where_there_is_no_label(run_dir, features):
    gallery = Embeddings.load(run_dir / "embeddings_gallery.npz")
    fields = vars(gallery) | {"color_logits": 4 * np.eye(10)[np.arange(300) % 10]}
    Embeddings(**fields).save(run_dir / "embeddings_gallery.npz")
    hits = search(run_dir, embedding=features[0], top=300).hits.set_index("row")
    assert hits["color"][3] == "white" and np.isnan(hits["color_confidence"][3])  # vehicle 1
    assert hits["color"][0] == "yellow"
    assert hits["color_confidence"][0] == pytest.approx(np.exp(4) / (np.exp(4) + 9), rel=1e-5)


@pytest.mark.parametrize("rate", [0.0005, 0.01, 0.3])
def test_the_threshold_of_a_run_is_that_of_its_verification_view(run_dir, rate):
    gallery = Embeddings.load(run_dir / "embeddings_gallery.npz")
    shifted = Embeddings(**(vars(gallery) | {"camids": gallery.camids + 10}))
    result = RetrievalResult.from_embeddings(shifted, gallery)
    result.save(run_dir)
    threshold = run_threshold(run_dir, rate)
    distances = cdist(gallery.features, gallery.features)
    other = gallery.pids[:, None] != gallery.pids
    assert threshold.false_accept == pytest.approx((distances[other] < threshold.distance).mean())
    assert threshold.false_accept <= rate
    assert threshold.true_accept == pytest.approx((distances[~other] < threshold.distance).mean())
    # The next larger threshold of the curve would let in too many.
    roc = result.tables["verification_roc"]
    larger = roc[roc["threshold"] > threshold.distance]
    assert larger["false_accept_rate"].iloc[0] > rate


def test_a_run_without_a_verification_view_has_no_threshold(run_dir):
    assert run_threshold(run_dir) is None
    with pytest.raises(DataError, match=r"within 0\.\.1; got 2"):
        run_threshold(run_dir, 2)


def test_forms_of_the_answer(run_dir, features):
    answer = search(run_dir, embedding=features[0], top=2)
    data = json.loads(json.dumps(answer.to_json_dict(), allow_nan=False))
    assert data["hits"][0]["name"] == "0<b>.jpg"
    assert data["num_gallery"] == 300
    table = answer.format_table().splitlines()
    assert table[0].startswith("embedding: no colour or type predicted; camera not known")
    assert table[3].split() == ["rank", "distance", "camera", "vehicle", "color", "type", "name"]
    assert len(table) == 8
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
    assert 0.1 < answer.recall <= 1
    assert f"recall {answer.recall:.3f} on a sample" in answer.format_table()
    again = search(run_dir, embedding=features[50], top=3, metric=metric)
    assert again.recall == answer.recall


def test_an_index_answers_from_the_rows_that_are_left(faiss, run_dir, features, monkeypatch):
    monkeypatch.setattr(search_module, "FAISS_FROM", 100)
    rows = np.ones(300, bool)
    rows[[30, 31]] = False
    answer = search(run_dir, embedding=features[31], rows=rows, top=20)
    assert not answer.exact
    assert answer.hits["row"].iloc[0] == 32 and not {30, 31} & set(answer.hits["row"])
    few = np.arange(300) < 140
    assert search(run_dir, embedding=features[31], rows=few, top=20).exact


def test_recall_is_the_share_of_exact_answers(faiss, run_dir, features):
    """An index that can only give what lies in the first half of the gallery."""
    built = open_index(RunFolder(run_dir), lambda: features, "euclidean")
    monkey = built.nearest
    built.nearest = lambda queries, top: (lambda f, d: (np.where(f < 150, f, -1), d))(
        *monkey(queries, top, None)
    )
    assert 0.1 < built.measure(features) < 0.75
    whole = SearchIndex(built.index, "euclidean")
    whole.nearest = lambda queries, top: nearest(queries, features, top)
    assert whole.measure(features) == 1


def test_an_index_may_be_asked_for(faiss, run_dir, features, monkeypatch):
    assert search_module.Gallery.open(run_dir, approximate=True).use_faiss
    monkeypatch.setattr(search_module, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="faiss"):
        search_module.Gallery.open(run_dir, approximate=True)


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
