import numpy as np
import pandas as pd
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics import mistakes
from mtn_core.metrics.breakdown import by_group, by_pair, by_quantile
from mtn_core.metrics.retrieval import evaluate


def make_per_query(**columns):
    count = len(next(iter(columns.values())))
    base = {
        "name": [f"q{i}" for i in range(count)],
        "pid": np.arange(count),
        "camid": np.ones(count, int),
        "color_id": np.full(count, -1),
        "type_id": np.full(count, -1),
        "color_pred": np.full(count, -1),
        "type_pred": np.full(count, -1),
        "ap": np.full(count, 0.5),
        "first_match_rank": np.full(count, 2),
        "top1_row": np.zeros(count, int),
        "top1_name": [f"g{i}" for i in range(count)],
        "top1_pid": np.full(count, 99),
        "top1_camid": np.full(count, 2),
        "top1_distance": np.arange(count, dtype=float),
        "confidence": np.linspace(0, 1, count),
    }
    return pd.DataFrame(base | columns)


def test_groups_share_out_the_queries():
    frame = make_per_query(
        pid=[1, 1, 2, 3, 4],
        ap=[1.0, 0.5, 0.2, np.nan, 0.4],
        first_match_rank=[1, 2, 7, 0, 1],
    )
    table = by_group(frame, [5, 5, 3, 3, None], "camid")
    assert table["camid"].tolist() == [3, 5]
    assert table["num_query"].tolist() == [2, 2]
    assert table["num_with_match"].tolist() == [1, 2]
    assert table["num_vehicles"].tolist() == [2, 1]
    assert table["mAP"].tolist() == [0.2, 0.75]
    assert table["rank1"].tolist() == [0, 0.5]
    assert table["rank5"].tolist() == [0, 1]
    assert len(by_group(frame, [None] * 5, "camid")) == 0
    with pytest.raises(DataError, match="5 entries; got 2"):
        by_group(frame, [1, 2], "camid")


def test_quantiles_are_ordered_and_complete():
    rng = np.random.default_rng(0)
    frame = make_per_query(ap=rng.random(50))
    values = rng.permutation(50) * 10.0
    values[3] = np.nan
    table = by_quantile(frame, values, "size", unit="px")
    assert table["num_query"].sum() == 49
    assert len(table) == 5
    assert table["low"].is_monotonic_increasing
    assert (table["high"].to_numpy()[:-1] < table["low"].to_numpy()[1:]).all()
    assert table["size"].iloc[0].endswith("px")
    assert by_quantile(frame, np.ones(50), "size")["num_query"].tolist() == [50]
    assert len(by_quantile(frame, np.full(50, np.nan), "size")) == 0


@pytest.mark.parametrize(
    ("values", "ranges"),
    [
        ([1, 2, 9, 10], ["1 to 2 px", "9 to 10 px"]),
        ([-10, -9, 2, 3], ["-10 to -9 px", "2 to 3 px"]),
        ([0.125, 0.25, 3, 9.75], ["0.12 to 0.25 px", "3.00 to 9.75 px"]),
    ],
)
def test_ranges_of_quantiles_are_readable(values, ranges):
    table = by_quantile(make_per_query(ap=np.ones(4)), values, "size", num_groups=2, unit="px")
    assert table["size"].tolist() == ranges
    assert table["low"].tolist() == [values[0], values[2]]
    assert table["high"].tolist() == [values[1], values[3]]


