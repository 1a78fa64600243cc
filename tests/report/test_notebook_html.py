import base64
from urllib.parse import quote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mtn_core.errors import DataError
from mtn_core.report.notebook_html import notebook_to_html

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
    assert text.count("<script") == 1  # the page's own, for the colour button
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
