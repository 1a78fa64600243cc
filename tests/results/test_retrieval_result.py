import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mtn_core.errors import DataError, RunFolderError
from mtn_core.results import Embeddings, RetrievalResult


def make(split, names, pids, camids, features, *, colors=None, types=None):
    count = len(names)
    rng = np.random.default_rng(count)
    colors = np.full(count, -1) if colors is None else np.array(colors)
    types = np.full(count, -1) if types is None else np.array(types)
    return Embeddings(
        split=split,
        names=names,
        pids=pids,
        camids=camids,
        color_ids=colors,
        type_ids=types,
        features=features,
        color_logits=rng.standard_normal((count, 10)),
        type_logits=rng.standard_normal((count, 9)),
        keypoints=rng.random((count, 36, 3)),
        sizes=np.full((count, 2), 100),
    )


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    names = [f"{i // 6:04d}_c{i % 6 + 1:03d}_{i}.jpg" for i in range(60)]
    pids, camids = np.arange(60) // 6, np.arange(60) % 6 + 1
    features = rng.standard_normal((60, 12)) + pids[:, None]
    gallery = make("test", names, pids, camids, features, colors=pids % 10 + 1, types=pids % 9 + 1)
    chosen = np.arange(0, 60, 7)
    query = make(
        "query",
        [names[i] for i in chosen],
        pids[chosen],
        camids[chosen],
        features[chosen],
        colors=pids[chosen] % 10 + 1,
        types=pids[chosen] % 9 + 1,
    )
    return query, gallery


def test_table_has_the_lines_of_the_seed(pair):
    result = RetrievalResult.from_embeddings(*pair)
    lines = result.format_table().splitlines()
    assert lines[:2] == ["Computing CMC and mAP", "Results ----------"]
    assert lines[2] == f"mAP: {result.mAP:.2%}"
    assert lines[3] == "CMC curve"
    assert lines[4] == f"Rank-1  : {result.cmc[0]:.2%}"
    assert lines[53] == f"Rank-50 : {result.cmc[49]:.2%}"
    assert lines[54:56] == [
        "------------------",
        "Compute attribute classification accuracy",
    ]
    assert lines[56] == f"Color classification accuracy: {result.color.seed_protocol:.2%}"
    assert lines[57] == f"Type classification accuracy: {result.type.seed_protocol:.2%}"
    assert f"Color accuracy, each image once: {result.color_accuracy:.2%} of 60 images" in lines[62]


def test_table_of_a_gallery_smaller_than_fifty_ends_with_the_gallery():
    """Known defect 24."""
    query = make("query", ["a"], [1], [1], np.zeros((1, 2)))
    gallery = make("test", ["b", "c"], [1, 2], [2, 2], np.eye(2))
    result = RetrievalResult.from_embeddings(query, gallery)
    table = result.format_table()
    assert "Rank-2  :" in table
    assert "Rank-3" not in table
    assert len(result.cmc) == 50


def test_unknown_attributes_and_dropped_queries_are_said():
    """Known defects 25 and 27: nothing is left out silently."""
    query = make("query", ["a", "z"], [1, 9], [1, 1], np.zeros((2, 2)))
    gallery = make("test", ["b", "c"], [1, 2], [2, 2], np.eye(2))
    result = RetrievalResult.from_embeddings(query, gallery)
    table = result.format_table()
    assert "Color classification accuracy: unknown" in table
    assert "unknown and not counted: 4" in table
    assert "Queries without a match, in no average: 1 (z)" in table
    data = result.to_json_dict()
    assert data["color_accuracy"] is None
    assert data["num_query_without_match"] == 1
    assert data["queries_without_match"] == ["z"]
    json.dumps(data, allow_nan=False)


