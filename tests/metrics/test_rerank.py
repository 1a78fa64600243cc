import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rerank_dense import rerank_dense

from mtn_core.errors import DataError
from mtn_core.metrics import distance
from mtn_core.metrics.rerank import rerank
from mtn_core.metrics.retrieval import evaluate, evaluate_blocks


def make(seed, num_query, num_gallery, num_ids, noise=0.7):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((num_ids, 12))
    q_pids, g_pids = rng.integers(0, num_ids, num_query), rng.integers(0, num_ids, num_gallery)
    query = centres[q_pids] + noise * rng.standard_normal((num_query, 12))
    gallery = centres[g_pids] + noise * rng.standard_normal((num_gallery, 12))
    return query, gallery, q_pids, g_pids


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(1, 25),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from(["euclidean", "cosine"]),
)
def test_equals_the_dense_form(seed, num_query, num_gallery, k1, k2, lambda_value, metric):
    query, gallery, *_ = make(seed, num_query, num_gallery, 5)
    settings_ = {"k1": k1, "k2": k2, "lambda_value": lambda_value, "metric": metric}
    sparse = rerank(query, gallery, **settings_)
    dense = rerank_dense(query, gallery, **settings_)
    np.testing.assert_allclose(sparse.keys(0, num_query), dense, atol=1e-6)


def test_equals_the_dense_form_in_float32_blocks(monkeypatch):
    query, gallery, *_ = make(0, 40, 300, 15)
    query, gallery = query.astype(np.float32), gallery.astype(np.float32)
    monkeypatch.setattr(distance, "EXACT_WORK", 0)
    monkeypatch.setattr(distance, "BLOCK_BYTES", 1)
    monkeypatch.setattr(distance, "BLOCK_ROWS", 64)
    sparse = rerank(query, gallery)
    assert sparse.dtype == np.float32
    np.testing.assert_allclose(sparse.keys(0, 40), rerank_dense(query, gallery), atol=2e-6)
    np.testing.assert_array_equal(sparse.keys(5, 6), sparse.keys(0, 40)[5:6])


def test_under_cosine_only_directions_count():
    """Of embeddings shorter than one, too; one without a direction is as far from all."""
    query, gallery, *_ = make(2, 6, 50, 5)
    settings_ = {"k1": 8, "k2": 3, "metric": "cosine"}
    plain = rerank(query, gallery, **settings_).keys(0, 6)
    lengths = np.geomspace(1e-3, 1e3, 50)[:, None]
    scaled = rerank(query / 100, gallery * lengths, **settings_).keys(0, 6)
    np.testing.assert_allclose(scaled, plain, atol=1e-6)
    gallery[7] = 0
    keys = rerank(query, gallery, **settings_).keys(0, 6)
    np.testing.assert_allclose(keys, rerank_dense(query, gallery, **settings_), atol=1e-6)


def test_lambda_one_is_the_plain_order():
    query, gallery, q_pids, g_pids = make(3, 20, 100, 6)
    camids = np.ones(20, int), np.full(100, 2)
    plain = evaluate(query, gallery, q_pids, g_pids, *camids)
    mixed = evaluate_blocks(rerank(query, gallery, lambda_value=1), q_pids, g_pids, *camids)
    np.testing.assert_allclose(mixed.ap, plain.ap)


def test_re_ranking_helps_where_vehicles_form_clusters():
    query, gallery, q_pids, g_pids = make(1, 30, 300, 20, noise=0.9)
    camids = np.ones(30, int), np.full(300, 2)
    plain = evaluate(query, gallery, q_pids, g_pids, *camids)
    mixed = evaluate_blocks(rerank(query, gallery, k1=12, k2=4), q_pids, g_pids, *camids)
    assert mixed.mAP > plain.mAP + 0.03


def test_copies_of_one_image():
    """All distances equal (zero): nothing is divided by zero."""
    result = rerank(np.ones((2, 3)), np.ones((5, 3)))
    keys = result.keys(0, 2)
    assert np.isfinite(keys).all()
    np.testing.assert_allclose(keys, keys[0, 0])


@pytest.mark.parametrize("bad", [{"k1": 0}, {"k2": 0}, {"lambda_value": 1.2}])
def test_bad_parameters(bad):
    with pytest.raises(DataError, match="at least 1 and `lambda_value` from 0 to 1"):
        rerank(np.ones((2, 3)), np.ones((5, 3)), **bad)


def test_bad_embeddings():
    with pytest.raises(DataError, match="one width"):
        rerank(np.ones((2, 3)), np.ones((5, 4)))
