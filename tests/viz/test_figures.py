from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mtn_core.errors import DataError, RunFolderError
from mtn_core.results import RetrievalResult
from mtn_core.results.ranking import Ranker
from mtn_core.runs import RunFolder
from mtn_core.viz.crops import CropSource
from mtn_core.viz.embedding_map import plot_embedding_map, project_embeddings, spread_rows
from mtn_core.viz.overlay import (
    attention_overlay,
    blend_attention,
    draw_keypoints,
    keypoint_overlay,
    scale_attention,
)
from mtn_core.viz.rank_lists import draw_rank_lists, plot_rank_list
from mtn_core.viz.retrieval import plot_ap_histogram, plot_cmc, plot_first_match_histogram
from mtn_core.viz.style import IGNORED, MARKS, RIGHT, WRONG, use_style
from mtn_core.viz.training import (
    count_steps,
    list_loss_columns,
    plot_training_curves,
    plot_validation,
)


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def result(run_dir):
    return RetrievalResult.load(run_dir)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_style_leaves_global_settings_alone():
    before = dict(mpl.rcParams)
    with use_style(**{"font.size": 31}):
        assert mpl.rcParams["font.size"] == 31
        assert mpl.rcParams["axes.spines.top"] is False
    assert dict(mpl.rcParams) == before


def test_marks_differ_in_sign_and_colour():
    for attribute in ("sign", "color", "word"):
        assert len({getattr(mark, attribute) for mark in (RIGHT, WRONG, IGNORED)}) == 3


def test_cmc_axis_is_fixed_and_title_states_run_and_n(ax):
    run = SimpleNamespace(cmc=np.array([0.2, 0.25, 0.3]), ap=np.array([0.1]), mAP=0.1, num_query=7)
    assert plot_cmc(ax, {"night": run}) is ax
    assert ax.get_ylim() == (0, 1.01)
    assert "night" in ax.get_title() and "7 queries" in ax.get_title()
    np.testing.assert_allclose(ax.lines[0].get_ydata(), run.cmc)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [1, 2, 3])


def test_cmc_of_several_runs_has_a_line_for_each_and_the_band(ax, result):
    band = {"a": (result.cmc - 0.1, result.cmc + 0.1)}
    plot_cmc(ax, {"a": result, "b": result}, bands=band)
    assert len(ax.lines) == 2
    assert len(ax.collections) == 1
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith("a: Rank-1")


def test_cmc_without_results_is_refused(ax):
    with pytest.raises(ValueError, match="empty"):
        plot_cmc(ax, {})


def test_ap_histogram_counts_every_query_with_a_match(ax, result):
    plot_ap_histogram(ax, result)
    heights = [patch.get_height() for patch in ax.patches]
    assert sum(heights) == result.num_query - result.num_query_without_match
    assert ax.lines[0].get_xdata()[0] == pytest.approx(result.mAP)


def test_first_match_histogram_leaves_out_queries_without_a_match(ax):
    plot_first_match_histogram(ax, np.array([0, 1, 1, 4, 2000]))
    assert sum(patch.get_height() for patch in ax.patches) == 4
    assert "4 queries" in ax.get_title()


def test_training_curves_draw_the_loss_parts_and_no_other_column(ax, run_dir):
    frame = RunFolder(run_dir).read_train_log()
    assert list_loss_columns(frame) == ["loss", "loss_id", "loss_triplet"]
    plot_training_curves(ax, frame, title="run")
    assert "60 steps" in ax.get_title()
    assert [t.get_text() for t in ax.get_legend().get_texts()][1:] == ["id", "triplet"]


def test_steps_that_restart_in_every_epoch_are_counted_through():
    frame = pd.DataFrame({"epoch": [1, 1, 2, 2], "step": [1, 2, 1, 2], "loss": 1.0})
    assert count_steps(frame).tolist() == [1, 2, 3, 4]
    frame["step"] = [5, 6, 7, 8]
    assert count_steps(frame).tolist() == [5, 6, 7, 8]


def test_train_csv_without_loss_is_named(tmp_path):
    (tmp_path / "train.csv").write_text("step,lr\n1,2\n")
    with pytest.raises(RunFolderError, match="missing: loss"):
        RunFolder(tmp_path).read_train_log()
    assert RunFolder(tmp_path / "nowhere").read_train_log().empty


def test_validation_draws_fractions_only(ax):
    frame = pd.DataFrame(
        {"epoch": [1, 2], "step": [9, 18], "score": [0.1, 0.2], "mAP": [0.1, 0.2], "loss": [5.0, 4]}
    )
    plot_validation(ax, frame)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["mAP"]


def test_rank_list_shows_sign_distance_identity_and_camera(ax, run_dir, result):
    ranker = Ranker(result.query, result.gallery)
    ranked = ranker.rank(35, top_k=5)
    crops = CropSource(run_dir.parent / "data")
    plot_rank_list(ax, ranked, crops)
    shown = texts(ax)
    for entry in ranked.entries:
        assert MARKS[entry.verdict].sign in shown
        assert f"vehicle {entry.pid}" in shown and f"camera {entry.camid}" in shown
        assert any(f"d {entry.distance:.2f}" in text for text in shown)
    assert len(ax.images) == len(ranked.entries) + 1
    assert not crops.missing
    edges = {patch.get_edgecolor()[:3] for patch in ax.patches}
    assert len(edges) > 2


