import os
import threading
import time

import pytest

from mtn_core.data.workers import Prefetcher, num_workers_for


def make(jobs, build=lambda job, fetched: (job, fetched), **options):
    fetched = []
    values = {"num_workers": 3, "depth": 4} | options

    def fetch(job):
        fetched.append(job)
        return len(fetched)

    return Prefetcher(jobs, fetch, build, **values), fetched


def our_threads():
    return [t for t in threading.enumerate() if t.name.startswith("mtn-data")]


def test_worker_counts_follow_the_machine(monkeypatch):
    """Property 10: more workers than processors is clamped, not a crash."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert num_workers_for(None) == 3
    assert num_workers_for(2) == 2
    assert num_workers_for(500) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert num_workers_for(None) == 16
    assert num_workers_for(40) == 40
    assert [num_workers_for(n) for n in (-1, 0, 1)] == [1, 1, 1]
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert num_workers_for(None) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_workers_for(None) == 1


def test_only_a_lowered_count_is_told(monkeypatch, caplog):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    caplog.set_level("INFO")
    num_workers_for(3)
    assert not caplog.records
    num_workers_for(4)
    assert "4 workers asked for, 3 processors here: using 3" in caplog.text


def test_no_depth_is_a_depth_of_one():
    prefetcher, fetched = make(range(5), depth=0)
    time.sleep(0.05)
    assert len(fetched) == 1
    assert len(list(prefetcher)) == 5


def test_results_come_in_order_whatever_the_duration():
    def build(job, fetched):
        time.sleep(0.01 * (job % 3 == 0))
        return job * 10, fetched

    prefetcher, _ = make(range(20), build)
    assert list(prefetcher) == [(10 * i, i + 1) for i in range(20)]
    assert not our_threads()


def test_no_more_than_depth_jobs_are_ahead():
    prefetcher, fetched = make(range(50), depth=5)
    iterator = iter(prefetcher)
    next(iterator)
    time.sleep(0.1)
    assert len(fetched) == 6
    prefetcher.close()
    assert not our_threads()


def test_an_error_is_raised_in_its_place_and_ends_the_threads():
    def build(job, fetched):
        if job == 3:
            raise ValueError("job three")
        return job

    prefetcher, _ = make(range(10), build)
    got = []
    with pytest.raises(ValueError, match="job three"):
        for value in prefetcher:
            got.append(value)
    assert got == [0, 1, 2]
    assert not our_threads()


def test_an_error_while_fetching_is_raised_too():
    def fetch(job):
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        list(Prefetcher([1, 2], fetch, lambda j, f: j, num_workers=2, depth=2))
    assert not our_threads()


def test_leaving_the_loop_ends_the_threads_and_finishes_once():
    finished = []
    prefetcher, _ = make(range(100), finish=lambda: finished.append(True))
    for value in prefetcher:
        if value[0] == 2:
            break
    del value
    prefetcher.close()
    prefetcher.close()
    assert not our_threads()
    assert finished == [True]


def test_no_jobs():
    prefetcher, _ = make([])
    assert list(prefetcher) == []
