"""Matplotlib figures as inline SVG that follows the page's colours.

Text stays text, so it can be selected, searched and read aloud; black ink becomes the page's text
colour, so one drawing serves light, dark and paper.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtn_core.viz.style import OKABE_ITO, use_style

_INK = "#010203"  # no figure uses it for anything else
# Colours that are too dark on a dark page; page.css has their values.
_PAGE_COLORS = {OKABE_ITO["blue"].lower(): "--ink-blue", OKABE_ITO["green"].lower(): "--ink-green"}
_INK_SETTINGS = {
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": "#808080",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.bbox": "standard",  # the layout already fits; measuring again costs a second drawing
}
# A tag with a coordinate that is finer than any screen; what stands between tags is text.
_LONG_NUMBER_TAG = re.compile(r"<[^<>]*\d\.\d{3}[^<>]*>")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e[-+]?\d+)?")

_LINES = re.compile(r' d="[ML\d\s.-]+"')
_STYLE = re.compile(r' style="([^"]*)"')
_SHARED_BY = 3


@contextmanager
def page_style() -> Iterator[None]:
    """The workbook's style with ink that :func:`to_svg` turns into the page's text colour."""
    with use_style(**_INK_SETTINGS):
        yield


def draw_svg(
    key: str,
    description: str,
    draw: Callable[[Axes], Axes],
    *,
    size: tuple[float, float] = (6.0, 3.6),
) -> Markup:
    """Draw one figure for a page.

    Args:
        key: Unique in the page; letters, digits and hyphens.
        description: Alternative text.
        draw: Draws into the given axes.
        size: Width and height in inches.

    Returns:
        An ``<svg>`` element.
    """
    with page_style():
        figure = Figure(figsize=size)
        draw(figure.subplots())
        return to_svg(figure, key, description)


def to_svg(figure: Figure, key: str, description: str) -> Markup:
    """A figure drawn under :func:`page_style` as one ``<svg>`` element, see :func:`draw_svg`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(_INK, "currentColor")
    for color, variable in _PAGE_COLORS.items():
        svg = re.sub(color, f"var({variable}, {color})", svg, flags=re.IGNORECASE)
    # Several drawings share a page: ids must stay apart. Ids nobody refers to are only weight.
    used = dict.fromkeys(re.findall(r"(?:url\(#|href=\"#)([\w-]+)", svg))
    ids = {old: f"{key}-{number}" for number, old in enumerate(used)}
    svg = re.sub(r'\sid="([^"]*)"', lambda m: f' id="{ids[m[1]]}"' if m[1] in ids else "", svg)
    svg = re.sub(r"(url\(#|href=\"#)([\w-]+)", lambda m: m[1] + ids[m[2]], svg)
    svg = _LONG_NUMBER_TAG.sub(_round_numbers, svg)
    svg = re.sub(r'<path[^>]*style="fill: none"/>', "", svg)  # what is not drawn
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("<g/>", "").replace("> <", "><")
    svg = svg.replace("font-family: 'DejaVu Sans'; ", "")  # page.css says it for all
    svg = _without_bare_groups(svg)
    svg = _LINES.sub(_shorten_lines, svg)
    svg = _share_styles(svg, f"{key}-svg")
    head = f'<svg id="{key}-svg" role="img" aria-label="{escape(description)}"'
    return Markup(head + svg[len("<svg") :])


def _without_bare_groups(svg: str) -> str:
    """Groups without an attribute change nothing."""
    kept: list[bool] = []

    def keep(tag: re.Match[str]) -> str:
        if tag[0] != "</g>":
            kept.append(tag[0] != "<g>")
        return tag[0] if (kept.pop() if tag[0] == "</g>" else kept[-1]) else ""

    return re.sub(r"<g\b[^>]*(?<!/)>|</g>", keep, svg)


def _shorten_lines(path: re.Match[str]) -> str:
    """What follows a point is a line to the next one, also without an L."""
    return path[0].replace(" L ", " ").replace(' "', '"')


def _share_styles(svg: str, name: str) -> str:
    """Styles that many shapes have become rules of the drawing; cells and ticks are hundreds."""
    counts = Counter(_STYLE.findall(svg))
    classes = {
        style: f"s{number}"
        for number, (style, count) in enumerate(counts.most_common())
        if count >= _SHARED_BY
    }
    rules = "".join(f"#{name} .{short}{{{style}}}" for style, short in classes.items())

    def refer(found: re.Match[str]) -> str:
        return f' class="{classes[found[1]]}"' if found[1] in classes else found[0]

    return _STYLE.sub(refer, svg).replace("</style>", f"{rules}</style>", 1)


def _round_numbers(tag: re.Match[str]) -> str:
    """A tag with its numbers rounded to a hundredth of a point."""
    return _LONG_NUMBER.sub(lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), tag[0])
