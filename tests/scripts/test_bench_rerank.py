"""The re-ranking benchmark compares both forms; its figures need a quiet machine."""

import json
import subprocess
import sys

import pytest


def test_both_forms_are_measured_and_agree(repository, tmp_path):
    command = [sys.executable, str(repository / "scripts" / "bench_rerank.py"), "--scale", "0.05"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.strip().splitlines()
    summary = json.loads(last)
    sparse, dense = summary["rows"]
    assert (sparse["form"], dense["form"]) == ("sparse", "dense")
    assert sparse["shape"] == dense["shape"]
    assert sparse["mAP"] == pytest.approx(dense["mAP"], abs=1e-3)
    assert sparse["mAP_plain"] == dense["mAP_plain"]
    assert summary["share_of_time"] > 0
    assert any(line.startswith("sparse takes") for line in table)
