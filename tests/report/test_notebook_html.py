import base64
import io
import re
from urllib.parse import quote

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from mtn_core.errors import DataError
from mtn_core.report.notebook_html import PageLinks, notebook_to_html

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def write(path, cells):
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def notebook(tmp_path):
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    outputs = [
        new_output("display_data", data={"image/png": PIXEL, "text/plain": "figure"}),
        new_output("display_data", data={**widget, "text/plain": "Widget()"}),
        new_output("stream", name="stdout", text="<b>shown</b>"),
        new_output(
            "display_data",
            data={"text/html": "<p>own</p><script src='https://x.example/a.js'></script>"},
        ),
        new_output("display_data", data={"text/html": "<img src='http://x.example/a.png'>"}),
    ]
    cells = [
        new_markdown_cell("# Title & more\nIntroduction, $x^2$"),
        new_code_cell("seed = 0", metadata={"tags": ["parameters"]}),
        new_markdown_cell("## Curves"),
        new_code_cell("print('<b>')", outputs=outputs),
    ]
    return write(tmp_path / "a.ipynb", cells)


def test_page_names_no_address_and_runs_no_foreign_script(notebook, tmp_path):
    text = notebook_to_html(notebook, tmp_path / "a.html").read_text()
    assert "http://" not in text and "https://" not in text
    assert text.count("<script nonce=") == text.count("<script") == 2  # the page's own
    assert "mathjax" not in text.lower() and "require" not in text.lower()
    assert "default-src 'none'" in text


def test_page_has_the_title_once_and_the_contents(notebook, tmp_path):
    text = notebook_to_html(notebook, tmp_path / "a.html").read_text()
    assert text.count("Title &amp; more") == 2  # title and heading
    assert "Introduction" in text and "<p>own</p>" in text
    assert "&lt;b&gt;shown&lt;/b&gt;" in text
    assert "Widget()" in text and "widget-view" not in text
    assert 'alt="Figure: Curves"' in text
    assert "stopped with an error" not in text


def test_failed_notebook_says_so(tmp_path):
    error = new_output("error", ename="E", evalue="bad", traceback=["\x1b[31mE\x1b[0m: <bad>"])
    path = write(tmp_path / "a.ipynb", [new_code_cell("1/0", outputs=[error])])
    text = notebook_to_html(path, tmp_path / "a.html").read_text()
    assert "This notebook stopped with an error" in text
    assert "&lt;bad&gt;" in text


def test_title_is_escaped(tmp_path):
    path = write(tmp_path / "a.ipynb", [new_markdown_cell("# <script>alert(1)</script>")])
    text = notebook_to_html(path, tmp_path / "a.html").read_text()
    assert "<script>alert" not in text


