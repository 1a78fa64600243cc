"""How tables are shown in notebooks."""

import numpy as np
import pandas as pd

from mtn_core.viz.tables import say_percent, show_facts, show_table


def test_classes_have_names_and_columns_are_words():
    frame = pd.DataFrame({"pid": [7], "color_id": [1], "type_id": [-1], "num_query": [3]})
    html = show_table(frame, index=False).to_html()
    for word in ("yellow", "unknown", ">vehicle<", ">colour<", ">type<", ">queries<"):
        assert word in html
    assert "_id" not in html and "pid" not in html


def test_fractions_are_percent_and_unknown_numbers_dashes():
    frame = pd.DataFrame({"mAP": [0.2334, np.nan], "rank1": [1.0, 0.0], "x": [2.0, 0.125]})
    html = show_table(frame, percent=("mAP", "rank1")).to_html()
    for text in ("23.3\N{NO-BREAK SPACE}%", "100.0\N{NO-BREAK SPACE}%", "–", ">2<", ">0.12<"):
        assert text in html
    assert "Rank-1" in html
    assert say_percent(0.5, 0) == "50\N{NO-BREAK SPACE}%" and say_percent(None) == "–"


def test_nothing_is_the_word_none():
    assert show_table(pd.DataFrame({"a": []})).data == "*none*"


def test_markup_stays_text():
    frame = pd.DataFrame({"<b>": ["<i>"]}, index=["<u>"])
    html = show_table(frame).to_html() + show_facts({"<s>": "<a>"}).to_html()
    for tag in "biusa":
        assert f"<{tag}>" not in html and f"&lt;{tag}&gt;" in html


def test_rows_of_one_name_are_shown_all():
    frame = pd.DataFrame({"a": [1, 2]}, index=["same", "same"])
    html = show_table(frame).to_html()
    assert html.count("same") == 2 and ">1<" in html and ">2<" in html