def test_pairs_equal_an_evaluation_of_each_part():
    rng = np.random.default_rng(4)
    query, gallery = rng.standard_normal((20, 4)), rng.standard_normal((80, 4))
    q_pids, g_pids = rng.integers(0, 5, 20), rng.integers(0, 5, 80)
    q_camids, g_camids = rng.integers(1, 4, 20), rng.integers(1, 4, 80)
    table = by_pair(
        query, gallery, q_pids, g_pids, q_camids, g_camids,
        q_groups=q_camids, g_groups=g_camids, name="camid",
    )  # fmt: skip
    # A camera against itself ignores every match.
    pairs = [[1, 2], [1, 3], [2, 1], [2, 3], [3, 1], [3, 2]]
    assert table[["query_camid", "gallery_camid"]].to_numpy().tolist() == pairs
    assert table.index.tolist() == list(range(6))
    for row in table.itertuples():
        q, g = q_camids == row.query_camid, g_camids == row.gallery_camid
        part = evaluate(query[q], gallery[g], q_pids[q], g_pids[g], q_camids[q], g_camids[g])
        assert row.mAP == pytest.approx(part.mAP)
        assert row.rank1 == pytest.approx(part.cmc[0])
        assert row.num_query == part.num_query - part.num_query_without_match


def test_hardest_ids_come_first():
    frame = make_per_query(
        pid=[1, 1, 1, 2, 3],
        ap=[0.1, 0.2, 0.3, 0.9, np.nan],
        first_match_rank=[4, 1, 3, 1, 0],
        top1_pid=[8, 1, 8, 2, 9],
    )
    table = mistakes.hardest_ids(frame)
    assert table["pid"].tolist() == [1, 2]
    first = table.iloc[0]
    assert (first["worst_query"], first["mistaken_for"], first["mistaken_count"]) == ("q0", 8, 2)
    assert first["median_first_match_rank"] == 3
    assert first["num_query"] == 3
    assert (first["mAP"], first["rank1"]) == (pytest.approx(0.2), pytest.approx(1 / 3))
    assert (table["mistaken_for"].iloc[1], table["mistaken_count"].iloc[1]) == (-1, 0)


def test_the_lowest_of_equally_frequent_mistakes_is_named():
    frame = make_per_query(
        pid=[1, 1, 1, 1],
        first_match_rank=[2, 2, 2, 2],
        top1_pid=[9, 8, 9, 8],
        color_id=[4, 4, 4, 4],
        type_id=[6, 6, 6, 6],
    )
    row = mistakes.hardest_ids(frame).iloc[0]
    assert row[["mistaken_for", "mistaken_count", "color_id", "type_id"]].tolist() == [8, 2, 4, 6]


def test_confusions_name_both_crops():
    frame = make_per_query(
        pid=[1, 1, 1, 2, 3],
        first_match_rank=[4, 1, 3, 2, 0],
        ap=[0.5, 1, 0.5, 0.5, np.nan],
        top1_pid=[8, 1, 8, 8, 9],
        top1_distance=[0.7, 0.1, 0.6, 0.5, 0.4],
    )
    table = mistakes.confusions(frame)
    assert table[["pid", "mistaken_for", "count"]].to_numpy().tolist() == [[1, 8, 2], [2, 8, 1]]
    assert table["num_query"].tolist() == [3, 1]
    assert table["share"].tolist() == [2 / 3, 1]
    assert table["distance"].tolist() == [0.6, 0.5]
    names = "pid mistaken_for count num_query share query_name gallery_name distance"
    assert table.columns.tolist() == names.split()
    assert table.loc[0, ["query_name", "gallery_name"]].tolist() == ["q2", "g2"]  # the nearer one


def test_wrong_first_answers_are_compared_with_the_query():
    frame = make_per_query(
        first_match_rank=[2, 2, 1, 2],
        color_id=[1, 1, 1, -1],
        type_id=[1, 2, 1, 2],
        camid=[1, 2, 1, 0],
        top1_row=[0, 1, 0, 1],
        top1_camid=[2, 2, 1, 0],
    )
    table = mistakes.wrong_first_answers(frame, [1, 3], [1, 2]).set_index("share_of")
    assert table.loc["same colour", ["count", "num_known"]].tolist() == [1, 2]
    assert table.loc["same type", ["count", "num_known"]].tolist() == [3, 3]
    assert table.loc["same colour and type", "share"] == 0.5
    assert table.loc["same camera", ["count", "num_known"]].tolist() == [1, 2], "0 is unknown"
    table = mistakes.wrong_first_answers(frame, [-1, -1], [-1, 2]).set_index("share_of")
    assert table["num_known"].tolist() == [0, 2, 0, 2]
    assert table["share"].isna().tolist() == [True, False, True, False]


