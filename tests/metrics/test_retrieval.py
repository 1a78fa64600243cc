import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtn_core.errors import DataError
from mtn_core.metrics import distance, ranks, retrieval
from mtn_core.metrics.labels import separate_unknown_cameras
from mtn_core.metrics.ranks import match_ranks
from mtn_core.metrics.retrieval import evaluate

DTYPES = st.sampled_from([np.float32, np.float64])
FIELDS = ("ap", "inp", "first_match_rank", "nearest", "cmc", "mAP", "mINP")


def one_dimension(query, gallery):
    return np.array(query, np.float32)[:, None], np.array(gallery, np.float32)[:, None]


def test_hand_worked_fractions():
    query, gallery = one_dimension([0.0], [5, 1, 2, 3, 4, 0.5])
    result = evaluate(query, gallery, [7], [7, 7, 8, 7, 9, 7], [1], [2, 2, 2, 3, 3, 1])
    # by distance: (0.5 ignored) 1 hit, 2 miss, 3 hit, 4 miss, 5 hit
    assert result.ap[0] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)
    assert result.mINP == pytest.approx(3 / 5)
    assert result.num_ignored.tolist() == [1]
    assert result.num_matches.tolist() == [3]
    assert (result.nearest[0], result.first_match[0]) == (1, 1)
    assert result.first_match_distance[0] == pytest.approx(1)
    assert result.cmc.tolist() == [1.0] * 50


def test_cmc_counts_only_queries_with_a_match():
    query, gallery = one_dimension([0, 0, 0], [1, 2, 3])
    result = evaluate(query, gallery, [1, 2, 9], [3, 1, 2], [1, 1, 1], [2, 2, 2], max_rank=4)
    assert result.cmc.tolist() == [0, 0.5, 1, 1]
    assert result.num_query_without_match == 1
    assert result.queries_without_match.tolist() == [2]
    assert np.isnan([result.ap[2], result.inp[2], result.first_match_distance[2]]).all()
    assert result.first_match.tolist() == [1, 2, -1]
    assert result.first_match_rank.tolist() == [2, 3, 0]
    assert result.mAP == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_no_query_has_a_match():
    query, gallery = one_dimension([0, 0], [1, 2])
    result = evaluate(query, gallery, [1, 2], [3, 4], [1, 1], [2, 2], max_rank=3)
    assert np.isnan([result.mAP, result.mINP, *result.cmc]).all()
    assert result.num_query_without_match == 2


def test_all_rows_ignored():
    query, gallery = one_dimension([0], [1, 2])
    result = evaluate(query, gallery, [1], [1, 1], [4], [4, 4])
    assert result.num_query_without_match == 1
    assert result.nearest.tolist() == [-1]
    assert np.isnan(result.nearest_distance[0])


def test_equal_distances_rank_by_gallery_position():
    query, gallery = one_dimension([0], [1, -1, 1, -1])
    first = evaluate(query, gallery, [1], [1, 2, 2, 2], [1], [2, 2, 2, 2])
    last = evaluate(query, gallery, [1], [2, 2, 2, 1], [1], [2, 2, 2, 2])
    assert (first.first_match_rank[0], last.first_match_rank[0]) == (1, 4)


@pytest.mark.parametrize("exact_work", [0, 1e12])
def test_copies_of_one_image_rank_by_gallery_position(monkeypatch, exact_work):
    """The matrix product must give copies one distance, wherever they stand."""
    monkeypatch.setattr(distance, "EXACT_WORK", exact_work)
    rng = np.random.default_rng(3)
    query = rng.standard_normal((9, 70), dtype=np.float32)
    gallery = np.repeat(rng.standard_normal((1, 70), dtype=np.float32), 203, axis=0)
    for position in (0, 1, 57, 101, 202):
        pids = np.zeros(203, int)
        pids[position] = 1
        result = evaluate(query, gallery, np.ones(9, int), pids, np.ones(9, int), pids + 5)
        assert result.first_match_rank.tolist() == [position + 1] * 9


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("exact_work", [0, 1e12])
def test_equal_vectors_have_no_negative_distance(monkeypatch, metric, exact_work):
    monkeypatch.setattr(distance, "EXACT_WORK", exact_work)
    vectors = (1000 + np.random.default_rng(0).standard_normal((40, 300))).astype(np.float32)
    blocks = distance.BlockDistances(vectors, vectors, metric)
    keys = blocks.keys(0, 40)
    assert (keys >= 0).all()
    assert np.diag(keys).max() < 1e-3


