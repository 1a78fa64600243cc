import json

import papermill
import pytest

from mtn_core.report.notebook_html import notebook_to_html


@pytest.fixture(scope="module")
def executed(repository, run_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    out = folder / "04.ipynb"
    papermill.execute_notebook(
        str(repository / "notebooks" / "04_analyse_retrieval.ipynb"),
        str(out),
        parameters={"run_dir": str(run_dir), "map_method": "pca", "num_lists": 2},
        cwd=str(folder),
        kernel_name="python3",
        progress_bar=False,
    )
    return out


def test_notebook_runs_headless_and_shows_figures(executed, run_dir):
    cells = json.loads(executed.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) >= 10
    text = "".join(str(output) for output in outputs)
    assert "widget-view" not in text
    assert "The network reaches a mAP of" in text
    saved = {path.name for path in (run_dir / "figures").glob("*.png")}
    assert {"cmc.png", "ap_histogram.png", "rank_lists_worst.png", "rank_lists_best.png"} <= saved


def test_executed_notebook_becomes_an_offline_page(executed, visit, tmp_path):
    page = notebook_to_html(executed, tmp_path / "04.html")
    seen = visit(
        page, "return [...document.images].every((i) => i.complete && i.naturalWidth > 0);"
    )
    assert (seen.requests, seen.console, seen.result) == ([], [], True)


def test_committed_notebook_is_stripped_and_its_cells_short(repository):
    notebook = json.loads((repository / "notebooks" / "04_analyse_retrieval.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    lengths = {cell["id"]: len(cell["source"]) for cell in code}
    assert max(lengths.values()) <= 15, lengths
    tagged = [c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