def test_attribute_confusion_counts_each_image_once_and_shows_the_surest():
    logits = np.array([[3.0, 0], [0, 1], [0, 5], [3, 0], [9, 0]])
    table = mistakes.attribute_confusion(
        ["a", "b", "c", "a", "d"],
        [1, 1, 1, 1, -1],
        logits,
        [1, 2, 2, 1, 1],
        lambda i: {1: "yellow", 2: "orange"}[i],
    )
    assert table[["true", "predicted", "count"]].to_numpy().tolist() == [
        ["yellow", "yellow", 1],
        ["yellow", "orange", 2],
    ]
    assert table["share"].tolist() == [1 / 3, 2 / 3]
    assert table["example"].tolist() == ["a", "c"]
    assert table["example_confidence"].iloc[1] == pytest.approx(1 / (1 + np.exp(-5)))
    names = "true_id predicted_id true predicted count share example example_confidence"
    assert table.columns.tolist() == names.split()


def test_attribute_confusion_of_large_scores_and_of_none():
    table = mistakes.attribute_confusion(["a"], [2], [[1000.0, 1000.0]], [1], str)
    assert table["example_confidence"].tolist() == [0.5]
    assert len(mistakes.attribute_confusion(["a"], [-1], [[1.0, 2.0]], [2], str)) == 0
    assert len(mistakes.attribute_confusion(["a"], [1], [[0.0, 0.0]], [-1], str)) == 0


def test_attribute_mistakes_and_retrieval_mistakes():
    frame = make_per_query(
        color_id=[1, 1, 1, 1, -1],
        color_pred=[1, 1, 2, 2, 1],
        first_match_rank=[1, 1, 1, 3, 1],
        ap=[1, 0.8, 0.6, 0.2, 1],
    )
    table = mistakes.attributes_and_retrieval(frame)
    assert table["attribute"].tolist() == ["color"]
    row = table.iloc[0]
    assert (row["num_right"], row["num_wrong"]) == (2, 2)
    assert (row["rank1_if_right"], row["rank1_if_wrong"], row["difference"]) == (1, 0.5, -0.5)
    assert row["mAP_if_wrong"] == pytest.approx(0.4)


def test_confidence_effect_is_the_rank_correlation():
    rng = np.random.default_rng(0)
    confidence = rng.random(60)
    frame = make_per_query(confidence=confidence, ap=confidence**3 + 0.1 * rng.random(60))
    row = mistakes.confidence_effect(frame).iloc[0]
    assert row["spearman"] == pytest.approx(
        frame["confidence"].corr(frame["ap"], method="spearman")
    )
    assert 0 < row["low"] < row["spearman"] < row["high"] <= 1
    assert row["num_query"] == 60


def test_no_confidence_effect_of_what_does_not_vary_or_is_too_little():
    ap = np.array([0.2, 0.4, 0.9])
    for confidence, precision in ((np.zeros(3), ap), (ap, np.ones(3)), (ap[:2], ap[:2])):
        frame = make_per_query(confidence=confidence, ap=precision)
        assert len(mistakes.confidence_effect(frame)) == 0
    table = mistakes.confidence_effect(make_per_query(confidence=ap, ap=ap))
    assert table["spearman"].tolist() == [pytest.approx(1)]
    spread = make_per_query(confidence=[0, 0.5, 1], ap=[0, 1, 0.5])
    assert mistakes.confidence_effect(spread)["spearman"].tolist() == [pytest.approx(0.5)]