def test_what_is_no_notebook_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"notebook .* does not exist"):
        notebook_to_html(tmp_path / "absent.ipynb", tmp_path / "a.html")
    (tmp_path / "b.ipynb").write_text("{}")
    with pytest.raises(DataError, match="not a Jupyter notebook"):
        notebook_to_html(tmp_path / "b.ipynb", tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_page_asks_no_network_and_has_no_error(notebook, visit, tmp_path):
    seen = visit(notebook_to_html(notebook, tmp_path / "a.html"))
    assert (seen.requests, seen.console) == ([], [])


def test_markup_in_outputs_runs_no_script(notebook, visit, tmp_path):
    bad = "<b id='it'>it</b><img src='x' onerror=\"document.title = 'taken over'\">"
    data = {"text/html": bad}
    path = write(
        tmp_path / "b.ipynb", [new_code_cell("x", outputs=[new_output("display_data", data=data)])]
    )
    page = notebook_to_html(path, tmp_path / "b.html")
    title, shown = visit(page, "return [document.title, !!document.getElementById('it')];").result
    assert (title, shown) == ("b", True)


@pytest.mark.parametrize(
    "source",
    [
        "![x](../secret.png)",
        "![x](/SECRET)",
        '<img src="../../secret.png">',
        "![x](a/../../secret.png)",
    ],
)
def test_pictures_from_elsewhere_are_not_copied_into_the_page(tmp_path, source):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG precious")
    notebook = new_notebook(
        cells=[new_markdown_cell(source.replace("/SECRET", quote(str(secret))))]
    )
    nbformat.write(notebook, folder / "n.ipynb")
    text = notebook_to_html(folder / "n.ipynb", tmp_path / "n.html").read_text()
    assert "precious" not in text and base64.b64encode(b"\x89PNG precious").decode() not in text
    assert "secret.png lies outside of the run" in text


def test_a_picture_of_the_run_is_shown(tmp_path):
    folder = tmp_path / "run" / "notebooks"
    folder.mkdir(parents=True)
    (tmp_path / "run" / "figures").mkdir()
    (tmp_path / "run" / "figures" / "a.png").write_bytes(b"\x89PNG of the run")
    notebook = new_notebook(cells=[new_markdown_cell("![x](../figures/a.png)")])
    nbformat.write(notebook, folder / "n.ipynb")
    text = notebook_to_html(folder / "n.ipynb", tmp_path / "n.html").read_text()
    assert base64.b64encode(b"\x89PNG of the run").decode() in text


def page_of(tmp_path, *outputs, links=None):
    path = write(tmp_path / "n.ipynb", [new_code_cell("x", outputs=list(outputs))])
    return notebook_to_html(path, tmp_path / "n.html", links=links).read_text()


def test_frozen_bars_are_left_out(tmp_path):
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    bar = "PCK:   0%|          | 0/122 [00:00<?, ?image/s]"
    text = page_of(
        tmp_path,
        new_output("stream", name="stdout", text="epoch 1 is done\n"),
        new_output("display_data", data={**widget, "text/plain": bar}),
        new_output("stream", name="stdout", text="epoch 2 is done\n"),
        new_output(
            "stream", name="stderr", text=f"\r{bar}\rx:  50%|###   | 1/2 [00:01<00:01]\nend"
        ),
        new_output("stream", name="stdout", text="a share of 50% stays\n"),
    )
    assert "%|" not in text and "/122" not in text
    for kept in ("epoch 1 is done\nepoch 2 is done", "end", "a share of 50% stays"):
        assert kept in text


def test_long_outputs_are_folded_and_say_how_much(tmp_path):
    lines = [f"<line {k}>" for k in range(100)]
    text = page_of(tmp_path, new_output("stream", name="stdout", text="\n".join(lines) + "\n"))
    assert "<summary>85 more lines</summary>" in text
    assert all(f"&lt;line {k}&gt;" in text for k in range(100))
    assert text.index("&lt;line 14&gt;") < text.index("<details")
    assert text.index("&lt;line 15&gt;") > text.index("<details")
    short = page_of(tmp_path, new_output("stream", name="stdout", text="\n".join(lines[:40])))
    assert "more lines" not in short


def test_an_empty_table_is_the_word_none(tmp_path):
    empty, full = (pd.DataFrame({"a": rows}).to_html(notebook=True) for rows in ([], [1]))
    pages = [{"text/html": table + "<p>0 rows × 1 columns</p>"} for table in (empty, full)]
    text = page_of(tmp_path, *(new_output("display_data", data=data) for data in pages))
    assert text.count("<p class='none'>none</p>") == 1 and "0 rows" not in text
    assert text.count("<table") == 1 == text.count("<div class='scroll' tabindex='0'")


def test_a_scale_of_colours_is_not_turned(tmp_path):
    figure = Figure()
    figure.subplots().imshow(np.eye(4), cmap="viridis")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    picture = base64.b64encode(file.getvalue()).decode()
    text = page_of(tmp_path, new_output("display_data", data={"image/png": picture}))
    assert '<img class="photo"' in text


def test_charts_turn_dark_and_photographs_do_not(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 3, 2])
    chart = io.BytesIO()
    figure.savefig(chart, format="png")
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    photo = io.BytesIO()
    Image.fromarray(noise).save(photo, "PNG")
    pictures = [base64.b64encode(file.getvalue()).decode() for file in (chart, photo)]
    text = page_of(
        tmp_path, *(new_output("display_data", data={"image/png": one}) for one in pictures)
    )
    kinds = re.findall(r'<img class="(\w+)"[^>]*src="data:image/png;base64,([^"]+)"', text)
    assert kinds == [("drawing", pictures[0]), ("photo", pictures[1])]


def test_a_page_leads_to_the_others(tmp_path):
    pages = [("01 A", "01_a.html"), ("02 B", "02_b.html"), ("03 C", "03_c.html")]
    text = page_of(tmp_path, links=PageLinks.of_place(pages, 1, report="report.html"))
    for address in ("index.html", "01_a.html", "03_c.html", "report.html"):
        assert text.count(f'href="{address}"') == 2  # above and below
    first = page_of(tmp_path, links=PageLinks.of_place(pages, 0, report=None))
    assert 'rel="prev"' not in first and 'href="report.html"' not in first
    assert "<nav" in first and 'rel="next" href="02_b.html"' in first