def test_large_offset_does_not_hide_the_differences(monkeypatch, naive):
    """An untrained network's embeddings hardly differ; their squares must not cancel."""
    monkeypatch.setattr(distance, "EXACT_WORK", 0)
    rng = np.random.default_rng(1)
    near = rng.standard_normal((30, 16)) * 0.01
    query, gallery = (near[:10] + 100).astype(np.float32), (near + 100).astype(np.float32)
    result = evaluate(query, gallery, range(10), range(30), [1] * 10, [2] * 30)
    wanted = naive.evaluate(
        naive.distance_matrix(query, gallery, "euclidean"),
        list(range(10)), list(range(30)), [1] * 10, [2] * 30, 50,
    )  # fmt: skip
    assert result.mAP == wanted["mAP"] == 1


def test_gallery_smaller_than_max_rank():
    query, gallery = one_dimension([0, 9], [1, 2])
    result = evaluate(query, gallery, [1, 1], [1, 2], [1, 1], [2, 2], max_rank=50)
    assert len(result.cmc) == 50
    assert result.cmc[0] == 0.5
    assert (result.cmc[1:] == 1).all()


@st.composite
def experiments(draw):
    num_query, num_gallery = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    width = draw(st.integers(1, 3))
    num_cameras, num_ids = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    # few distinct values, so that there are many ties
    spread = draw(st.sampled_from([1, 2, 5, 1000]))
    embeddings = [
        rng.integers(-spread, spread + 1, (n, width)).astype(draw(st.sampled_from(["f4", "f8"])))
        for n in (num_query, num_gallery)
    ]
    pids = [rng.integers(0, num_ids, n) for n in (num_query, num_gallery)]
    camids = [rng.integers(0, num_cameras, n) for n in (num_query, num_gallery)]
    return *embeddings, *pids, *camids, draw(st.integers(1, 60))


# Found by chance once: rows 3 and 4 are at one distance from the query, and around the gallery's
# mean the product rounds the two differently, on every kernel. Nearest is row 3.
TIED_ACROSS_THE_MEAN = (
    np.zeros((1, 3), np.float32),
    np.array([[-1, -1, -1], [-1, -1, -1], [-1, -1, 0], [0, 0, -1], [0, -1, 0]], np.float32),
    *(np.zeros(n, int) for n in (1, 5)),
    *(np.full(n, n) for n in (1, 5)),
    5,
)


@settings(max_examples=200, deadline=None)
@given(experiments(), st.booleans(), st.booleans(), st.integers(1, 7))
@example(TIED_ACROSS_THE_MEAN, True, False, 1)
def test_equals_full_sort(naive, experiment, blas, counting_each, block_rows):
    query, gallery, q_pids, g_pids, q_camids, g_camids, max_rank = experiment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distance, "EXACT_WORK", 0 if blas else 1e12)
        # Products of small whole numbers are exact, so ties are ties; around a mean they are not.
        patch.setattr(distance, "_centred", lambda query, gallery: (query, gallery))
        patch.setattr(distance, "BLOCK_ROWS", block_rows)
        patch.setattr(distance, "BLOCK_BYTES", 1)
        patch.setattr(retrieval, "_CHUNK_ROWS", (1, 2))
        patch.setattr(ranks, "COUNT_DIRECTLY", 10**6 if counting_each else 0)
        result = evaluate(*experiment[:6], max_rank=max_rank)
    wanted = naive.evaluate(
        naive.distance_matrix(query, gallery, "euclidean"),
        q_pids, g_pids, q_camids, g_camids, max_rank,
    )  # fmt: skip
    for field in FIELDS:
        np.testing.assert_allclose(getattr(result, field), wanted[field], rtol=1e-12, err_msg=field)
    assert result.num_query_without_match == wanted["num_query_without_match"]


def test_a_tie_in_a_small_set_is_broken_by_gallery_position():
    assert evaluate(*TIED_ACROSS_THE_MEAN[:6], max_rank=5).nearest.tolist() == [3]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.booleans(), st.sampled_from(["euclidean", "cosine"]))
def test_equals_full_sort_of_real_numbers(naive, seed, blas, metric):
    rng = np.random.default_rng(seed)
    query, gallery = rng.standard_normal((5, 8)), rng.standard_normal((60, 8))
    ids = (
        rng.integers(0, 4, 5),
        rng.integers(0, 4, 60),
        rng.integers(1, 4, 5),
        rng.integers(1, 4, 60),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distance, "EXACT_WORK", 0 if blas else 1e12)
        result = evaluate(query, gallery, *ids, metric=metric)
    wanted = naive.evaluate(naive.distance_matrix(query, gallery, metric), *ids, 50)
    for field in FIELDS:
        np.testing.assert_allclose(getattr(result, field), wanted[field], rtol=1e-12, err_msg=field)


