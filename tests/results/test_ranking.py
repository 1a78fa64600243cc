import numpy as np
import pandas as pd
import pytest

from mtn_core.results import Embeddings, RetrievalResult
from mtn_core.results.ranking import Ranker, filter_queries, select_queries


def embed(rows, split):
    """Rows of (name, pid, camid, position on a line)."""
    names, pids, camids, positions = zip(*rows, strict=True)
    count = len(rows)
    return Embeddings(
        split=split,
        names=np.array(names),
        pids=np.array(pids),
        camids=np.array(camids),
        color_ids=np.full(count, -1),
        type_ids=np.full(count, -1),
        features=np.array(positions, float)[:, None],
        color_logits=np.zeros((count, 0)),
        type_logits=np.zeros((count, 0)),
        keypoints=np.zeros((count, 36, 3)),
        sizes=np.full((count, 2), 10),
    )


QUERY = embed([("q", 1, 1, 0.0), ("lost", 9, 1, 5.0)], "query")
GALLERY = embed(
    [
        ("far right", 1, 2, 3.0),
        ("same camera", 1, 1, 1.0),
        ("wrong", 2, 1, 2.0),
        ("also wrong", 3, 3, 2.5),
        ("near right", 1, 3, 4.0),
    ],
    "test",
)


def test_ignored_images_stay_in_the_list_without_a_rank():
    ranked = Ranker(QUERY, GALLERY).rank(0)
    assert [entry.name for entry in ranked.entries] == [
        "same camera",
        "wrong",
        "also wrong",
        "far right",
        "near right",
    ]
    assert [entry.rank for entry in ranked.entries] == [None, 1, 2, 3, 4]
    verdicts = [entry.verdict for entry in ranked.entries]
    assert verdicts == ["ignored", "wrong", "wrong", "right", "right"]
    assert [entry.distance for entry in ranked.entries] == [1.0, 2.0, 2.5, 3.0, 4.0]
    assert ranked.ap == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert (ranked.num_matches, ranked.num_ignored) == (2, 1)


def test_first_match_behind_the_shown_part_is_kept():
    ranked = Ranker(QUERY, GALLERY).rank(0, top_k=2)
    assert [entry.name for entry in ranked.entries] == ["same camera", "wrong", "also wrong"]
    assert ranked.first_match_is_further_down
    assert (ranked.first_match.name, ranked.first_match.rank) == ("far right", 3)
    assert "rank 3" in ranked.describe()


def test_ignored_images_beyond_the_limit_are_counted():
    rows = [(f"track {k}", 1, 1, 0.1 * k) for k in range(5)] + [("other", 2, 1, 9.0)]
    ranked = Ranker(QUERY, embed(rows, "test")).rank(0, max_ignored=2)
    assert [entry.name for entry in ranked.entries] == ["track 0", "track 1", "other"]
    assert ranked.num_ignored_hidden == 3


def test_query_without_a_match_has_no_ap():
    ranked = Ranker(QUERY, GALLERY).rank(1)
    assert np.isnan(ranked.ap)
    assert ranked.first_match is None
    assert not ranked.first_match_is_further_down
    assert ranked.describe() == "no match in the gallery"


def test_unknown_camera_ignores_only_the_query_itself():
    query = embed([("a", 1, 0, 0.0)], "query")
    gallery = embed([("a", 1, 0, 0.0), ("b", 1, 0, 1.0)], "test")
    verdicts = [entry.verdict for entry in Ranker(query, gallery).rank(0).entries]
    assert verdicts == ["ignored", "right"]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_lists_agree_with_the_metrics(run_dir, metric):
    saved = RetrievalResult.load(run_dir)
    result = RetrievalResult.from_embeddings(saved.query, saved.gallery, metric=metric)
    ranker = Ranker(result.query, result.gallery, metric=metric)
    lists = [ranker.rank(row) for row in range(result.num_query)]
    np.testing.assert_allclose([one.ap for one in lists], result.ap, rtol=1e-12)
    first = [one.first_match.rank if one.first_match else 0 for one in lists]
    assert first == result.per_query["first_match_rank"].tolist()
    nearest = [next(e.name for e in one.entries if e.rank == 1) for one in lists]
    assert nearest == result.per_query["top1_name"].tolist()


def test_given_distances_reorder_and_are_checked():
    swapped = Ranker(QUERY, GALLERY, distances=lambda row: np.array([0.0, 1, 2, 3, 4]))
    assert swapped.rank(0).entries[0].name == "far right"
    with pytest.raises(ValueError, match=r"\(num_gallery,\) = \(5,\); got \(3,\)"):
        Ranker(QUERY, GALLERY, distances=lambda row: np.zeros(3)).rank(0)


def test_row_outside_the_split_is_refused():
    with pytest.raises(IndexError, match=r"0\.\.1; got 2"):
        Ranker(QUERY, GALLERY).rank(2)


FRAME = pd.DataFrame(
    {
        "camid": [1, 2, 1, 3, 1],
        "ap": [0.5, 0.1, 0.1, np.nan, 0.9],
        "first_match_rank": [2, 3, 30, 0, 1],
    }
)


def test_selection_orders_by_ap_then_first_match():
    assert select_queries(FRAME, "worst") == [2, 1, 0, 4]
    assert select_queries(FRAME, "best") == [4, 0, 1, 2]
    assert select_queries(FRAME, "worst", 2) == [2, 1]


def test_selection_by_chance_is_repeatable_and_leaves_out_the_unmatched():
    first = select_queries(FRAME, "random", seed=3)
    assert first == select_queries(FRAME, "random", seed=3)
    assert sorted(first) == [0, 1, 2, 4]


def test_filters_by_value_list_and_range():
    assert select_queries(FRAME, "worst", where={"camid": 1}) == [2, 0, 4]
    assert select_queries(FRAME, "worst", where={"camid": [2, 3]}) == [1]
    assert select_queries(FRAME, "worst", where={"ap": (0.1, 0.5)}) == [2, 1, 0]
    assert filter_queries(FRAME, None).all()


def test_bad_selection_names_what_is_allowed():
    with pytest.raises(ValueError, match="worst, best, random; got 'first'"):
        select_queries(FRAME, "first")
    with pytest.raises(ValueError, match=r"no column 'camera'.*camid"):
        select_queries(FRAME, where={"camera": 1})
