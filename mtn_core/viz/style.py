"""How every figure of the workbook looks: one style file, one palette, marks beside colours.

Figures take an ``ax``, return it and never call ``plt.show()``. The style is a context, not a
global setting::

    with use_style():
        fig, ax = plt.subplots()
        plot_cmc(ax, {"demo": result})
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib import style

STYLE_FILE = Path(__file__).with_name("style.mplstyle")

OKABE_ITO = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}


@dataclass(frozen=True)
class Mark:
    """How one kind of gallery image is marked: never by colour alone.

    Attributes:
        word: What it is, for captions and screen readers.
        sign: One character drawn beside the colour.
        color: Hex colour.
    """

    word: str
    sign: str
    color: str


QUERY = Mark("query", "?", "#6b7280")
RIGHT = Mark("right", "✓", OKABE_ITO["green"])
WRONG = Mark("wrong", "✗", OKABE_ITO["vermilion"])
IGNORED = Mark("ignored: same vehicle, same camera", "–", "#8a8f98")
MARKS = {"right": RIGHT, "wrong": WRONG, "ignored": IGNORED}  # by a rank entry's verdict


@contextmanager
def use_style(**overrides: object) -> Iterator[None]:
    """Draw with the workbook's style inside the block and leave global settings alone.

    Args:
        **overrides: Further matplotlib settings with ``_`` for ``.`` left as they are given in a
            dictionary, e.g. ``use_style(**{"font.size": 12})``.
    """
    interactive = mpl.is_interactive()
    try:
        with mpl.rc_context():
            style.use([STYLE_FILE, overrides])
            try:
                yield
            finally:
                interactive = mpl.is_interactive()
    finally:
        # The first figure of a notebook turns interactive mode on, inside the block; without it no
        # later figure would be shown.
        mpl.interactive(interactive)
