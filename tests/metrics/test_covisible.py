"""The distance by common parts against a loop over pairs and parts."""

import numpy as np
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics import covisible, distance
from mtn_core.metrics.covisible import (
    NUM_PARTS,
    PART_SIZE,
    covisible_keys,
    create_distances,
    fit_width,
    global_part,
)
from mtn_core.metrics.rerank import rerank
from mtn_core.metrics.retrieval import evaluate
from mtn_core.metrics.verification import verify

GLOBAL = 12


def embeddings(count, seed=0, seen=0.6):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, GLOBAL + NUM_PARTS * PART_SIZE))
    areas = rng.uniform(0, 0.4, (count, NUM_PARTS)) * (rng.random((count, NUM_PARTS)) < seen)
    return np.concatenate([vectors, areas], axis=1).astype(np.float32)


def cosine(a, b):
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def loop(query, gallery):
    keys = np.empty((len(query), len(gallery)))
    for i, q in enumerate(query.astype(np.float64)):
        for j, g in enumerate(gallery.astype(np.float64)):
            far = cosine(q[:GLOBAL], g[:GLOBAL])
            total, weights = 0.05 * far, 0.05
            for part in range(5):
                at = slice(GLOBAL + 256 * part, GLOBAL + 256 * (part + 1))
                weight = np.sqrt(q[-5 + part] * g[-5 + part])
                total += weight * cosine(q[at], g[at])
                weights += weight
            keys[i, j] = 0.5 * far + 0.5 * total / weights
    return keys


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("block_bytes", [1 << 26, 400])
def test_keys_are_those_of_a_loop(monkeypatch, exact, block_bytes):
    monkeypatch.setattr(distance, "BLOCK_BYTES", block_bytes)
    if not exact:
        monkeypatch.setattr(covisible, "EXACT_WORK", 0)
    query, gallery = embeddings(21), embeddings(17, seed=1)
    distances = create_distances(query, gallery, "covisible")
    assert distances.dtype == (np.float64 if exact else np.float32)
    tolerance = 1e-9 if exact else 2e-6
    np.testing.assert_allclose(distances.keys(0, 21), loop(query, gallery), atol=tolerance)
    np.testing.assert_allclose(distances.keys(4, 5), loop(query[4:5], gallery), atol=tolerance)
    found = np.concatenate([block.copy() for _, block in distances.blocks()])
    np.testing.assert_allclose(found, loop(query, gallery), atol=tolerance)
    assert (distances.to_distance(found) == found).all()


def test_pairs_are_the_entries_of_the_matrix():
    query, gallery = embeddings(5), embeddings(5, seed=1)
    np.testing.assert_allclose(
        covisible_keys(query, gallery), np.diag(loop(query, gallery)), atol=1e-9
    )


def test_without_maps_the_global_vector_serves():
    query, gallery = embeddings(6, seen=0), embeddings(7, seed=1)
    for pair in ((query, gallery), (gallery, query)):
        expected = create_distances(*(global_part(part) for part in pair), "cosine")
        distances = create_distances(*pair, "covisible")
        np.testing.assert_allclose(
            distances.keys(0, len(pair[0])), expected.keys(0, len(pair[0])), atol=1e-7
        )


def test_what_one_image_does_not_show_plays_no_part():
    query, gallery = embeddings(1), embeddings(4, seed=1)
    query[:, -NUM_PARTS] = 0
    before = create_distances(query, gallery, "covisible").keys(0, 1)
    gallery[:, GLOBAL : GLOBAL + PART_SIZE] *= -3
    np.testing.assert_array_equal(create_distances(query, gallery, "covisible").keys(0, 1), before)


def test_copies_rank_by_position(monkeypatch):
    """BLAS may round by the place of a row in its tiles, which here it does everywhere."""

    def rounded(rows, gallery):
        return np.matmul(rows, gallery.T) + 1e-6 * np.arange(len(gallery))

    monkeypatch.setattr(covisible, "_product", rounded)
    query, gallery = embeddings(4), embeddings(40, seed=1)
    gallery[[7, 23, 39]] = gallery[2]
    keys = create_distances(query, gallery, "covisible").keys(0, 4)
    for copy in (7, 23, 39):
        np.testing.assert_array_equal(keys[:, copy], keys[:, 2])


def test_evaluation_reranking_and_verification_take_it():
    query, gallery = embeddings(10), embeddings(30, seed=1)
    gallery[:10] = query  # another camera's view of the same
    ids = np.arange(10), np.arange(30) % 10, np.ones(10, int), np.full(30, 2)
    found = evaluate(query, gallery, *ids, metric="covisible", max_rank=5)
    assert found.cmc[0] == 1 and found.mAP < 1
    assert verify(query, gallery, *ids, metric="covisible").num_positive == 30
    plain = create_distances(query, gallery, "covisible").keys(0, 10)
    same = rerank(query, gallery, k1=3, k2=1, lambda_value=1, metric="covisible").keys(0, 10)
    np.testing.assert_array_equal(np.argsort(same, axis=1), np.argsort(plain, axis=1))
    mixed = rerank(query, gallery, k1=3, k2=2, metric="covisible").keys(0, 10)
    assert np.isfinite(mixed).all() and (mixed.argmin(axis=1) == np.arange(10)).all()


def test_a_gallery_of_global_vectors_is_met_by_them():
    whole = embeddings(3)
    np.testing.assert_array_equal(fit_width(whole, GLOBAL), whole[:, :GLOBAL])
    assert fit_width(whole, whole.shape[1]) is whole


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda a: a[:, :1000], "got 1000"),
        (lambda a: a - 0.7, "areas from 0 to 1"),
        (lambda a: a * 9, "areas from 0 to 1"),
    ],
)
def test_embeddings_without_parts_are_refused(damage, named):
    wrong = damage(embeddings(4))
    with pytest.raises(DataError, match=named):
        create_distances(wrong, wrong, "covisible")


def test_an_unknown_metric_is_named():
    with pytest.raises(DataError, match=r"euclidean, cosine, covisible; got 'part'"):
        create_distances(embeddings(2), embeddings(2), "part")
