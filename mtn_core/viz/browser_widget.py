"""ipywidgets in front of :class:`mtn_core.viz.browser.RetrievalBrowser`."""

import io
import os
from collections.abc import MutableMapping
from typing import Any

import ipywidgets as widgets

from mtn_core.results.ranking import SELECTIONS
from mtn_core.viz.browser import BrowserState, RetrievalBrowser

_CHOICES = ("camid", "color_id", "type_id")
# Set by Jupyter's and VS Code's servers for the kernels that a person looks at.
_FRONT_END_VARIABLES = ("JPY_SESSION_NAME", "VSCODE_PID")


def has_front_end(environ: MutableMapping[str, str] | None = None) -> bool:
    """Whether this kernel belongs to a front end that a person can click in."""
    environ = os.environ if environ is None else environ
    return any(environ.get(name) for name in _FRONT_END_VARIABLES)


def show_browser(
    browser: RetrievalBrowser,
    *,
    interactive: bool | None = None,
    state: BrowserState | None = None,
    num: int = 4,
) -> Any:
    """The browser as a widget, or as figures where there is no front end.

    Args:
        browser: What to show.
        interactive: Whether to make a widget; by default where there is a front end.
        state: What is chosen at first.
        num: Rank lists in a figure.

    Returns:
        An ipywidgets box, or a list of figures.
    """
    if interactive is None:
        interactive = has_front_end()
    if not interactive:
        return browser.draw_static(state, num=num)
    return BrowserWidget(browser, state).box


class BrowserWidget:
    """ipywidgets controls over a :class:`RetrievalBrowser`; ``box`` is what a notebook shows.

    Attributes:
        box: The whole widget.
        controls: The control of each field of :class:`BrowserState`, by name.
        queries: The list to choose from.
        summary: How many queries fit.
        picture: The rank list of the chosen query as PNG.
    """

    def __init__(self, browser: RetrievalBrowser, state: BrowserState | None = None):
        state = state or BrowserState()
        self.browser = browser
        self.controls = {
            "camid": _choice(browser.options("camid"), state.camid, "camera"),
            "color_id": _choice(browser.options("color_id"), state.color_id, "colour"),
            "type_id": _choice(browser.options("type_id"), state.type_id, "type"),
            "ap_range": widgets.FloatRangeSlider(
                value=state.ap_range, min=0, max=1, step=0.05, description="AP",
                continuous_update=False, layout=widgets.Layout(width="340px"),
            ),
            "order": widgets.ToggleButtons(options=SELECTIONS, value=state.order),
            "top_k": widgets.IntSlider(
                value=state.top_k, min=1, max=30, description="images", continuous_update=False
            ),
            "reranked": widgets.Checkbox(
                value=state.reranked and browser.can_rerank,
                description="re-ranked",
                disabled=not browser.can_rerank,
            ),
            "keypoints": widgets.Checkbox(value=state.keypoints, description="keypoints"),
        }  # fmt: skip
        self._is_refilling = False
        self.summary = widgets.Label()
        self.queries = widgets.Select(options=[], rows=12, layout=widgets.Layout(width="98%"))
        self.picture = widgets.Image(
            format="png", layout=widgets.Layout(max_width="100%", object_fit="contain")
        )
        filters = ("camid", "color_id", "type_id", "ap_range", "order")
        for name, control in self.controls.items():
            refresh = self._refresh_queries if name in filters else self._refresh_picture
            control.observe(lambda change, refresh=refresh: refresh(), names="value")
        self.queries.observe(lambda change: self._refresh_picture(), names="value")
        left = [self.controls[name] for name in filters]
        right = [self.controls[name] for name in ("top_k", "reranked", "keypoints")]
        self.box = widgets.VBox(
            [
                widgets.HBox([widgets.VBox(left), widgets.VBox([*right, self.summary])]),
                self.queries,
                self.picture,
            ]
        )
        self._refresh_queries()

    def state(self) -> BrowserState:
        """What is chosen now."""
        return BrowserState(**{name: control.value for name, control in self.controls.items()})

    def _refresh_queries(self) -> None:
        if self._is_refilling:
            return
        self._refresh_choices()
        state = self.state()
        self.summary.value = self.browser.summarize(state)
        options = [(self.browser.label(row), row) for row in self.browser.select(state)]
        self._is_refilling = True  # the list reports every step of being refilled
        self.queries.options = options
        self.queries.value = options[0][1] if options else None
        self._is_refilling = False
        self._refresh_picture()

    def _refresh_choices(self) -> None:
        """Count, in each list of values, the queries that the other filters leave."""
        state = self.state()
        self._is_refilling = True
        for name in _CHOICES:
            control = self.controls[name]
            options = self.browser.options(name, state)
            if tuple(options) != tuple(control.options):
                control.options = options
                control.index = [value for _, value in options].index(getattr(state, name))
        self._is_refilling = False

    def _refresh_picture(self) -> None:
        if self._is_refilling:
            return
        row = self.queries.value
        # An image without content is shown as a broken one.
        self.picture.layout.display = "none" if row is None else ""
        if row is None:
            self.picture.value = b""
            return
        buffer = io.BytesIO()
        self.browser.draw([row], self.state()).savefig(buffer, format="png", dpi=110)
        self.picture.value = buffer.getvalue()


def _choice(
    options: list[tuple[str, int | None]], value: int | None, description: str
) -> widgets.Dropdown:
    # By its index: told to choose the value None ("any"), ipywidgets chooses nothing and the box
    # stays empty.
    index = [one for _, one in options].index(value)
    return widgets.Dropdown(options=options, index=index, description=description)