def test_zero_vector_under_cosine_is_orthogonal_to_all():
    query = np.array([[0.0, 0], [1, 0]])
    gallery = np.array([[0.0, 0], [1, 1], [1, 0]])
    result = evaluate(query, gallery, [1, 1], [1, 2, 2], [1, 1], [2, 2, 2], metric="cosine")
    assert result.first_match_distance.tolist() == [1, 1]
    assert result.first_match_rank.tolist() == [1, 3]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 50), st.integers(1, 6), st.booleans(), DTYPES)
def test_match_ranks_equal_stable_argsort(seed, count, spread, counting_each, dtype):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, spread + 1, (3, 50)).astype(dtype)
    keys[rng.random(keys.shape) < 0.2] = np.inf
    chosen = np.zeros(keys.shape, bool)
    chosen.flat[rng.choice(keys.size, count, replace=False)] = True
    row, column = np.nonzero(chosen & np.isfinite(keys))
    wanted = np.empty(keys.shape, int)
    np.put_along_axis(
        wanted, np.argsort(keys, axis=1, kind="stable"), np.arange(1, 51)[None], axis=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "COUNT_DIRECTLY", 10**6 if counting_each else 0)
        found = match_ranks(keys, row, column)
    for r in range(3):
        np.testing.assert_array_equal(found[row == r], np.sort(wanted[r, column[row == r]]))


