"""The benchmark scripts measure what they say."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mtn_core.metrics.retrieval import evaluate


@pytest.fixture(scope="module")
def scripts(repository):
    sys.path.insert(0, str(repository / "scripts"))  # bench_rerank imports its neighbour
    try:
        modules = {}
        for name in ("bench_metrics", "bench_rerank"):
            path = repository / "scripts" / f"{name}.py"
            spec = importlib.util.spec_from_file_location(name, path)
            modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(modules[name])
        yield SimpleNamespace(**modules)
    finally:
        sys.path.pop(0)


def test_classic_evaluation_agrees(scripts):
    bench = scripts.bench_metrics
    rng = np.random.default_rng(0)
    ids = bench.random_ids(40, 300, 12, 4, rng)
    query, gallery = (bench.make_embeddings(p, 16, 0.8, rng) for p in ids[:2])
    result = evaluate(query, gallery, *ids)
    assert 0.1 < result.mAP < 0.99
    assert bench.classic(query, gallery, *ids) == pytest.approx(result.mAP, rel=1e-3)  # float32


def test_embeddings_of_one_identity_lie_together(scripts):
    pids = np.array([3, 900, 3])
    made = scripts.bench_metrics.make_embeddings(pids, 400, 5.0, np.random.default_rng(0))
    assert np.linalg.norm(made[0] - made[2]) < 0.5 * np.linalg.norm(made[0] - made[1])


def test_peak_memory_sees_a_large_array(repository):
    # In a process of its own, as the benchmark is: what a thousand tests left free would be used
    # again, and no memory would be seen to be taken.
    code = """
import time, numpy as np, bench_metrics
def hold(sizes):
    arrays = [np.ones(megabytes * 10**6, np.uint8) for megabytes in sizes]
    time.sleep(1)  # memory is looked at every few milliseconds, less often on a busy machine
    return sum(array.sum() for array in arrays)
# The allocator keeps what it was given back of the small ones, and uses it for the last.
for sizes in ([20], [80], [2] * 10, [2] * 10):
    print(bench_metrics.peak_memory(lambda: hold(sizes)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    peaks = [int(line) for line in done.stdout.split()]
    assert peaks == [pytest.approx(m * 1e6, abs=5e6) for m in (20, 80, 20, 20)]


def test_both_forms_of_re_ranking_find_the_same(scripts):
    args = SimpleNamespace(labels=scripts.bench_rerank.VERI_LABELS / "none", scale=0.02)
    sparse, dense = (scripts.bench_rerank.run(form, args) for form in ("sparse", "dense"))
    assert sparse["shape"] == dense["shape"] == [33, 231, 1024]
    assert sparse["mAP"] == pytest.approx(dense["mAP"], abs=1e-6)


def test_table_is_printed(scripts, capsys):
    figures = scripts.bench_metrics._figures({"product": [1.0, 2.0], "evaluate": [1.5, 2.4]})
    assert figures["times_product"] == 1.5
    scripts.bench_metrics.print_table([{"case": "size", "shape": [1, 2, 3], **figures}])
    scripts.bench_metrics.print_plot([{"shape": [1, 2000, 3], **figures}])
    printed = capsys.readouterr().out
    assert "1 x 2 x 3" in printed
    assert f"2000 {'=' * 33}{'#' * 17} 1.500" in printed
