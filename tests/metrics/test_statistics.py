import numpy as np
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics.statistics import (
    _draw_weights,
    bootstrap_contrast,
    bootstrap_mean,
    bootstrap_means,
    intervals_table,
    paired_difference,
)


def naive_bootstrap(values, groups, num_draws, rng):
    """A loop that really draws whole groups."""
    ids = np.unique(groups)
    means = []
    for _ in range(num_draws):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in rng.choice(ids, len(ids))])
        drawn = values[rows]
        if not np.isnan(drawn).all():
            means.append(np.nanmean(drawn))
    return np.quantile(means, [0.025, 0.975])


@pytest.fixture
def rows():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(30), rng.integers(1, 9, 30))
    values = (rng.random(30)[groups] + 0.2 * rng.standard_normal(len(groups))).clip(0, 1)
    values[rng.random(len(values)) < 0.1] = np.nan
    return values, groups


def test_interval_is_that_of_drawing_whole_vehicles(rows):
    values, groups = rows
    interval = bootstrap_mean(values, groups, num_draws=4000)
    low, high = naive_bootstrap(values, groups, 4000, np.random.default_rng(1))
    assert interval.estimate == pytest.approx(np.nanmean(values))
    assert interval.low == pytest.approx(low, abs=0.01)
    assert interval.high == pytest.approx(high, abs=0.01)
    assert interval.num_groups == len(np.unique(groups[~np.isnan(values)])) < 30


def test_interval_of_vehicles_is_wider_than_of_queries(rows):
    values, groups = rows
    by_vehicle = bootstrap_mean(values, groups)
    by_query = bootstrap_mean(values, np.arange(len(values)))
    assert by_vehicle.high - by_vehicle.low > 1.3 * (by_query.high - by_query.low)


def test_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        groups = np.repeat(np.arange(40), 5)
        values = rng.standard_normal(40)[groups] + 0.3 * rng.standard_normal(200)
        interval = bootstrap_mean(values, groups, num_draws=300, seed=seed, level=0.9)
        held += interval.low <= 0 <= interval.high
    assert 0.82 <= held / 200 <= 0.96


def test_same_seed_same_interval(rows):
    assert bootstrap_mean(*rows, seed=4) == bootstrap_mean(*rows, seed=4)
    assert bootstrap_mean(*rows, seed=4) != bootstrap_mean(*rows, seed=5)


def test_pairing_finds_what_two_intervals_do_not(rows):
    values, groups = rows
    better = values + 0.02
    difference = paired_difference(values, better, groups)
    apart = bootstrap_means({"a": values, "b": better}, groups)
    assert difference.estimate == pytest.approx(0.02)
    assert difference.low > 0
    assert difference.share_above_zero == 1
    assert apart["a"].high > apart["b"].low
    same = paired_difference(values, values, groups)
    assert (same.low, same.high, same.share_above_zero) == (0, 0, 0.5)


def test_contrast_is_the_difference_of_the_two_means(rows):
    values, groups = rows
    marked = np.random.default_rng(0).random(len(values)) < 0.4
    contrast = bootstrap_contrast(values, marked, groups)
    assert contrast.estimate == pytest.approx(
        np.nanmean(values[marked]) - np.nanmean(values[~marked])
    )
    assert contrast.low < contrast.estimate < contrast.high


def test_too_little_data_has_no_interval():
    one = bootstrap_mean([0.5, 0.7], [3, 3])
    assert one.estimate == pytest.approx(0.6)
    assert np.isnan([one.low, one.high]).all()
    none = bootstrap_mean([np.nan], [3])
    empty = bootstrap_mean([], [])
    assert np.isnan([none.estimate, none.low, empty.estimate]).all()
    assert empty.num_groups == 0


def test_two_vehicles_are_enough_for_an_interval():
    # Drawn 00, 01, 10 or 11: means 0, 1/2, 1/2, 1.
    interval = bootstrap_mean([0.0, 1.0], [3, 4])
    assert (interval.estimate, interval.low, interval.high) == (0.5, 0, 1)
    assert interval.share_above_zero == pytest.approx(3 / 4 + 1 / 4 / 2, abs=0.02)
    half = bootstrap_mean([0.0, 1.0], [3, 4], level=0.4)  # from the 0.3 to the 0.7 quantile
    assert (half.low, half.high, half.level) == (0.5, 0.5, 0.4)


def test_every_draw_is_of_as_many_vehicles_as_there_are():
    for num_draws in (1, 249, 250, 251, 600):
        weights = np.concatenate(list(_draw_weights(7, num_draws, 0)))
        assert weights.shape == (num_draws, 7)
        assert (weights.sum(axis=1) == 7).all()


def test_a_contrast_rests_on_the_vehicles_of_the_smaller_side():
    contrast = bootstrap_contrast([1.0, 2, 3, 4], [True, False, False, False], [1, 1, 2, 3])
    assert contrast.estimate == -2
    assert contrast.num_groups == 1
    assert np.isnan(contrast.low)


def test_drawing_starts_from_the_seed(rows):
    values, groups = rows
    marked = groups % 2 == 0
    for draw in (
        lambda **seed: bootstrap_mean(values, groups, **seed),
        lambda **seed: bootstrap_means({"a": values}, groups, **seed)["a"],
        lambda **seed: bootstrap_contrast(values, marked, groups, **seed),
    ):
        assert draw() == draw(seed=0) != draw(seed=1)


def test_table(rows):
    table = intervals_table({"mAP": bootstrap_mean(*rows)})
    assert list(table.columns[:4]) == ["measure", "estimate", "low", "high"]


def test_bad_input():
    with pytest.raises(DataError, match=r"one length; got \(2,\), \(3,\)"):
        bootstrap_mean([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="between 0 and 1; got 10, 95"):
        bootstrap_mean([1, 2], [1, 2], num_draws=10, level=95)
    for wrong in ({"num_draws": 0}, {"level": 0}, {"level": 1}):
        with pytest.raises(DataError, match="at least 1 and `level` between 0 and 1"):
            bootstrap_mean([1, 2], [1, 2], **wrong)
    assert bootstrap_mean([1, 1], [1, 2], num_draws=1).low == 1
    with pytest.raises(DataError, match="one length"):
        bootstrap_mean([[1, 2]], [[1, 2]])
    with pytest.raises(DataError, match="same queries"):
        paired_difference([1, 2], [1, 2, 3], [1, 2])
