import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from mtn_core.errors import DataError
from mtn_core.metrics import distance
from mtn_core.metrics.verification import Verification, verify


@pytest.fixture
def data():
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((8, 6))
    q_pids, g_pids = rng.integers(0, 8, 30), rng.integers(0, 8, 90)
    q_camids, g_camids = rng.integers(1, 4, 30), rng.integers(1, 4, 90)
    query = centres[q_pids] + 0.6 * rng.standard_normal((30, 6))
    gallery = centres[g_pids] + 0.6 * rng.standard_normal((90, 6))
    return query, gallery, q_pids, g_pids, q_camids, g_camids


def trials(data, metric="euclidean"):
    query, gallery, q_pids, g_pids, q_camids, g_camids = data
    distances = distance.BlockDistances(query, gallery, metric)
    distances = distances.to_distance(distances.keys(0, len(query)))
    same = q_pids[:, None] == g_pids
    valid = ~(same & (q_camids[:, None] == g_camids))
    return distances[valid], same[valid]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("exact_work", [0, 1e12])
def test_against_all_pairs(data, metric, exact_work, monkeypatch):
    monkeypatch.setattr(distance, "EXACT_WORK", exact_work)
    monkeypatch.setattr(distance, "BLOCK_ROWS", 7)
    monkeypatch.setattr(distance, "BLOCK_BYTES", 1)
    view = verify(*data, metric=metric)
    distances, same = trials(data, metric)
    assert (view.num_positive, view.num_negative) == (same.sum(), (~same).sum())
    assert view.auc == pytest.approx(roc_auc_score(same, -distances), abs=1e-3)
    far, tar, _ = roc_curve(same, -distances, drop_intermediate=False)
    closest = np.abs(far - (1 - tar)).argmin()
    step = 1 / min(same.sum(), (~same).sum())
    assert view.equal_error_rate == pytest.approx(far[closest], abs=2 * step)
    accepted = distances < view.equal_error_threshold
    assert accepted[~same].mean() == pytest.approx(view.equal_error_rate, abs=2 * step)


def test_threshold_keeps_strangers_out(data):
    view = verify(*data)
    distances, same = trials(data)
    for rate in (0, 0.01, 0.2, 1):
        threshold = view.threshold_at(rate)
        assert (distances[~same] < threshold).mean() <= rate
        assert view.true_accept_rate_at(rate) == pytest.approx((distances[same] < threshold).mean())
    # no larger threshold would do
    assert (distances[~same] < view.threshold_at(0.2) + view.edges[1]).mean() > 0.2


def test_separable_vehicles_have_no_errors():
    query, gallery = np.array([[0.0], [10]]), np.array([[0.1], [10.2]])
    view = verify(query, gallery, [1, 2], [1, 2], [1, 1], [2, 2])
    assert view.equal_error_rate == 0
    assert view.auc == 1
    assert 0.2 <= view.equal_error_threshold <= 9.9


def test_histogram_and_curve_for_people(data):
    view = verify(*data)
    histogram, curve = view.to_frame(20), view.roc_frame()
    assert len(histogram) == 20
    assert histogram["positive"].sum() == view.num_positive
    assert histogram["negative"].sum() == view.num_negative
    assert (histogram["low"].to_numpy()[1:] == histogram["high"].to_numpy()[:-1]).all()
    assert curve["false_accept_rate"].is_monotonic_increasing
    assert curve.iloc[0, 1:].tolist() == [0, 0]
    assert curve.iloc[-1, 1:].tolist() == [1, 1]
    assert len(curve) < 700


def counted(positive, negative):
    """Pairs counted in bins one wide."""
    return Verification(np.arange(len(positive) + 1.0), np.array(positive), np.array(negative))


