"""Tables of a page: what a person reads in a cell, and what the table sorts by."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mtn_core.report.page import format_percent


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: What is read; escaped by the template unless it is ``Markup``.
        value: What the table sorts by; None where that is the text, "" for unknown.
        meter: 0..1 draws a small bar beside the text.
        thumbs: CSS classes of pictures shown before the text, with alternative texts.
        button: Query row whose rank list a press on the text shows.
        small: Second line in small type, such as an interval.
    """

    text: str
    value: float | int | str | None = None
    meter: float | None = None
    thumbs: Sequence[tuple[str, str]] = ()
    button: int | None = None
    small: str = ""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: Heading.
        number: Whether it is right-aligned and first sorts downwards.
        filter: Whether a choice of its values is offered.
        sort: Whether it can be sorted by.
    """

    title: str
    number: bool = False
    filter: bool = False
    sort: bool = True


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        caption: Names it; always there for screen readers.
        columns: Headings.
        rows: Cells.
        sortable: Whether headings sort.
        filterable: Whether there are filters above it.
        tall: Whether it scrolls within itself.
        note: Below it.
        shows_caption: False where the heading above says the same.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = True
    filterable: bool = False
    tall: bool = False
    note: str = ""
    shows_caption: bool = True


def percent_cell(
    value: float | None, *, interval: tuple[float, float] | None = None, meter: bool = False
) -> Cell:
    """A fraction as percent, with its interval where there is one."""
    if value is None or math.isnan(value):
        return Cell("–", "")
    small = ""
    if interval is not None and not any(map(math.isnan, interval)):
        small = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
    share = round(float(value), 6)
    return Cell(format_percent(value), share, meter=share if meter else None, small=small)


def difference_cell(value: float, interval: tuple[float, float] | None = None) -> Cell:
    """A difference of two fractions in percentage points, signed."""
    if math.isnan(value):
        return Cell("–", "")
    small = ""
    if interval is not None and not any(map(math.isnan, interval)):
        small = f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
    return Cell(f"{100 * value:+.1f}", round(float(value), 6), small=small)


def number_cell(value: Any, digits: int = 2) -> Cell:
    """An integer as it is, a float with ``digits`` decimals, an unknown number as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("–", "")
    if float(value).is_integer() and not isinstance(value, float):
        return Cell(str(int(value)), int(value))
    return Cell(f"{value:.{digits}f}", round(float(value), 6))


def text_cell(value: Any) -> Cell:
    """A text."""
    return Cell("" if value is None else str(value))


def table_from_frame(
    frame: pd.DataFrame,
    caption: str,
    columns: Mapping[str, tuple[Column, Callable[[Any], Cell]]],
    **options: Any,
) -> Table:
    """A table with one row per row of ``frame``.

    Args:
        frame: Data.
        caption: Name of the table.
        columns: Heading and cell maker by column name of ``frame``.
        **options: Further fields of :class:`Table`.
    """
    makers = [maker for _, maker in columns.values()]
    rows = [
        [make(value) for make, value in zip(makers, values, strict=True)]
        for values in frame[list(columns)].itertuples(index=False, name=None)
    ]
    return Table(caption, [column for column, _ in columns.values()], rows, **options)
