"""What a page is made of: sections, and the parts of a section."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtn_core.report.figures import PageFigure
from mtn_core.report.tables import Table


@dataclass(frozen=True)
class ThumbnailMap:
    """Pictures that lie where their embeddings do.

    Attributes:
        description: Alternative text of the whole.
        pictures: CSS class, left and top in percent, and a title for each.
    """

    description: str
    pictures: Sequence[tuple[str, float, float, str]]


@dataclass
class Part:
    """A piece of a section: figures, tables and rank lists under an optional heading."""

    heading: str = ""
    note: str = ""
    figures: Sequence[PageFigure] = ()
    tables: Sequence[Table] = ()
    lists: Sequence[Mapping[str, Any]] = ()
    map: ThumbnailMap | None = None
    columns: bool = True


@dataclass
class Section:
    """A section of the page; ``explorer`` is the table whose rows open rank lists."""

    id: str
    title: str
    parts: list[Part] = field(default_factory=list)
    note: str = ""
    explorer: Table | None = None
