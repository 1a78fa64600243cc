"""A run whose embeddings have parts: saved, read, tabulated, ranked and searched."""

import dataclasses

import numpy as np
import pytest

from mtn_core.metrics.covisible import NUM_PARTS, PART_SIZE, create_distances
from mtn_core.results import RetrievalResult
from mtn_core.results.ranking import Ranker
from mtn_core.results.search import search


def with_parts(embeddings, rng):
    """The same vehicles; every image shows some of the five parts, and each part has a look."""
    count = len(embeddings)
    looks = np.random.default_rng(5).normal(size=(embeddings.pids.max() + 1, NUM_PARTS * PART_SIZE))
    parts = looks[embeddings.pids] + rng.normal(size=(count, NUM_PARTS * PART_SIZE))
    areas = rng.uniform(0.05, 0.4, (count, NUM_PARTS)) * (rng.random((count, NUM_PARTS)) < 0.5)
    features = np.concatenate([embeddings.features, parts, areas], axis=1)
    return dataclasses.replace(embeddings, features=features.astype(np.float32))


@pytest.fixture(scope="module")
def result(fake_run, tmp_path_factory):
    rng = np.random.default_rng(0)
    plain = RetrievalResult.load(
        fake_run.write_run(tmp_path_factory.mktemp("plain") / "run", images=False)
    )
    folder = tmp_path_factory.mktemp("parts")
    RetrievalResult.from_embeddings(
        with_parts(plain.query, rng), with_parts(plain.gallery, rng), metric="covisible"
    ).save(folder)
    return RetrievalResult.load(folder)


def test_it_is_saved_with_its_metric_and_reads_back(result):
    assert result.protocol["metric"] == "covisible"
    assert result.query.features.shape[1] == 32 + NUM_PARTS * (PART_SIZE + 1)
    assert 0 < result.mAP <= 1


def test_variants_that_average_embeddings_are_left_out(result):
    variants = result.tables["variants"].set_index("variant")
    assert variants.index.tolist() == [
        "plain",
        "global embedding alone",
        "k-reciprocal re-ranking",
        "orientation penalty",
        "camera penalty",
        "orientation and camera penalty",
        "tracks by nearest image",
    ]
    assert variants.loc["plain", "mAP"] == pytest.approx(result.mAP)
    assert variants.loc["global embedding alone", "mAP"] != pytest.approx(result.mAP)


def test_lists_follow_the_common_parts(result):
    ranker = Ranker(result.query, result.gallery, metric="covisible", rule=result.rule)
    distances = create_distances(result.query.features, result.gallery.features, "covisible")
    expected = distances.keys(0, len(result.query))
    for row in (0, 5):
        np.testing.assert_allclose(ranker.distances(row), expected[row], atol=1e-12)


def test_a_search_compares_as_the_run_was_evaluated(result):
    embedding = result.gallery.features[7]
    own = search(result.folder, embedding=embedding, top=3)
    assert own.metric == "covisible" and own.hits["row"].iloc[0] == 7 and own.exact
    expected = create_distances(embedding[None], result.gallery.features, "covisible").keys(0, 1)
    np.testing.assert_allclose(own.hits["distance"], np.sort(expected[0])[:3], atol=1e-6)


def test_by_another_metric_the_global_vectors_are_searched(result, tmp_path):
    embedding, gallery = result.gallery.features[7], result.gallery.features[:, :32]
    expected = np.sort(create_distances(embedding[None, :32], gallery, "cosine").keys(0, 1)[0])[:3]
    answer = search(result.folder, embedding=embedding, top=3, metric="cosine")
    np.testing.assert_allclose(answer.hits["distance"], expected, atol=1e-6)
    # A run that was evaluated by them holds nothing else.
    cut = [
        dataclasses.replace(e, features=e.features[:, :32]) for e in (result.query, result.gallery)
    ]
    RetrievalResult.from_embeddings(*cut, metric="cosine").save(tmp_path)
    answer = search(tmp_path, embedding=embedding, top=3)
    np.testing.assert_allclose(answer.hits["distance"], expected, atol=1e-6)