def test_saved_result_is_read_back(pair, tmp_path):
    result = RetrievalResult.from_embeddings(
        *pair, provenance={"checkpoint_sha256": "ab", "config_sha256": "cd", "seed": 3}
    )
    result.save(tmp_path)
    loaded = RetrievalResult.load(tmp_path)
    assert loaded.to_json_dict() == result.to_json_dict()
    assert loaded.provenance == result.provenance
    assert loaded.format_table() == result.format_table()
    pd.testing.assert_frame_equal(loaded.per_query, result.per_query, check_dtype=False)
    np.testing.assert_array_equal(loaded.gallery.features, pair[1].features)
    np.testing.assert_array_equal(loaded.query.names, pair[0].names)
    data = json.loads((tmp_path / "results.json").read_text())
    assert {"mAP", "mINP", "cmc", "color_accuracy", "type_accuracy", "num_query"} <= set(data)
    assert {"num_query_without_match", "num_gallery", "protocol"} <= set(data)
    assert (data["checkpoint_sha256"], data["config_sha256"]) == ("ab", "cd")


def test_equal_inputs_give_equal_bytes(pair, tmp_path):
    for name in ("a", "b"):
        RetrievalResult.from_embeddings(*pair).save(tmp_path / name)
    for file in ("results.json", "per_query.parquet", "embeddings_query.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_query_of_an_unknown_camera_does_not_find_itself():
    features = np.array([[0.0, 0], [5, 0], [1, 0]])
    gallery = make("test", ["a", "b", "c"], [1, 1, 2], [0, 0, 0], features)
    query = make("query", ["a"], [1], [0], features[:1])
    result = RetrievalResult.from_embeddings(query, gallery)
    row = result.per_query.iloc[0]
    assert row["num_ignored"] == 1
    assert (row["first_match_rank"], row["first_match_name"], row["top1_name"]) == (2, "b", "c")
    assert row["ap"] == 0.5


def test_per_query_of_a_query_without_match():
    query = make("query", ["a"], [1], [1], np.zeros((1, 2)))
    gallery = make("test", ["b"], [1], [1], np.ones((1, 2)))
    row = RetrievalResult.from_embeddings(query, gallery).per_query.iloc[0]
    assert (row["first_match_rank"], row["first_match_name"], row["top1_name"]) == (0, "", "")
    assert np.isnan([row["ap"], row["inp"], row["top1_distance"]]).all()


def test_embeddings_refuse_what_does_not_fit(pair, tmp_path):
    query = pair[0]
    fields = dict(vars(query))
    with pytest.raises(DataError, match=r"`pids` of the query embeddings must have shape \(9\)"):
        Embeddings(**(fields | {"pids": [1, 2]}))
    with pytest.raises(DataError, match=r"`keypoints`.*\(9, 36, 3\); got \(9, 108\)"):
        Embeddings(**(fields | {"keypoints": np.zeros((9, 108))}))
    bad = query.features.copy()
    bad[4, 2] = np.nan
    with pytest.raises(DataError, match="row 4"):
        Embeddings(**(fields | {"features": bad}))
    with pytest.raises(FileNotFoundError, match="mtn eval"):
        Embeddings.load(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match="not a file of embeddings"):
        Embeddings.load(tmp_path / "broken.npz")


def test_a_folder_without_results_says_so(pair, tmp_path):
    with pytest.raises(RunFolderError, match="not evaluated yet"):
        RetrievalResult.load(tmp_path)
    RetrievalResult.from_embeddings(*pair).save(tmp_path)
    (tmp_path / "results.json").write_text('{"mAP": 0.5}')
    with pytest.raises(RunFolderError, match="cannot be read"):
        RetrievalResult.load(tmp_path)


def test_results_and_metrics_do_without_mindspore():
    code = (
        "import sys, pkgutil, importlib, mtn_core.results, mtn_core.metrics as m\n"
        "for i in pkgutil.iter_modules(m.__path__, m.__name__ + '.'):\n"
        "    importlib.import_module(i.name)\n"
        "sys.exit('mindspore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_cameras_are_said():
    names, features = ["a.jpg", "b.jpg"], np.eye(2, dtype=np.float32)
    query = make("query", names, [1, 2], [0, 3], features)
    gallery = make("test", ["c.jpg", "d.jpg"], [1, 2], [0, 4], features)
    result = RetrievalResult.from_embeddings(query, gallery)
    assert result.num_query_unknown_camera == 1
    assert "Queries without a known camera: 1;" in result.format_table()
    known = RetrievalResult.from_embeddings(make("query", names, [1, 2], [1, 3], features), gallery)
    assert "known camera" not in known.format_table()
