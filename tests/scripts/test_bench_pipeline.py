"""The benchmark runs and measures what it says; its figures need a quiet machine."""

import importlib.util
import json

import numpy as np
import pytest

from mtn_core.data.packs.write import pack_dataset
from mtn_core.data.split import load_split


@pytest.fixture(scope="module")
def bench(repository):
    path = repository / "scripts" / "bench_pipeline.py"
    specification = importlib.util.spec_from_file_location("bench_pipeline", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def packed(smoke_root, tmp_path_factory):
    import shutil

    root = shutil.copytree(smoke_root, tmp_path_factory.mktemp("bench") / "data")
    pack_dataset(root, splits=["train"], progress=False)
    return root


@pytest.mark.slow
def test_it_prints_a_table_and_one_json_line(bench, packed, capsys):
    arguments = ["--repeats", "1", "--epochs", "3", "--plain_samples", "32"]
    assert bench.main(["--root", str(packed), *arguments]) == 0
    *table, last = capsys.readouterr().out.strip().splitlines()
    figures = json.loads(last)
    assert len(figures["resident_mb"]) == 3
    assert set(figures["decode_ms"]) == {"OpenCV", "Pillow", "MindSpore vision"}
    assert figures["bytes_leaving"]["packed"] <= 256 * 256 * 3 + 36 * 64 * 64 + 108 * 4 + 32
    assert figures["bytes_leaving"]["plain"] >= 39 * 256 * 256 * 4
    assert figures["a_speedup"] > 1
    assert figures["threads_left"] == 0
    assert any("packed, RGB + heatmaps" in line for line in table)


def test_the_plain_procedure_gives_the_documented_tensor(bench, smoke_root):
    """Against it everything is measured, so it must do the whole work."""
    split = load_split(smoke_root, "train")
    out = np.full((39, 256, 256), np.nan, np.float32)
    traffic = bench.Traffic()
    bench.plain_sample(split, 3, out, traffic.add)
    pixels = out * bench.STD + bench.MEAN
    assert np.isfinite(out).all()
    assert -0.001 < pixels.min() < 0.1
    assert 0.5 < pixels.max() < 1.001
    assert (pixels[3:].max(axis=(1, 2)) > 0.2).sum() > 5, "heatmaps are in it"
    assert traffic.bytes > 2 * out.nbytes
