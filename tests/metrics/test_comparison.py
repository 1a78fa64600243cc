import dataclasses

import numpy as np
import pandas as pd
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics.comparison import check_comparable, difference_table


@dataclasses.dataclass
class Result:
    per_query: pd.DataFrame
    protocol: dict


PROTOCOL = {"ignored": "x", "ties": "y", "metric": "euclidean", "query_sha256": "a" * 64}


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(20), 4)
    ap = rng.random(80)
    first = pd.DataFrame(
        {
            "name": [f"{i}.jpg" for i in range(80)],
            "pid": pids,
            "ap": ap,
            "inp": ap,
            "first_match_rank": rng.integers(1, 12, 80),
        }
    )
    first.loc[5, ["ap", "inp", "first_match_rank"]] = [np.nan, np.nan, 0]
    second = first.assign(ap=first["ap"] + 0.05)
    return Result(first, PROTOCOL), Result(second, PROTOCOL | {"max_rank": 10})


def test_differences_are_paired(pair):
    table = difference_table(*(p.per_query for p in pair)).set_index("measure")
    assert table.loc["mAP", "difference"] == pytest.approx(0.05)
    assert table.loc["mAP", "low"] == pytest.approx(0.05)
    assert table.loc["mAP", "second"] - table.loc["mAP", "first"] == pytest.approx(0.05)
    assert table.loc["Rank-1", ["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert (
        table.loc["Rank-5", "first"]
        == (pair[0].per_query["first_match_rank"].between(1, 5)).sum() / 79
    )


def test_other_protocols_are_refused(pair):
    first, second = pair
    other = Result(second.per_query, PROTOCOL | {"metric": "cosine", "query_sha256": "b" * 64})
    with pytest.raises(
        DataError, match=r"the distance \(euclidean and cosine\), the queries \(a{12}…"
    ):
        check_comparable(first, other)


def test_the_distance_may_differ_where_it_is_allowed_to(pair):
    first, second = pair
    other = Result(second.per_query, PROTOCOL | {"metric": "cosine"})
    check_comparable(first, other, metric=False)
    with pytest.raises(DataError, match="the distance"):
        check_comparable(first, other)
    with pytest.raises(DataError, match="the order of ties"):
        check_comparable(first, Result(second.per_query, PROTOCOL | {"ties": "z"}), metric=False)


@pytest.mark.parametrize(("length", "shown"), [(40, "b" * 40), (41, "b" * 12 + "…")])
def test_long_values_are_shortened(pair, length, shown):
    other = Result(pair[1].per_query, PROTOCOL | {"metric": "b" * length})
    with pytest.raises(DataError, match=rf"\(euclidean and {shown}\)"):
        check_comparable(pair[0], other)


def test_drawing_starts_from_the_seed(pair):
    first, second = (p.per_query for p in pair)
    second = second.assign(ap=second["ap"].to_numpy()[::-1])
    table = difference_table(first, second)
    pd.testing.assert_frame_equal(table, difference_table(first, second, seed=0))
    assert not table.equals(difference_table(first, second, seed=1))


def test_other_queries_are_refused(pair):
    with pytest.raises(DataError, match="same queries in the same order"):
        difference_table(pair[0].per_query, pair[1].per_query[::-1])
