"""Tables of the notebooks: words for column names, percent where a person reads, ``none`` if empty.

What is computed keeps its fractions and its names; here is only how it is shown.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from mtn_core.vehicle import color_name, type_name

# Column names that are more than words joined by underscores.
_WORDS = {
    "pid": "vehicle",
    "pid_a": "vehicle a",
    "pid_b": "vehicle b",
    "camid": "camera",
    "color": "colour",
    "color_id": "colour",
    "type_id": "type",
    "color_accuracy": "colour",
    "type_accuracy": "type",
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "num_query": "queries",
    "num_groups": "vehicles",
    "num_images": "images",
    "num_vehicles": "vehicles",
    "median_first_match_rank": "median rank of the first match",
    "mistaken_for": "mostly mistaken for",
    "mistaken_count": "so often",
    "mAP_difference": "mAP against plain, points",
    "images_per_s": "images per second",
    "lr": "learning rate",
    "color_histogram": "colour histogram",
    "untrained": "same network, untrained",
}
_CLASSES = {"color_id": color_name, "type_id": type_name}
UNKNOWN = "–"


def say_column(name: object) -> str:
    """A column's name as words."""
    text = str(name)
    is_file = "." in text
    return text if is_file else _WORDS.get(text, text.replace("_", " "))


def say_percent(fraction: float | None, digits: int = 1) -> str:
    """``0.233`` as ``23.3 %``, which no line break divides."""
    if fraction is None or math.isnan(fraction):
        return UNKNOWN
    return f"{100 * fraction:.{digits}f}\N{NO-BREAK SPACE}%"


def show_table(
    frame: pd.DataFrame,
    *,
    percent: Collection[str] = (),
    formats: Mapping[str, str] | None = None,
    digits: int = 2,
    index: bool = True,
) -> Any:
    """A table to show in a notebook.

    Args:
        frame: What to show; ids of colours and types become their names.
        percent: Columns that hold fractions.
        formats: Format of single columns, such as ``{:.1e}``.
        digits: Decimals of other numbers that are not whole.
        index: Whether the rows' names are shown.

    Returns:
        A pandas ``Styler``; the word *none* where there is no row.
    """
    if frame.empty:
        from IPython.display import Markdown

        return Markdown("*none*")
    formats = formats or {}
    if not index or not frame.index.is_unique:  # a Styler wants rows that can be told apart
        frame = frame.reset_index(drop=not index)
        index = False
    shown = frame.copy().astype(object)
    for name in frame.columns:
        shown[name] = [
            _say_value(name, value, percent, formats.get(name), digits) for value in frame[name]
        ]
    shown.columns = [say_column(name) for name in frame.columns]
    if index:
        shown.index = [say_column(name) for name in frame.index]
        shown.index.name = None
    styler = shown.style.format(escape="html").format_index(escape="html", axis="columns")
    styler.format_index(escape="html", axis="index")
    if not index:
        styler = styler.hide(axis="index")
    numbers = [c for c, n in zip(shown.columns, frame.columns, strict=True) if _is_number(frame, n)]
    return styler.set_properties(subset=numbers, **{"text-align": "right"})


def show_facts(facts: Mapping[str, object]) -> Any:
    """Names and values, such as versions and device, as a table of two columns."""
    rows = [(say_column(name), str(value)) for name, value in facts.items()]
    frame = pd.DataFrame(rows, columns=["what", "value"])
    styler = frame.style.format(escape="html").hide(axis="index").hide(axis="columns")
    return styler.set_table_attributes('class="facts"')


def _is_number(frame: pd.DataFrame, name: str) -> bool:
    return pd.api.types.is_numeric_dtype(frame[name]) and name not in _CLASSES


def _say_value(
    name: str, value: Any, percent: Collection[str], form: str | None, digits: int
) -> str:
    if name in _CLASSES:
        return _CLASSES[name](int(value))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return UNKNOWN
    if name in percent:
        return say_percent(float(value))
    if form is not None:
        return form.format(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.{digits}f}"
    return str(value)
