"""Outputs of an executed notebook, made fit for a page: no frozen bars, nothing cut without a sign.

What a kernel leaves was meant for a screen that moves: progress bars that stand still half-way,
hundreds of lines in a box that scrolls, tables as wide as they like.
"""

import base64
import html
import io
import re

import nbformat
import numpy as np
from PIL import Image

_BAR = re.compile(
    r"\d+%\|[^\n\r]*\|\s*[\d?.]+[kMG]?/[\d?.]+[kMG]? \[[^\n\r]*|\d+it \[[^\n\r]*it/s\]"
)
_WIDGET = "application/vnd.jupyter.widget-view+json"
_LONG = 40  # lines; longer texts show their beginning and fold the rest
_HEAD = 15
_MAX_DRAWING_COLORS = 320  # at 4 bits a channel; photographs have more, charts fewer
_SCALE_ENDS = np.array([(68, 1, 84), (253, 231, 37)])  # of viridis
_MAX_SCALE_SHARE = 0.003
_TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
_NO_ROWS = re.compile(r"<tbody>\s*</tbody>")
_SIZE_NOTE = re.compile(r"(</div>)?\s*<p>0 rows × \d+ columns</p>")
_PICTURE = re.compile(r'<img\b(?P<before>[^>]*)src="data:image/png;base64,(?P<data>[^"]+)"')


def clean_outputs(notebook: nbformat.NotebookNode) -> None:
    """Take frozen progress bars out of a notebook's outputs, and outputs that then hold nothing."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kept = [output for output in cell.get("outputs", []) if _without_bars(output)]
            cell.outputs = [_fold(output) for output in _join_streams(kept)]


def _without_bars(output: nbformat.NotebookNode) -> bool:
    """Whether anything is left of an output without its bars."""
    if output.output_type == "stream":
        output.text = _drop_bars(output.text)
        return bool(output.text.strip())
    data = output.get("data", {})
    text = data.get("text/plain")
    if text is not None and (_WIDGET in data or set(data) == {"text/plain"}):
        data["text/plain"] = _drop_bars(text)
        # A widget without words is nothing on paper.
        return bool(data["text/plain"].strip()) or bool(set(data) - {"text/plain", _WIDGET})
    return True


def _drop_bars(text: str) -> str:
    if not _BAR.search(text):
        return text
    # A bar overwrites its own line; what stands behind the last return is what was seen.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(line for line in lines if not _BAR.search(line))


def _join_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Pieces of one stream that only a bar stood between are one piece again."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        streams = last is not None and last.output_type == output.output_type == "stream"
        if last is not None and streams and last.name == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _fold(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A long text as its beginning and a part to unfold, which says how much it holds."""
    if output.output_type != "stream":
        return output
    lines = output.text.rstrip("\n").split("\n")
    if len(lines) <= _LONG:
        return output
    head, rest = _to_pre(lines[:_HEAD]), _to_pre(lines[_HEAD:])
    label = f"{len(lines) - _HEAD} more lines"
    folded = f"{head}<details class='more'><summary>{label}</summary>{rest}</details>"
    return nbformat.v4.new_output("display_data", data={"text/html": folded})


def _to_pre(lines: list[str]) -> str:
    text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(lines))
    return f"<pre class='folded'>{html.escape(text)}</pre>"


def fit_tables(body: str) -> str:
    """Tables of a rendered notebook in boxes that scroll; the word ``none`` for an empty one."""

    def fit(match: re.Match[str]) -> str:
        table = match[0]
        if _NO_ROWS.search(table):
            return "<p class='none'>none</p>"
        return f"<div class='scroll' tabindex='0' role='region' aria-label='table'>{table}</div>"

    return _SIZE_NOTE.sub(r"\1", _TABLE.sub(fit, body))


def mark_drawings(body: str) -> str:
    """Give charts the class ``drawing``: a dark page turns their colours, but no photograph's."""

    def mark(match: re.Match[str]) -> str:
        kind = "drawing" if _is_drawing(match["data"]) else "photo"
        return f'<img class="{kind}"{match["before"]}src="data:image/png;base64,{match["data"]}"'

    return _PICTURE.sub(mark, body)


def _is_drawing(data: str) -> bool:
    try:
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    codes = (pixels >> 4).astype(np.int32) @ np.array([256, 16, 1])
    if len(np.unique(codes)) >= _MAX_DRAWING_COLORS:
        return False
    # A scale of colours reads the wrong way round when it is turned.
    distances = [np.abs(pixels.astype(np.int16) - end).max(axis=-1) for end in _SCALE_ENDS]
    return bool((np.minimum(*distances) < 16).mean() < _MAX_SCALE_SHARE)
