"""How right and how dear a gallery's answers are: hand-worked fractions, a made-up gallery."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta

import matplotlib
import numpy as np
import pandas as pd
import pytest

from mtn_core.errors import MissingFileError
from mtn_core.gallery import measure
from mtn_core.gallery.find import StoreCrops, find_in_store
from mtn_core.gallery.query import query_of_files
from mtn_core.gallery.records import Filter
from mtn_core.results.threshold import Threshold
from mtn_core.viz import candidates

matplotlib.use("Agg")
PAIRS = pd.DataFrame(
    {
        "query": [0, 0, 0, 1, 1, 1],
        "name": list("abcabc"),
        "distance": [1.0, 2.0, 3.0, 1.5, 2.0, 9.0],
        "match": [True, False, True, False, True, False],
    }
)


@pytest.fixture(scope="module")
def queries(car_gallery, fake_gallery):
    """Every vehicle as camera 3 saw it."""
    folder = car_gallery.path.parent / "crops"
    embedder = fake_gallery.make_embedder()
    return [query_of_files(embedder, [folder / f"cam3/v{v}_0.png"]) for v in range(6)]


VEHICLES = [f"car {v}" for v in range(6)]


def test_precision_by_hand():
    curve = measure.precision_curve(PAIRS).set_index("threshold")
    assert curve.index.tolist() == [1.0, 1.5, 2.0, 3.0, 9.0]
    assert curve["precision"].tolist() == pytest.approx([1, 1 / 2, 2 / 4, 3 / 5, 3 / 6])
    assert curve["recall"].tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1, 1])
    assert curve["num_accepted"].tolist() == [1, 2, 4, 5, 6]


def test_a_threshold_by_hand():
    found = measure.at_threshold(PAIRS, 2.0)  # below it: 1.0 right, 1.5 wrong
    assert found.to_dict() == {
        "accepted": 2,
        "right": 1,
        "precision": 0.5,
        "recall": pytest.approx(1 / 3),
        "queries answered": 1.0,
        "false accepts": pytest.approx(1 / 3),
    }
    nothing = measure.at_threshold(PAIRS, 0.5)
    assert np.isnan(nothing["precision"]) and nothing["recall"] == 0


def test_without_a_match_there_is_no_recall():
    curve = measure.precision_curve(PAIRS.assign(match=False))
    assert curve["recall"].isna().all() and (curve["precision"] == 0).all()


def test_answers_are_judged_by_vehicle(car_gallery, queries):
    pairs = measure.judge_answers(car_gallery, queries, VEHICLES)
    assert len(pairs) == 6 * 36  # neither the image nor its camera
    assert pairs.groupby("query")["match"].sum().tolist() == [6] * 6
    at = measure.at_threshold(pairs, 1.0)
    assert (at["precision"], at["recall"]) == (1, 1)


def test_filters_are_compared(car_gallery, queries):
    filters = {
        "none": Filter(),
        "blue": Filter(color=("blue",)),
        "camera 1": Filter(camera=("1",)),
        "never": Filter(before=datetime(2000, 1, 1)),
    }
    table = measure.compare_filters(car_gallery, queries, VEHICLES, filters)
    assert table["compared"].tolist() == [36, 12, 12, 0]
    assert table["first right"].tolist()[:3] == pytest.approx([1, 1 / 3, 1])
    assert np.isnan(table["first right"]["never"])
    assert table["found"].tolist() == pytest.approx([1, 1 / 3, 1, 0])
    assert (table["ms"] > 0).all()


def test_cost_is_measured_on_a_gallery_that_grows(car_gallery, tmp_path):
    cost = measure.measure_cost(tmp_path, car_gallery, [300, 1200], num_queries=2)
    assert cost["sightings"].tolist() == [300, 1200]
    assert cost["MB"].is_monotonic_increasing and (cost.to_numpy() > 0).all()
    grown = measure.Gallery.open(tmp_path / "grown")
    assert len(grown) == 1200 and grown.count(Filter(camera=("7",))) == 12


def test_a_split_becomes_crops_and_queries(smoke_root, fake_gallery):
    from mtn_core.data.split import load_split

    split = load_split(smoke_root, "query").take([0, 5])
    crops = measure.crops_of_split(split)
    for crop, row in zip(crops, split.frame.itertuples(), strict=True):
        frame = int(row.name.split("_")[2])
        assert crop.time == measure.START + timedelta(seconds=frame / 10)
        assert (crop.camera, crop.vehicle) == (str(row.camid), str(row.pid))
        assert crop.path.is_file() and crop.name == row.name
    embedder = fake_gallery.make_embedder()
    made = measure.queries_of_split(embedder, split)
    alone = query_of_files(embedder, [crops[1].path])
    np.testing.assert_array_equal(made[1].features, alone.features)
    assert made[1].image_sha256 == alone.image_sha256
    assert made[1].cameras == alone.cameras == (crops[1].camera,)
    assert made[1].asked.color == alone.asked.color


def test_models_of_a_run(tmp_path):
    with pytest.raises(MissingFileError, match="train first"):
        measure.find_models(tmp_path)
    for name in ("ckpt/best.ckpt", "pose/ckpt/best.ckpt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert measure.find_models(tmp_path) == (
        tmp_path / "ckpt" / "best.ckpt",
        tmp_path / "pose" / "ckpt" / "best.ckpt",
    )
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "MultiTask_export_pixels.onnx").touch()
    assert measure.find_models(tmp_path)[0].suffix == ".onnx"


def test_candidates_are_drawn(car_gallery, queries):
    import matplotlib.pyplot as plt

    result = find_in_store(car_gallery, queries[1], top=3, threshold=Threshold(0.3))
    fig, axes = plt.subplots(1, 6)
    crops = StoreCrops(car_gallery.info.images)
    candidates.draw_candidates(list(axes), result, crops)
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 1, 0, 0]
    assert "likely" in axes[1].get_title() and axes[1].get_xlabel() == "vehicle car 1"
    assert not crops.missing
    curve = measure.precision_curve(PAIRS)
    assert len(candidates.plot_precision(axes[4], curve, threshold=2.0).lines) == 3
    cost = pd.DataFrame({"sightings": [10, 100], "all ms": [1, 2], "filtered ms": [1, 1]})
    assert candidates.plot_cost(axes[5], cost).get_xscale() == "log"
    plt.close(fig)


def test_notebook_08_says_that_lancedb_is_missing_and_ends_well(repository, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'lancedb' else find(name, *more)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(repository)])
    code = (
        "import sys; from pathlib import Path\n"
        "from mtn_core.jobs.workbook import execute_notebook\n"
        "execute_notebook(Path(sys.argv[1]), Path(sys.argv[2]), {}, progress=False)"
    )
    source, executed = repository / "notebooks" / "08_search.ipynb", tmp_path / "08.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(executed)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outputs = [o for c in json.loads(executed.read_text())["cells"] for o in c.get("outputs", [])]
    said = [o["metadata"]["mtn_outcome"] for o in outputs if "mtn_outcome" in o.get("metadata", {})]
    assert [one["how"] for one in said] == ["pip install 'mtn_core[gallery]'"]
