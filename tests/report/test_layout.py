"""Every page as a person sees it: light, dark and narrow, with nothing cut or covered."""

from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mtn_core.report import write_report
from mtn_core.report.index import write_profile_index, write_reports_index
from mtn_core.report.notebook_html import PageLinks, notebook_to_html
from mtn_core.report.search_page import write_search_page
from mtn_core.results import Embeddings
from mtn_core.results.search import search
from mtn_core.viz.crops import CropSource

pytestmark = pytest.mark.slow
FAULTS = Path(__file__).with_name("layout.js").read_text(encoding="utf-8")
MODES = {"light": (1280, False), "dark": (1280, True), "narrow": (420, False)}
LONG = "a-run-with-a-name-that-somebody-made-of-all-its-settings_lr_0.0035_seed_17"
MISSING = "partly: the C++ program did not run, because this machine lacks cmake (install it); g++"
MISSING += " (install it); MindSpore Lite. To get it: `bash scripts/fetch_mindspore_lite.sh`"


@pytest.fixture(scope="module")
def browser(devtools):
    with devtools.Browser() as one:
        yield one


def look(browser, page, script=""):
    """Faults of a page by mode, after a script that presses something."""
    found = {}
    for mode, (width, dark) in MODES.items():
        browser.open(page, width=width, dark=dark)
        if script:
            browser.run(script)
        found[mode] = browser.run(FAULTS) + browser.complaints()
    return {mode: faults for mode, faults in found.items() if faults}


def test_the_check_finds_what_it_is_for(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<body><table><tbody><tr></tr></tbody></table><pre>x:  0%|    | 0/9 [00:00]</pre>"
        "<div style='width:60px;overflow:hidden;white-space:nowrap'>words that are cut off</div>"
        "<div style='position:absolute;top:300px'>one line of text</div>"
        "<div style='position:absolute;top:302px'>another line of it</div>"
        "<div style='width:1500px'>wide <p style='text-align:right'>far away</p></div>"
        "<svg width='90' height='40'><text x='60' y='20'>too long a word</text></svg></body>"
    )
    browser.open(bad)
    kinds = {line.split(":")[0] for line in browser.run(FAULTS)}
    expected = {"cut", "overlap", "wider than the page", "beyond the page", "cut by its figure"}
    assert kinds == expected | {"frozen bar", "empty table"}


def test_reports_of_one_run_and_of_two(browser, page, comparison):
    assert look(browser, page) == {}
    assert look(browser, comparison) == {}


def test_a_report_with_a_rank_list_and_a_crop_open(browser, comparison):
    press = """document.querySelector('.row-button').click();
      document.querySelectorAll('#explorer .bar button')[1].click();
      document.querySelectorAll('#explorer .frame')[2].click();"""
    opened = f"{press} return document.querySelectorAll('.crop-card:not([hidden])').length;"
    browser.open(comparison)
    assert browser.run(opened) == 1
    # The card lies over the list by design; everything else must stay whole.
    hide = f"{press} document.querySelector('.crop-card').hidden = true;"
    assert look(browser, comparison, hide) == {}


def test_a_report_of_runs_with_long_names(browser, write_run, run_dir, tmp_path):
    root = run_dir.parent / "data"
    runs = [write_run(tmp_path / f"{LONG}{k}", root=root, seed=k, spread=1 + k) for k in range(2)]
    assert look(browser, write_report(runs, tmp_path / "long.html")) == {}


def test_index_pages(browser, page, tmp_path):
    folder = tmp_path / "reports" / "smoke"
    rows = [("01 Inspect data", "01.html", 0.2, "passed"), ("06 Infer 310", None, 0.3, MISSING)]
    rows += [("07 Pose maps", None, 1.5, "failed"), ("08 Search", None, None, "not run")]
    scores = {"trained": 0.231, "untrained": 0.188, "color_histogram": 0.393}
    index = write_profile_index(folder, "Workbook: smoke", rows, page, scores, advice="Only smoke.")
    (folder / "report.html").write_bytes(page.read_bytes())
    assert look(browser, index) == {}
    assert look(browser, write_reports_index(tmp_path / "reports")) == {}


def test_the_page_of_a_search(browser, run_dir, tmp_path):
    root = run_dir.parent / "data"
    image = next((root / "veri" / "image_query").glob("0012*.jpg"))
    query = Embeddings.load(run_dir / "embeddings_query.npz")
    features = query.features[query.names.tolist().index(image.name)]
    result = search(run_dir, image, embed=lambda path: features, top=12)
    out = write_search_page(result, CropSource(root), tmp_path / "search.html")
    assert look(browser, out) == {}


def test_outputs_of_every_kind(browser, tmp_path):
    frame = pd.DataFrame({f"a column of number {k}": [1234.5678, 0.25] for k in range(14)})
    lines = "".join(f"step {k}: loss {1 / (k + 1):.4f} and a long line behind it, {k * 'x'}\n"
                    for k in range(90))  # fmt: skip
    outputs = [
        new_output("stream", name="stdout", text=lines),
        new_output("stream", name="stderr", text="x:   0%|          | 0/9 [00:00<?, ?it/s]\n"),
        new_output("display_data", data={"text/html": frame.to_html(notebook=True)}),
        new_output("display_data", data={"text/html": frame.iloc[:0].to_html(notebook=True)}),
        new_output("display_data", data={"text/markdown": "| a | b |\n|---|---|\n| `" + "f" * 64
                                         + "` | a text of many words that wraps |"}),
        new_output("error", ename="E", evalue="bad", traceback=["E: " + "long " * 60]),
    ]  # fmt: skip
    cells = [new_markdown_cell("# Outputs"), new_code_cell("x = 1" * 40, outputs=outputs)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "n.ipynb")
    links = PageLinks.of_place([("01 A", "a.html"), ("02 B", "b.html")], 0, report="report.html")
    page = notebook_to_html(tmp_path / "n.ipynb", tmp_path / "n.html", links=links)
    assert look(browser, page) == {}
    unfold = "document.querySelectorAll('details').forEach((d) => { d.open = true; });"
    assert look(browser, page, unfold) == {}


@pytest.mark.parametrize("name", ["01_inspect_data", "04_analyse_retrieval"])
def test_executed_notebooks(browser, repository, run_dir, smoke_root, tmp_path, name):
    of_name = {
        "01_inspect_data": {"root": str(smoke_root), "run_dir": str(tmp_path / "run")},
        "04_analyse_retrieval": {"run_dir": str(run_dir), "map_method": "pca"},
    }
    executed = tmp_path / f"{name}.ipynb"
    papermill.execute_notebook(
        str(repository / "notebooks" / f"{name}.ipynb"),
        str(executed),
        parameters=of_name[name],
        cwd=str(tmp_path),
        kernel_name="python3",
        progress_bar=False,
    )
    assert look(browser, notebook_to_html(executed, tmp_path / "n.html")) == {}
