"""The training benchmark runs the real loop; its figures need a quiet machine."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_it_prints_a_row_for_every_input_and_one_json_line(repository, smoke_root):
    command = [sys.executable, str(repository / "scripts" / "bench_train.py")]
    command += ["--root", str(smoke_root), "--sizes", "32", "--inputs", "segments"]
    command += ["--batch", "8", "--steps", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.strip().splitlines()
    [row] = json.loads(last)["rows"]
    assert (row["inputs"], row["size"], row["batch"]) == ("segments", 32, 8)
    assert 0 < row["bare_ms"] < 1e3 * row["compile_s"]
    assert row["steps_timed"] == 3, "a period is a whole step"
    assert row["slowest_step"] < 20, "the graph was compiled again in a later step"
    assert row["peak_mb"] > 200
    assert any("target" in line for line in table)