def test_evaluation_is_repeatable_to_the_bit():
    rng = np.random.default_rng(0)
    query, gallery = (rng.standard_normal((n, 33), dtype=np.float32) for n in (90, 700))
    ids = [rng.integers(0, 9, n) for n in (90, 700, 90, 700)]
    once, twice = (evaluate(query, gallery, *ids) for _ in range(2))
    for field in dataclasses.fields(once):
        np.testing.assert_array_equal(getattr(once, field.name), getattr(twice, field.name))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_query_has_the_same_keys_in_every_block_up_to_rounding(monkeypatch, metric):
    monkeypatch.setattr(distance, "EXACT_WORK", 0)
    rng = np.random.default_rng(0)
    query, gallery = (rng.standard_normal((n, 256), dtype=np.float32) for n in (40, 1000))
    blocks = distance.BlockDistances(query, gallery, metric)
    whole = blocks.keys(0, 40)[7:8]
    for start, stop in ((7, 8), (7, 9), (5, 12), (3, 40)):
        part = blocks.keys(start, stop)[7 - start : 8 - start]
        np.testing.assert_allclose(part, whole, rtol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_copies_have_one_key_whatever_blas_makes_of_their_place(monkeypatch, metric, dtype):
    monkeypatch.setattr(distance, "EXACT_WORK", 0)
    rng = np.random.default_rng(5)
    query = rng.standard_normal((23, 130)).astype(dtype)
    gallery = rng.standard_normal((1000, 130)).astype(dtype)
    gallery[::7] = gallery[0]
    gallery[[3, 500, 999]] = gallery[3]
    gallery[12, :5] = gallery[13, :5]  # alike at the start, and no copy
    blocks = distance.BlockDistances(query, gallery, metric)
    for start, stop in ((0, 23), (4, 5), (20, 23)):
        keys = blocks.keys(start, stop)
        assert (keys[:, ::7] == keys[:, :1]).all()
        assert (keys[:, [500, 999]] == keys[:, 3:4]).all()
    assert (blocks.keys(0, 23)[:, 12] != blocks.keys(0, 23)[:, 13]).any()


def test_keys_of_some_queries_take_the_memory_of_their_rows_only():
    shapes = []

    class Probe(distance.BlockDistances):
        def begin(self, start, stop, out):
            shapes.append(out.shape)
            return super().begin(start, stop, out)

    assert Probe(np.ones((9, 2)), np.ones((4, 2))).keys(6, 8).shape == (2, 4)
    assert shapes == [(2, 4)]


def test_find_copies_takes_the_first_of_equal_rows():
    rows = np.array([[1, 2], [0.0, 3], [1, 2], [-0.0, 3], [1, 2], [1, 3]], np.float32)
    copies, originals = distance.find_copies(rows)
    assert dict(zip(copies.tolist(), originals.tolist(), strict=True)) == {2: 0, 3: 1, 4: 0}
    assert distance.find_copies(np.eye(5)) == (None, None)


def test_the_length_of_the_cmc():
    query, gallery = one_dimension([0], [2, 1, 3])
    ids = [1], [1, 2, 2], [1], [2, 2, 2]
    for max_rank, cmc in ((1, [0]), (2, [0, 1]), (np.int64(3), [0, 1, 1]), (5, [0, 1, 1, 1, 1])):
        assert evaluate(query, gallery, *ids, max_rank=max_rank).cmc.tolist() == cmc
    blocks = distance.BlockDistances(query, gallery)
    assert len(evaluate(query, gallery, *ids).cmc) == 50
    assert len(retrieval.evaluate_blocks(blocks, *ids).cmc) == 50


def test_a_camera_unknown_on_one_side_is_its_own():
    for q_camids, g_camids in (([0], [3, 3]), ([3], [0, 3]), ([3], [3, 0])):
        q_found, g_found = separate_unknown_cameras(["a"], q_camids, ["b", "c"], g_camids)
        known = [c for c in (*q_found.tolist(), *g_found.tolist()) if c > 0]
        assert known == [3, 3]
        assert min(*q_found, *g_found) < 0
    same = separate_unknown_cameras(["a"], [3], ["b"], [4])
    assert [c.tolist() for c in same] == [[3], [4]]


def test_unknown_camera_ignores_only_the_image_itself():
    q_camids, g_camids = separate_unknown_cameras(
        ["a", "b", "c"], [0, 0, 4], ["a", "c", "d", "e"], [0, 4, 0, 0]
    )
    assert q_camids[0] == g_camids[0] < 0
    assert q_camids[2] == g_camids[1] == 4
    assert len({*q_camids.tolist(), *g_camids.tolist()}) == 5


GOOD = {
    "query_embeddings": np.zeros((2, 3), np.float32),
    "gallery_embeddings": np.ones((4, 3), np.float32),
    "q_pids": [1, 2],
    "g_pids": [1, 2, 3, 4],
    "q_camids": [1, 1],
    "g_camids": [2, 2, 2, 2],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_embeddings": np.array([[0, 1, 2], [0, np.nan, 0]])}, "row 1"),
        ({"gallery_embeddings": np.array([[np.inf] * 3] * 7 + [[0] * 3])}, r"7 in all"),
        ({"gallery_embeddings": np.ones((4, 5))}, "one width; got 3 and 5"),
        ({"gallery_embeddings": np.ones((0, 3))}, r"shape \(0, 3\)"),
        ({"query_embeddings": np.ones(3)}, r"shape \(3,\)"),
        ({"query_embeddings": np.array([["a", "b", "c"]] * 2)}, "real numbers"),
        ({"g_pids": [1, 2, 3]}, r"`g_pids` must have one entry per embedding, shape \(4,\)"),
        ({"q_camids": [[1], [1]]}, r"`q_camids`"),
        ({"q_pids": [1.0, 2.0]}, "`q_pids` must be whole numbers"),
        ({"metric": "manhattan"}, "euclidean, cosine, covisible; got 'manhattan'"),
        ({"max_rank": 0}, "at least 1; got 0"),
        ({"max_rank": True}, "at least 1; got True"),
        ({"max_rank": 1.5}, "at least 1; got 1.5"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(DataError, match=message):
        evaluate(**(GOOD | change))
    evaluate(**GOOD)


@pytest.mark.parametrize("scale", [1e-30, 3e-22, 1e30])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("exact_work", [0, 1e12])
def test_tiny_and_huge_embeddings_keep_their_order(monkeypatch, scale, metric, exact_work):
    """In float32 their squares would vanish or overflow."""
    monkeypatch.setattr(distance, "EXACT_WORK", exact_work)
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((6, 5)), rng.standard_normal((40, 5))
    ids = rng.integers(0, 3, 6), rng.integers(0, 3, 40), np.ones(6, int), np.full(40, 2)
    wanted = evaluate(query, gallery, *ids, metric=metric)
    scaled = [(a * scale).astype(np.float32) for a in (query, gallery)]
    result = evaluate(*scaled, *ids, metric=metric)
    np.testing.assert_allclose(result.ap, wanted.ap)
    unit = scale if metric == "euclidean" else 1
    np.testing.assert_allclose(result.nearest_distance, wanted.nearest_distance * unit, rtol=1e-5)