def test_hand_worked_rates():
    # Strangers accepted 0 1/4 3/4 1 1, own vehicles rejected 1 3/4 1/2 1/4 0: they cross between
    # the edges 1 and 2, two thirds of the way.
    view = counted([1, 1, 1, 1], [1, 2, 1, 0])
    assert view.equal_error_threshold == pytest.approx(1 + 2 / 3)
    assert view.equal_error_rate == pytest.approx(1 / 4 + 2 / 3 / 2)
    assert view.auc == pytest.approx(1 / 4 * 1 / 8 + 1 / 2 * 3 / 8 + 1 / 4 * 5 / 8)
    assert [view.threshold_at(rate) for rate in (0, 0.25, 0.7, 0.75, 1)] == [0, 1, 1, 2, 4]
    assert [view.true_accept_rate_at(rate) for rate in (0, 0.25, 0.75, 1)] == [0, 0.25, 0.5, 1]
    first = counted([4, 0], [1, 3])  # 0 1/4 1 and 1 0 0
    assert first.equal_error_threshold == pytest.approx(0.8)
    assert first.equal_error_rate == pytest.approx(0.2)
    exact = counted([2, 1, 1, 0], [0, 1, 1, 2])  # both 1/4 at the edge 2
    assert (exact.equal_error_threshold, exact.equal_error_rate) == (2, 0.25)
    level = counted([3, 0, 1], [1, 0, 3])  # both 1/4 at the edges 1 and 2: the first
    assert (level.equal_error_threshold, level.equal_error_rate) == (1, 0.25)


def test_hand_worked_tables():
    view = counted([0, 1, 2, 0, 0], [0, 1, 1, 1, 0])
    assert view.to_frame(2).to_numpy().tolist() == [[1, 3, 3, 2], [3, 4, 0, 1]]
    assert view.to_frame(9).to_numpy().tolist() == [[1, 2, 1, 1], [2, 3, 2, 1], [3, 4, 0, 1]]
    # Both ends, the last edge before strangers come, and every step between.
    rows = [[0, 0, 0], [1, 0, 0], [2, 1 / 3, 1 / 3], [3, 2 / 3, 1], [5, 1, 1]]
    assert view.roc_frame().to_numpy().tolist() == rows
    assert view.roc_frame(2)["threshold"].tolist() == [0, 1, 2, 3, 5]


def test_the_curve_is_dense_where_few_strangers_are_accepted_and_has_no_gap():
    view = counted(np.ones(10_000, int), np.ones(10_000, int))
    far = view.roc_frame()["false_accept_rate"].to_numpy()
    assert set(np.arange(10) / 10_000) <= set(far)
    assert np.diff(far).max() < 0.011


def test_the_bins_reach_just_beyond_the_largest_distance():
    ids = [1], [1, 2], [1], [2, 2]
    far = verify(np.array([[-1.0]]), np.array([[1.0], [1]]), *ids)
    assert far.edges[-1] == pytest.approx(2.002)
    assert verify(np.ones((1, 2)), np.ones((2, 2)), *ids).edges[-1] == 1, "no distance at all"
    cosine = verify(np.array([[-1.0]]), np.array([[1.0], [1]]), *ids, metric="cosine", num_bins=4)
    assert cosine.edges.tolist() == [0, 0.5, 1, 1.5, 2]
    assert cosine.positive.tolist() == cosine.negative.tolist() == [0, 0, 0, 1]


def test_without_positive_pairs_rates_are_nan():
    view = verify(np.zeros((1, 2)), np.ones((2, 2)), [1], [2, 3], [1], [2, 2])
    assert np.isnan([view.auc, view.equal_error_rate, view.equal_error_threshold]).all()
    assert len(view.roc_frame()) == 0
    none = verify(np.zeros((1, 2)), np.ones((1, 2)), [1], [1], [1], [1])
    assert len(none.to_frame()) == 0
    assert np.isnan(none.threshold_at(0.1))


def test_bad_rate(data):
    for rate in (5, 1.01, -0.01):
        with pytest.raises(DataError, match=f"within 0..1; got {rate}"):
            verify(*data).threshold_at(rate)
