import dataclasses

import numpy as np
import pytest

from mtn_core.results import RetrievalResult
from mtn_core.results.embeddings import Embeddings
from mtn_core.results.variants import compare_variants


def make(split, rows, *, labelled):
    rng = np.random.default_rng(8)
    pids, camids = np.arange(72) // 6, np.arange(72) % 6 + 1
    features = rng.standard_normal((12, 8))[pids] + rng.standard_normal((72, 8))
    keypoints = rng.random((72, 36, 3)) * [200, 150, 1]
    unknown = np.full(72, -1)
    return Embeddings(
        split=split,
        names=np.array([f"{i}.jpg" for i in range(72)])[rows],
        pids=pids[rows],
        camids=camids[rows] if labelled else np.zeros(len(rows)),
        color_ids=(pids % 10 + 1 if labelled else unknown)[rows],
        type_ids=(pids % 9 + 1 if labelled else unknown)[rows],
        features=features[rows],
        color_logits=rng.standard_normal((72, 10))[rows],
        type_logits=rng.standard_normal((72, 9))[rows],
        keypoints=keypoints[rows] if labelled else np.zeros((len(rows), 36, 3)),
        sizes=rng.integers(50, 300, (72, 2))[rows],
    )


@pytest.fixture(params=[True, False], ids=["labelled", "bare"])
def result(request):
    query = make("query", np.arange(0, 72, 5), labelled=request.param)
    return RetrievalResult.from_embeddings(
        query, make("test", np.arange(72), labelled=request.param)
    )


NAMES = {
    "intervals", "by_camera", "by_color", "by_type", "by_viewpoint", "by_size", "by_confidence",
    "by_camera_pair", "by_viewpoint_pair", "hardest_ids", "confusions", "wrong_first_answers",
    "color_confusion", "type_confusion", "attributes_and_retrieval", "confidence_effect",
    "verification", "verification_roc", "distance_histogram", "variants",
}  # fmt: skip


def test_all_tables_are_saved_and_read_back(result, tmp_path):
    assert set(result.tables) == NAMES
    result.save(tmp_path)
    loaded = RetrievalResult.load(tmp_path)
    assert set(loaded.tables) == NAMES
    for name, table in result.tables.items():
        assert list(loaded.tables[name].columns) == list(table.columns)
        assert len(loaded.tables[name]) == len(table)
        for column in table.select_dtypes("number"):
            np.testing.assert_array_equal(
                loaded.tables[name][column].to_numpy(float), table[column].to_numpy(float)
            )


def test_each_grouping_holds_every_known_query(result):
    labelled = (result.query.camids > 0).any()
    for name in ("by_camera", "by_color", "by_type", "by_viewpoint", "by_confidence"):
        assert result.tables[name]["num_query"].sum() == (len(result.query) if labelled else 0)
    assert result.tables["by_size"]["num_query"].sum() == len(result.query)


def test_headline_numbers_lie_in_their_intervals(result):
    intervals = result.tables["intervals"].set_index("measure")
    assert intervals.loc["mAP", "estimate"] == pytest.approx(result.mAP)
    assert intervals.loc["Rank-1", "estimate"] == pytest.approx(result.cmc[0])
    assert (intervals["low"] <= intervals["estimate"]).all()
    assert (intervals["estimate"] <= intervals["high"]).all()
    labelled = (result.query.camids > 0).any()
    assert ("color_accuracy" in intervals.index) == labelled
    if labelled:
        assert intervals.loc["color_accuracy", "estimate"] == pytest.approx(result.color_accuracy)


def test_variants_stand_beside_the_plain_figure(result):
    variants = result.tables["variants"].set_index("variant")
    assert variants.index[0] == "plain"
    assert variants.loc["plain", "mAP"] == pytest.approx(result.mAP)
    assert variants.loc["plain", "rank1"] == pytest.approx(result.cmc[0])
    with_cameras = result.query.camids.any()
    names = ["k-reciprocal re-ranking", "query expansion"]
    names += ["camera means taken away"] if with_cameras else []
    for name in names:
        row = variants.loc[name]
        assert row["mAP"] - result.mAP == pytest.approx(row["mAP_difference"])
        assert row["low"] <= row["mAP_difference"] <= row["high"]
    tracks = variants[variants["protocol"] == "image-to-track"]
    assert len(tracks) == (4 if with_cameras else 0)
    assert variants.index.str.contains("camera").any() == with_cameras
    assert tracks["mAP_difference"].isna().all()  # another protocol, not comparable


def test_penalties_need_a_cosine_and_what_they_charge_for(result):
    variants = compare_variants(result.query, result.gallery, "cosine").set_index("variant")
    penalties = [name for name in variants.index if "penalty" in name]
    both = ["orientation penalty", "camera penalty", "orientation and camera penalty"]
    assert penalties == (both if result.query.camids.any() else [])
    for name in penalties:
        assert variants.loc[name, "mAP"] != variants.loc["plain", "mAP"]
    unseen = [
        dataclasses.replace(e, keypoints=np.zeros_like(e.keypoints))
        for e in (result.query, result.gallery)
    ]
    without = compare_variants(*unseen, "cosine")["variant"]
    assert not without.str.contains("orientation").any()
    euclidean = compare_variants(result.query, result.gallery, "euclidean")["variant"]
    assert not euclidean.str.contains("penalty").any()


def test_an_older_run_without_tables_makes_them_anew(result, tmp_path):
    import shutil

    result.save(tmp_path)
    shutil.rmtree(tmp_path / "tables")
    assert set(RetrievalResult.load(tmp_path).tables) == NAMES
