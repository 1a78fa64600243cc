"""Executed notebooks as offline HTML pages in the look of the reports.

nbconvert renders the cells; the page around them is ours, because nbconvert's own pages point at
scripts on a network (MathJax, require.js, mermaid). Formulas are shown as their TeX source.
"""

import base64
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import nbformat
from markupsafe import Markup

from mtn_core.errors import DataError, MissingFileError, first_line
from mtn_core.files import why_no_file, write_text
from mtn_core.report.notebook_outputs import clean_outputs, fit_tables, mark_drawings
from mtn_core.report.page import render_page

# Widget views need a live kernel; their text or picture says more on paper.
_DISPLAY_ORDER = [
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/latex",
    "text/plain",
]
_PICTURE = re.compile(
    r"""!\[[^\]]*\]\(\s*<?(?P<markdown>[^)\s>]+)[^)]*\)"""
    r"""|<img\b[^>]*?\bsrc\s*=\s*["']?(?P<html>[^"'\s>]+)[^>]*>""",
    re.IGNORECASE,
)
_SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.IGNORECASE | re.DOTALL)
_REMOTE = re.compile(r"""\b(?:src|poster)\s*=\s*(["'])\s*(?:https?:)?//.*?\1""", re.IGNORECASE)


@dataclass(frozen=True)
class PageLinks:
    """Where a page leads to, each as ``(title, address)``.

    Attributes:
        index: The page that lists the others.
        previous: The notebook before this one.
        next: The notebook behind it.
        report: The retrieval report.
    """

    index: tuple[str, str] | None = None
    previous: tuple[str, str] | None = None
    next: tuple[str, str] | None = None
    report: tuple[str, str] | None = None

    @classmethod
    def of_place(
        cls, pages: Sequence[tuple[str, str]], place: int, *, report: str | None
    ) -> "PageLinks":
        """The links of one of several notebook pages in a folder that has an ``index.html``.

        Args:
            pages: Title and file name of each, in order.
            place: Which of them.
            report: File name of the report, if there is one.
        """
        return cls(
            index=("All notebooks", "index.html"),
            previous=pages[place - 1] if place > 0 else None,
            next=pages[place + 1] if place + 1 < len(pages) else None,
            report=("Report", report) if report else None,
        )


def notebook_to_html(
    ipynb: str | Path,
    html: str | Path,
    *,
    title: str | None = None,
    links: PageLinks | None = None,
) -> Path:
    """Convert one notebook, executed or not, to one HTML file that loads nothing from a network.

    Args:
        ipynb: The notebook; it is only read.
        html: File to write, whole or not at all.
        title: Page title; by default the notebook's first heading, else its file name.
        links: Pages that this one leads to.

    Returns:
        ``html`` as a path.

    Raises:
        MissingFileError: The notebook is not there.
        DataError: The file is not a notebook.
    """
    ipynb, html = Path(ipynb), Path(html)
    notebook = read_notebook(ipynb)
    heading = _take_first_heading(notebook)
    clean_outputs(notebook)
    _describe_pictures(notebook)
    _embed_own_pictures(notebook, ipynb.resolve().parent)
    body, highlight_css = _render_cells(notebook)
    page = render_page(
        "notebook.html.j2",
        title=title or heading or ipynb.stem,
        subtitle=f"Executed copy of {ipynb.name}",
        scripts=("notebook.js",),
        links=links or PageLinks(),
        body=Markup(body),
        highlight_css=Markup(highlight_css),
        failed=_has_error(notebook),
    )
    write_text(html, page)
    return html


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a notebook of any version.

    Raises:
        MissingFileError: It is not there.
        DataError: It is not a notebook.
    """
    if not path.is_file():
        raise MissingFileError(f"notebook {path} {why_no_file(path)}")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat lets through whatever its JSON layers raise
        raise DataError(f"{path} is not a Jupyter notebook: {first_line(error)[:200]}") from error
    return notebook


def _render_cells(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter
    from traitlets.config import Config

    config = Config()
    config.NbConvertBase.display_data_priority = _DISPLAY_ORDER
    exporter = HTMLExporter(config=config, template_name="basic")
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    body, _ = exporter.from_notebook_node(notebook)
    body = _REMOTE.sub('data-removed="remote address"', _SCRIPT.sub("", body))
    body = mark_drawings(fit_tables(body))
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark")
    dark_css = (
        "@media (prefers-color-scheme: dark) {"
        + dark.get_style_defs(':root:not([data-theme="light"]) .highlight')
        + "}\n"
        + dark.get_style_defs(':root[data-theme="dark"] .highlight')
    )
    return body, f"{light}\n{dark_css}"


def _take_first_heading(notebook: nbformat.NotebookNode) -> str | None:
    """Cut the leading ``# Title`` out of the first cell: the page shows it as its own heading."""
    if not notebook.cells or notebook.cells[0].cell_type != "markdown":
        return None
    first, _, rest = notebook.cells[0].source.lstrip().partition("\n")
    if not first.startswith("# "):
        return None
    notebook.cells[0].source = rest
    return first[2:].strip()


def _describe_pictures(notebook: nbformat.NotebookNode) -> None:
    """Give pictures without an alternative text the heading that they stand under."""
    heading = "the notebook"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+\s+(.+)$", cell.source, flags=re.MULTILINE)
            heading = headings[-1].strip() if headings else heading
            continue
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/jpeg"):
                if kind in output.get("data", {}):
                    output.metadata.setdefault(kind, {}).setdefault("alt", f"Figure: {heading}")


def _embed_own_pictures(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Put local pictures into the page: those beside the notebook or in its run, and no others.

    The page is made to be shown to others.
    """
    # Executed copies lie in RUN/notebooks.
    allowed = [folder, folder.parent] if folder.name == "notebooks" else [folder]

    def keep_or_name(match: re.Match[str]) -> str:
        target = match["markdown"] or match["html"]
        if re.match(r"(?:[a-z]+:)?//|data:|attachment:", target, re.IGNORECASE):
            return match[0]
        path = (folder / unquote(target)).resolve()
        kind = mimetypes.guess_type(path.name)[0] or ""
        inside = any(path.is_relative_to(place) for place in allowed)
        if inside and path.is_file() and kind.startswith("image/"):
            data = base64.b64encode(path.read_bytes()).decode()
            return match[0].replace(target, f"data:{kind};base64,{data}")
        if inside:
            return match[0]
        return f"(the picture {path.name} lies outside of the run and is not shown)"

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _PICTURE.sub(keep_or_name, cell.source)


def _has_error(notebook: nbformat.NotebookNode) -> bool:
    return any(
        output.output_type == "error"
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.get("outputs", [])
    )
