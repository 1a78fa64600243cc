"""The benchmark of the gallery, small; its figures need a quiet machine and a million rows."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("lancedb")


def test_every_part_is_measured_and_the_gallery_is_exact(repository, tmp_path):
    script = repository / "scripts" / "bench_gallery.py"
    command = [sys.executable, str(script), "--rows", "3000", "--width", "64", "--queries", "10"]
    done = subprocess.run(
        [*command, "--work", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not any(tmp_path.iterdir())
    *table, last = done.stdout.strip().splitlines()
    parts = json.loads(last)
    assert parts["make"]["rows"] == parts["gallery"]["count"] == 3000
    kept = parts["truth"]["kept"]
    assert kept["1 %: a camera"] == pytest.approx(0.01, abs=0.005)
    assert kept["20 %: twenty cameras"] == pytest.approx(0.2, abs=0.03)
    for case, share in kept.items():
        for name in ("gallery", "numpy"):
            measured = parts[name]["cases"][case]
            assert measured["recall"] == 1 and measured["p95_s"] >= measured["p50_s"] > 0
        assert 0 < share <= 1
        if parts["faiss"]:
            assert 0 < parts["faiss"]["cases"][case]["recall"] <= 1
    assert parts["insert"]["disk_MB"] > 3000 * 64 * 2 / 1e6
    assert set(parts["targets"]) == {
        "filtered (1 %) p50 s", "process MB", "opening s", "adding 10,000 s",
    }  # fmt: skip
    assert any(line.startswith("targets") for line in table)