def test_rank_list_draws_the_first_match_behind_dots(ax, run_dir, result):
    ranker = Ranker(result.query, result.gallery)
    late = next(
        ranked
        for ranked in (ranker.rank(row, top_k=1) for row in range(result.num_query))
        if ranked.first_match_is_further_down
    )
    plot_rank_list(ax, late, CropSource(run_dir.parent / "data"))
    assert "…" in texts(ax)
    assert any(f"#{late.first_match.rank}" in text for text in texts(ax))


def test_missing_crops_are_drawn_as_placeholders(ax, result):
    crops = CropSource(None)
    plot_rank_list(ax, Ranker(result.query, result.gallery).rank(0), crops)
    assert crops.missing


def test_rank_lists_need_a_query(run_dir):
    with pytest.raises(ValueError, match="no query fits"):
        draw_rank_lists([], CropSource(None))


def test_overlays_draw_on_every_crop(run_dir, result):
    ranked = Ranker(result.query, result.gallery).rank(3, top_k=2)
    crops = CropSource(run_dir.parent / "data")
    plain = Figure().subplots()
    plot_rank_list(plain, ranked, crops)
    dotted = Figure().subplots()
    overlay = keypoint_overlay(result.query, result.gallery)
    plot_rank_list(dotted, ranked, crops, overlay=overlay)
    cells = len(ranked.entries) + 1
    assert len(dotted.collections) - len(plain.collections) == 2 * cells
    mapped = Figure().subplots()
    maps = attention_overlay({3: np.eye(4)}, {})
    plot_rank_list(mapped, ranked, crops, overlay=maps)
    assert len(mapped.images) - len(plain.images) == 1


def test_keypoints_stand_where_the_crop_has_them(ax):
    keypoints = np.zeros((36, 3))
    keypoints[0] = (50, 25, 0.9)  # left side, in the middle of a 100 x 50 crop
    keypoints[20] = (100, 50, 0.9)  # right side, lower right corner
    keypoints[5] = (10, 10, 0.1)  # too uncertain
    draw_keypoints(ax, (2.0, 4.0, 10.0, 11.0), keypoints, (100, 50))
    left, right = (c.get_offsets() for c in ax.collections)
    np.testing.assert_allclose(left, [[3.0, 10.5]])
    np.testing.assert_allclose(right, [[4.0, 10.0]])


def test_attention_is_scaled_and_checked():
    np.testing.assert_allclose(scale_attention(np.array([[2.0, 4.0]])), [[0, 1]])
    np.testing.assert_allclose(scale_attention(np.ones((2, 2))), 0)
    for bad in (np.zeros(3), np.array([[np.nan, 1]])):
        with pytest.raises(ValueError, match="finite"):
            scale_attention(bad)


def test_blended_attention_is_strongest_where_the_map_is(run_dir):
    from PIL import Image

    image = Image.new("RGB", (40, 20), (0, 0, 0))
    attention = np.zeros((2, 4))
    attention[0, 3] = 1
    pixels = np.asarray(blend_attention(image, attention), dtype=int)
    assert pixels.shape == (20, 40, 3)
    assert pixels[2, 37].sum() > 2 * pixels[18, 2].sum()


def test_pca_keeps_what_varies_most():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=50)
    features = np.stack([10 * wide, rng.normal(size=50), 0.1 * rng.normal(size=50)], 1)
    points = project_embeddings(features)
    assert points.shape == (50, 2)
    assert abs(np.corrcoef(points[:, 0], wide)[0, 1]) > 0.999


def test_tsne_keeps_groups_together_and_is_repeatable():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 15)
    features = rng.normal(size=(30, 8)) + 30 * group[:, None]
    points = project_embeddings(features, "tsne", seed=1)
    centres = np.stack([points[group == g].mean(0) for g in (0, 1)])
    nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (nearest == group).all()
    np.testing.assert_array_equal(points, project_embeddings(features, "tsne", seed=1))


def test_projection_refuses_what_it_cannot_do():
    with pytest.raises(DataError, match="pca, tsne, umap; got 'lda'"):
        project_embeddings(np.zeros((5, 2)), "lda")
    with pytest.raises(DataError, match="at least 3"):
        project_embeddings(np.zeros((2, 2)))


def test_map_draws_highlighted_vehicles_and_thumbnails(ax):
    rng = np.random.default_rng(0)
    points, pids = rng.normal(size=(40, 2)), np.arange(40) // 4
    asked = []

    def thumbnail(row):
        asked.append(row)
        return np.zeros((8, 12, 3), np.uint8)

    plot_embedding_map(ax, points, pids, highlight=[3, 5], thumbnails=thumbnail, max_thumbnails=6)
    assert 0 < len(asked) <= 6
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["vehicle 3 (4)", "vehicle 5 (4)"]
    assert "40 images of 10 vehicles" in ax.get_title()


def test_spread_rows_lie_apart():
    points = np.array([[0, 0], [0.001, 0], [1, 1], [0.5, 0.5]])
    assert sorted(spread_rows(points, 4)) in ([0, 2, 3], [1, 2, 3])
