import numpy as np
import pytest

from mtn_core.metrics.rerank import rerank
from mtn_core.metrics.retrieval import evaluate_blocks
from mtn_core.results import RetrievalResult
from mtn_core.viz.browser import BrowserState, RetrievalBrowser
from mtn_core.viz.browser_widget import BrowserWidget, has_front_end, show_browser
from mtn_core.viz.crops import CropSource
from mtn_core.viz.tables import say_percent


@pytest.fixture
def result(run_dir):
    return RetrievalResult.load(run_dir)


@pytest.fixture
def browser(result, run_dir):
    return RetrievalBrowser(result, CropSource(run_dir.parent / "data"))


def test_selection_follows_the_state(browser, result):
    frame = result.per_query
    rows = browser.select(BrowserState(camid=3, ap_range=(0.2, 0.8)))
    assert rows
    assert (frame.iloc[rows]["camid"] == 3).all()
    assert frame.iloc[rows]["ap"].between(0.2, 0.8).all()
    assert frame.iloc[rows]["ap"].is_monotonic_increasing
    best = browser.select(BrowserState(order="best"))
    assert frame.iloc[best]["ap"].is_monotonic_decreasing
    assert len(browser.select(BrowserState(max_queries=3))) == 3


def test_options_count_and_name_the_values(browser, result):
    options = browser.options("color_id")
    assert options[0] == (f"any ({result.num_query})", None)
    labels = dict((value, label) for label, value in options)
    assert labels[-1].startswith("unknown")
    assert labels[1].startswith("yellow")
    counts = [int(label.rsplit("(", 1)[1][:-1]) for label, value in options[1:]]
    assert sum(counts) == result.num_query


def test_summary_counts_what_fits(browser):
    assert "72 of 73 queries" in browser.summarize(BrowserState())
    assert browser.summarize(BrowserState(ap_range=(0, 0.01))) == "No query fits these filters."


def test_reranking_is_made_once_and_only_when_asked_for(result, run_dir):
    calls = []

    def rerank_by():
        calls.append(1)
        return lambda row: -result.gallery.features[:, 0]

    browser = RetrievalBrowser(result, CropSource(None), rerank_by=rerank_by)
    browser.rank(0, BrowserState())
    assert not calls
    first = browser.rank(0, BrowserState(reranked=True)).entries[0]
    browser.rank(1, BrowserState(reranked=True))
    assert len(calls) == 1
    assert first.distance == pytest.approx(-result.gallery.features[:, 0].max(), rel=1e-6)


def test_reranked_lists_are_those_of_the_metric(browser, result):
    blocks = rerank(result.query.features, result.gallery.features)
    expected = evaluate_blocks(
        blocks,
        result.query.pids,
        result.gallery.pids,
        result.query.camids,
        result.gallery.camids,
    )
    state = BrowserState(reranked=True)
    lists = [browser.rank(row, state) for row in range(result.num_query)]
    np.testing.assert_allclose([one.ap for one in lists], expected.ap, rtol=1e-9)
    assert expected.mAP != result.mAP


def test_reranking_of_too_many_images_is_refused(browser, monkeypatch):
    monkeypatch.setattr(browser, "can_rerank", False)
    with pytest.raises(ValueError, match="at most"):
        browser.rank(0, BrowserState(reranked=True))


def test_bad_state_is_refused():
    with pytest.raises(ValueError, match="worst, best, random"):
        BrowserState(order="odd")
    with pytest.raises(ValueError, match="ascend"):
        BrowserState(ap_range=(0.9, 0.1))


def test_front_end_is_known_by_its_server():
    assert not has_front_end({})
    assert has_front_end({"JPY_SESSION_NAME": "a.ipynb"})


def test_without_a_front_end_there_are_figures(browser):
    figures = show_browser(browser, interactive=False)
    assert len(figures) == 2
    titles = [figure.get_suptitle() for figure in figures]
    assert titles[0].startswith("The 4 worst") and titles[1].startswith("The 4 best")


def test_widget_filters_selects_and_draws(browser, result):
    widget = BrowserWidget(browser)
    worst = browser.select(BrowserState())[0]
    assert widget.queries.value == worst
    picture = bytes(widget.picture.value)
    assert picture.startswith(b"\x89PNG")
    widget.queries.value = widget.queries.options[3][1]
    assert bytes(widget.picture.value) != picture
    widget.controls["camid"].value = 2
    rows = [row for _, row in widget.queries.options]
    assert rows and (result.per_query.iloc[rows]["camid"] == 2).all()
    assert widget.queries.value == rows[0]
    widget.controls["ap_range"].value = (0, 0.01)
    assert widget.queries.value is None and widget.picture.value == b""
    assert widget.picture.layout.display == "none"  # an empty image is shown as a broken one
    assert widget.summary.value == "No query fits these filters."
    widget.controls["ap_range"].value = (0, 1)
    assert widget.picture.value and widget.picture.layout.display == ""


@pytest.mark.parametrize("column", ["camid", "color_id", "type_id"])
def test_nothing_filtered_is_shown_as_any(browser, column):
    assert BrowserWidget(browser).controls[column].label.startswith("any (")
    value = browser.options(column)[1][1]
    state = BrowserState(**{column: value})
    assert BrowserWidget(browser, state).controls[column].value == value


def test_widget_redraws_for_keypoints_and_length(browser):
    widget = BrowserWidget(browser)
    plain = bytes(widget.picture.value)
    widget.controls["keypoints"].value = True
    dotted = bytes(widget.picture.value)
    assert dotted != plain
    widget.controls["top_k"].value = 3
    assert bytes(widget.picture.value) != dotted
    before = bytes(widget.picture.value)
    widget.controls["reranked"].value = True
    assert bytes(widget.picture.value) != before


def test_counts_are_of_the_queries_that_the_other_filters_leave(browser, result):
    widget = BrowserWidget(browser)
    widget.controls["camid"].value = 2
    frame = result.per_query[result.per_query["camid"] == 2]
    labels = dict((value, label) for label, value in widget.controls["color_id"].options)
    assert labels[None] == f"any ({len(frame)})"
    for value, count in frame["color_id"].value_counts().items():
        assert labels[value].endswith(f"({count})")
    assert set(labels) - {None} == set(frame["color_id"])
    # The list of cameras itself counts all cameras, and keeps its choice.
    cameras = widget.controls["camid"]
    assert cameras.value == 2 and cameras.options[0][0] == f"any ({result.num_query})"
    widget.controls["ap_range"].value = (0, 0.01)
    assert cameras.value == 2 and cameras.label == "camera 2 (0)"


def test_a_reranked_list_names_both_precisions(browser, result):
    row = browser.select(BrowserState())[0]
    for reranked in (False, True):
        figure = browser.draw([row], BrowserState(reranked=reranked))
        title = figure.axes[0].get_title("left")
        before = f"({say_percent(result.ap[row])} before)"
        assert (f"after re-ranking {before}" in title) == reranked


def test_long_lists_are_wrapped_and_captions_are_legible(browser):
    figure = browser.draw([0, 1], BrowserState(top_k=20))
    assert figure.get_size_inches()[0] < 9  # shown at its own size, not shrunk
    sizes = {text.get_fontsize() for ax in figure.axes for text in ax.texts}
    assert min(sizes) >= 7.5
    lines = {round(text.get_position()[1], 2) for text in figure.axes[0].texts}
    assert min(lines) < -2
