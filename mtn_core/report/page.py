"""Jinja2 pages that are complete in one file: style and script inlined, every text escaped."""

import json
import math
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mtn_core import __version__


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mtn_core.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = format_percent
    environment.filters["with_code"] = mark_code
    environment.filters["tojson_text"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


def format_percent(fraction: float | None, digits: int = 1) -> str:
    """``0.3101`` as ``31.0 %``; an unknown number as a dash."""
    if fraction is None or math.isnan(fraction):
        return "–"
    return f"{100 * fraction:.{digits}f} %"


def mark_code(text: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one of them has no partner
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if k % 2 else part for k, part in enumerate(parts)
    )


def read_template_text(name: str) -> Markup:
    """A CSS or JavaScript file of the package, to be inlined as it is."""
    text = files("mtn_core.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)


def render_page(
    template: str,
    *,
    title: str,
    subtitle: str = "",
    scripts: Sequence[str] = (),
    **context: Any,
) -> str:
    """Render one page over ``base.html.j2``.

    Args:
        template: File name in ``report/templates``.
        title: Page title and first heading.
        subtitle: One line below it.
        scripts: Further script files of ``report/templates``, after ``page.js``.
        **context: What the template uses; strings are escaped unless they are ``Markup``.

    Returns:
        The complete HTML document.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            subtitle=subtitle,
            version=__version__,
            # Only the page's own script may run, whatever markup a notebook's output brings along.
            nonce=secrets.token_hex(8),
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            css=read_template_text("page.css"),
            head_js=read_template_text("head.js"),
            js=Markup("\n").join(map(read_template_text, ("page.js", *scripts))),
            **context,
        )
    )
