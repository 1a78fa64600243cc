import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mtn_core.viz.weights import plot_filters, plot_stage_differences


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def test_differences_are_drawn_against_the_tolerance(ax):
    table = pd.DataFrame({"stage": ["conv0", "norm0"], "largest_difference": [2e-6, 0.0]})
    tables = {"NumPy": table, "PyTorch": table * 1}
    assert plot_stage_differences(ax, tables, 1e-4, title="t") is ax
    first, second, limit = ax.lines
    assert first.get_ydata().tolist() == [2e-6, 1e-9]
    assert first.get_marker() != second.get_marker()
    assert set(limit.get_ydata()) == {1e-4}
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["NumPy", "PyTorch"]
    assert ax.get_yscale() == "log"


def test_filters_stand_in_rows_each_with_its_own_contrast(ax):
    weight = np.zeros((5, 16, 7, 7))
    weight[4, 0, 2, 3] = 0.01  # faint, red, the fifth filter
    plot_filters(ax, weight, columns=4)
    sheet = ax.images[0].get_array()
    assert sheet.shape == (2 * 8, 4 * 8, 3)
    assert sheet[8 + 2, 3].tolist() == [1, 0, 0]
    assert sheet[0, 0].tolist() == [0, 0, 0]
    # Places without a filter, and margins, are white.
    assert (sheet[8:, 8:] == 1).all()
    assert (sheet[7] == 1).all()
