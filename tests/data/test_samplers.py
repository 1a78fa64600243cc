"""Identity-balanced batches (properties 2, 3, 4 and 7 of the known defects)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtn_core.data.samplers import PKSampler
from mtn_core.errors import ConfigError, DataError

counts = st.lists(st.integers(1, 13), min_size=4, max_size=14)


def pids_of(counts):
    pids = np.repeat(np.arange(len(counts)) * 3 + 1, counts)
    return np.random.default_rng(0).permutation(pids)


@given(counts, st.integers(1, 4), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=120, deadline=None)
def test_every_batch_is_p_ids_of_k_images_and_every_image_comes(counts, p, k, epoch):
    pids = pids_of(counts)
    sampler = PKSampler(pids, p, k, seed=1)
    batches = sampler.batches(epoch)
    assert len(batches) == len(sampler)
    for batch in batches:
        groups = pids[batch].reshape(p, k)
        assert (groups == groups[:, :1]).all(), "the K images of an id stand together"
        assert len(set(groups[:, 0].tolist())) == p, "P different ids"
        for group in batch.reshape(p, k):
            available = (pids == pids[group[0]]).sum()
            assert len(set(group.tolist())) == min(k, available), "no repetition without need"
    assert set(np.concatenate(batches).tolist()) == set(range(len(pids)))


@given(counts, st.integers(1, 2), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_ranks_have_whole_batches_of_different_ids(counts, p, ranks):
    pids = pids_of(counts)
    samplers = [PKSampler(pids, p, 4, seed=3, rank=r, rank_size=ranks) for r in range(ranks)]
    per_rank = [s.batches(2) for s in samplers]
    assert len({len(b) for b in per_rank}) == 1
    for step in zip(*per_rank, strict=True):
        ids = [pids[batch].reshape(p, 4)[:, 0].tolist() for batch in step]
        assert all(len(set(i)) == p for i in ids)
        assert len({pid for own in ids for pid in own}) == p * ranks
    seen = {int(row) for batches in per_rank for batch in batches for row in batch}
    assert seen == set(range(len(pids)))


def test_batches_are_drawn_anew_every_epoch():
    sampler = PKSampler(pids_of([5] * 12), 4, 4, seed=0)
    first, second = (np.concatenate(sampler.batches(e)) for e in (0, 1))
    assert (first != second).mean() > 0.8
    groups = [
        {frozenset(g.tolist()) for b in sampler.batches(e) for g in b.reshape(4, 4)}
        for e in range(2)
    ]
    assert len(groups[0] & groups[1]) < 0.5 * len(groups[0]), "also within an id"


def test_an_epoch_can_be_drawn_again():
    pids = pids_of([5] * 12)
    one, two = (PKSampler(pids, 4, 4, seed=7).batches(3) for _ in range(2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    other = PKSampler(pids, 4, 4, seed=8).batches(3)
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_ids_meet_others_within_an_epoch():
    """Batches of ever the same ids would starve the triplet loss of negatives."""
    sampler = PKSampler(pids_of([16] * 12), 4, 4, seed=0)
    pids = pids_of([16] * 12)
    partners = {}
    for batch in sampler.batches(0):
        ids = set(pids[batch].tolist())
        for pid in ids:
            partners.setdefault(pid, set()).update(ids - {pid})
    assert np.mean([len(p) for p in partners.values()]) > 6


def test_the_step_count_of_veri():
    """8 x 4 on VeRi's 37,778 images: the seed makes 1136 steps, every image needs a few more."""
    rng = np.random.default_rng(0)
    sizes = rng.multinomial(37_778 - 576 * 8, np.full(576, 1 / 576)) + 8
    sampler = PKSampler(np.repeat(np.arange(576), sizes), 8, 4, seed=0)
    groups = int(np.ceil(sizes / 4).sum())
    assert len(sampler) == -(-groups // 8)
    assert 1136 <= len(sampler) <= 1300


def test_a_dominant_id_does_not_break_the_schedule():
    pids = np.array([0] * 100 + [1] * 4 + [2] * 4 + [3])
    sampler = PKSampler(pids, 2, 4, seed=0)
    assert len(sampler) == 25
    batches = sampler.batches(0)
    assert all(0 in pids[b] for b in batches)
    assert set(np.concatenate(batches)) == set(range(len(pids)))


def test_repeats_weigh_ids():
    pids = np.repeat(np.arange(20), 8)
    repeats = np.where(pids < 10, 0.5, 2.0)
    sampler = PKSampler(pids, 4, 4, seed=0, repeats=repeats)
    assert len(sampler) == 13  # 10 + 40 groups, four a step
    for epoch in range(3):
        batches = sampler.batches(epoch)
        assert len(batches) == len(sampler)
        low = sum((pids[b] < 10).sum() for b in batches)
        assert low == pytest.approx(0.2 * 4 * 4 * len(sampler), abs=8)
    seen = {int(r) for e in range(20) for b in sampler.batches(e) for r in b}
    assert seen == set(range(len(pids))), "over epochs every image is reachable"


def test_an_epoch_draws_whole_shares_exactly_and_rounds_the_others_at_random():
    pids = np.repeat(np.arange(8), 8)  # two groups an id
    repeats = np.repeat([1, 1, 0.75, 0.75, 0.75, 0.75, 0.5, 0], 8)
    sampler = PKSampler(pids, 2, 4, seed=0, repeats=repeats)
    drawn = np.array([sampler._draw_counts(np.random.default_rng(i)) for i in range(60)])
    assert (drawn.sum(axis=1) == 11).all()
    assert (drawn[:, :2] == 2).all()
    assert [set(column.tolist()) for column in drawn[:, 2:6].T] == [{1, 2}] * 4
    assert (drawn[:, 6] == 1).all()
    assert (drawn[:, 7] == 0).all()
    halves = np.repeat([1, 0.5, 0.5], 4)
    sampler = PKSampler(np.repeat([0, 1, 2], 4), 1, 4, seed=0, repeats=halves)
    drawn = [sampler._draw_counts(np.random.default_rng(i)).tolist() for i in range(20)]
    assert {tuple(counts) for counts in drawn} == {(1, 1, 0), (1, 0, 1)}


def test_fewer_ids_than_a_batch_needs():
    pids = np.repeat([4, 5, 6], 5)
    with pytest.raises(DataError, match=r"needs 8 ids, but the training split has 3") as error:
        PKSampler(pids, 8, 4, seed=0)
    assert "set data.ids_per_batch to 3 or less" in str(error.value)
    with pytest.raises(DataError, match=r"needs 2 ids on each of 2 ranks.* to 1 or less"):
        PKSampler(pids, 2, 4, seed=0, rank_size=2)
    with pytest.raises(DataError, match=r"has 3; set data\.ids_per_batch to 1 or less"):
        PKSampler(pids, 1, 4, seed=0, rank_size=4)
    assert len(PKSampler(pids, 3, 4, seed=0)) == 2


def test_an_id_of_weight_zero_never_comes_and_does_not_count():
    pids = np.repeat([4, 5, 6], 4)
    repeats = np.repeat([1.0, 0.0, 1.0], 4)
    batches = PKSampler(pids, 2, 4, seed=0, repeats=repeats).batches(0)
    assert [sorted(set(pids[batch].tolist())) for batch in batches] == [[4, 6]]
    with pytest.raises(DataError, match="needs 3 ids, but the training split has 2"):
        PKSampler(pids, 3, 4, seed=0, repeats=repeats)


def test_the_smallest_arguments_are_enough():
    assert [batch.tolist() for batch in PKSampler([7], 1, 1, seed=0).batches(0)] == [[0]]


def test_rounding_errors_of_shares_make_no_step():
    """Thirty tenths add up to a little more than three."""
    sampler = PKSampler(np.arange(30), 1, 1, seed=0, repeats=np.full(30, 0.1))
    assert sampler._groups.sum() > 3
    assert len(sampler) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"ids_per_batch": 0},
        {"images_per_id": 0},
        {"rank": 2, "rank_size": 2},
        {"rank": -1},
        {"rank": 1},
        {"repeats": np.full(15, np.inf)},
        {"repeats": np.full(15, -1.0)},
        {"repeats": np.ones(3)},
    ],
)
def test_arguments_out_of_range(arguments):
    values = {"ids_per_batch": 2, "images_per_id": 2, "seed": 0} | arguments
    with pytest.raises(ConfigError):
        PKSampler(np.repeat([4, 5, 6], 5), **values)
