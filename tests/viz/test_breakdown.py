import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mtn_core.errors import DataError
from mtn_core.results import RetrievalResult
from mtn_core.results.attention import AttentionMaps
from mtn_core.viz.breakdown import (
    plot_ap_scatter,
    plot_breakdown,
    plot_confusion,
    plot_pair_matrix,
)
from mtn_core.viz.verification import plot_distance_histogram, plot_roc


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def tables(run_dir):
    return RetrievalResult.load(run_dir).tables


def cell_texts(ax):
    return [text.get_text() for text in ax.texts]


def test_breakdown_draws_each_group_on_a_fixed_axis(ax, tables):
    table = tables["by_camera"]
    plot_breakdown(ax, table, "camid", overall=0.5, title="Camera")
    assert ax.get_xlim() == (0, 1)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), table["mAP"])
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels[0] == f"{table['camid'][0]}  (n={table['num_query'][0]})"
    assert f"{table['num_query'].sum()} queries" in ax.get_title()
    low, high = ax.get_ylim()
    assert low > high  # the first group is on top


def test_breakdown_of_two_runs_lines_groups_up(ax, tables):
    other = tables["by_camera"].iloc[::-1].reset_index(drop=True)
    runs = {"a": tables["by_camera"], "b": other}
    plot_breakdown(ax, runs, "camid", overall={"a": 0.5, "b": 0.4})
    dots = [line for line in ax.lines if line.get_label() in "ab"]
    np.testing.assert_allclose(dots[0].get_xdata(), dots[1].get_xdata())
    assert (dots[0].get_ydata() < dots[1].get_ydata()).all()
    assert dots[0].get_marker() != dots[1].get_marker()


def test_pair_matrix_keeps_the_order_and_leaves_unknown_pairs_empty(ax):
    table = pd.DataFrame(
        {"query_x": ["b", "a"], "gallery_x": ["a", "b"], "mAP": [0.25, 1.0], "num_query": 3}
    )
    plot_pair_matrix(ax, table, "query_x", "gallery_x", order=["b", "a", "never"])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]
    assert sorted(cell_texts(ax)) == ["100", "25"]


def test_confusion_shares_are_those_of_the_table(ax, tables):
    table = tables["color_confusion"]
    plot_confusion(ax, table, title="Colour")
    assert len(cell_texts(ax)) == len(table)
    assert f"{table['count'].sum()} images" in ax.get_title()


def test_scatter_counts_better_and_worse(ax):
    first = np.array([0.1, 0.5, 0.9, np.nan])
    second = np.array([0.4, 0.5, 0.2, 0.3])
    plot_ap_scatter(ax, first, second, ("a", "b"))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["better (1)", "worse (1)", "equal (1)"]
    assert "3 queries" in ax.get_title()


def test_roc_and_distances_are_drawn_to_scale(ax, tables):
    curve = tables["verification_roc"]
    plot_roc(ax, {"run": curve})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), curve["true_accept_rate"])
    assert ax.get_xscale() == "log" and ax.get_ylim() == (0, 1.01)
    other = Figure().subplots()
    plot_distance_histogram(other, tables["distance_histogram"], threshold=7.5)
    assert other.lines[0].get_xdata()[0] == 7.5
    labels = " ".join(text.get_text() for text in other.get_legend().get_texts())
    assert f"{tables['distance_histogram']['positive'].sum():,} pairs" in labels
    filled = [patch for patch in other.patches if patch.get_hatch()]
    assert filled  # other vehicles differ by hatch, not by colour alone


def test_attention_maps_come_back_as_saved(tmp_path):
    maps = AttentionMaps({3: np.eye(2), 1: np.ones((2, 2))}, {})
    maps.save(tmp_path)
    read = AttentionMaps.load(tmp_path)
    assert sorted(read.query) == [1, 3] and read.gallery == {}
    np.testing.assert_allclose(read.query[3], np.eye(2))


def test_absent_attention_is_none_and_broken_is_named(tmp_path):
    assert AttentionMaps.load(tmp_path) is None
    (tmp_path / "attention.npz").write_bytes(b"PK broken")
    with pytest.raises(DataError, match="not a file of attention maps"):
        AttentionMaps.load(tmp_path)
