"""The notebook runner: parameters, failures, copies, pages."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mtn_core.errors import ConfigError, DataError, RunFolderError
from mtn_core.jobs.cluster import Cluster
from mtn_core.jobs.workbook import (
    ADVICE,
    PROFILES,
    NotebookError,
    check_parameters,
    execute_notebook,
    find_notebooks,
    run_workbook,
)


def write_notebook(path, *sources):
    parameters = new_code_cell('root = "x"\nanswer = 1', metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell(f"# {path.stem}"), parameters, *map(new_code_cell, sources)]
    notebook = new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder / "01_first.ipynb", "print(answer + 1)")
    write_notebook(folder / "02_second.ipynb", "print(root)")
    return folder


def outputs(path):
    notebook = nbformat.read(path, as_version=4)
    return "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))


def workbook(folder, tmp_path, smoke_root, **options):
    return run_workbook(
        PROFILES["smoke"],
        notebooks=folder,
        runs_dir=tmp_path / "runs",
        reports_dir=tmp_path / "reports",
        root=smoke_root,
        **options,
    )


def test_parameters_reach_the_notebook_and_the_copy_is_kept(folder, tmp_path):
    executed = tmp_path / "out" / "first.ipynb"
    execute_notebook(folder / "01_first.ipynb", executed, {"answer": 41}, progress=False)
    assert outputs(executed) == "42\n"


CHATTER = """
import os, subprocess
os.write(1, b"of the kernel's process\\n")
subprocess.run("echo of a program of its >&2", shell=True)
"""


def test_the_terminal_shows_a_line_a_notebook_and_the_log_has_the_rest(
    folder, tmp_path, smoke_root, capfd
):
    write_notebook(folder / "01_first.ipynb", CHATTER)
    workbook(folder, tmp_path, smoke_root, echo=print)
    printed = capfd.readouterr()
    assert [line.partition(" after")[0] for line in printed.out.splitlines()] == [
        "01_first.ipynb passed",
        "02_second.ipynb passed",
        ADVICE["smoke"],
    ]
    assert "of the kernel" not in printed.err and "papermill" not in printed.err
    logs = tmp_path / "runs" / "smoke" / "logs"
    assert sorted(path.name for path in logs.iterdir()) == ["01_first.log", "02_second.log"]
    said = (logs / "01_first.log").read_text()
    assert "Executing notebook with kernel" in said and "Input Notebook" in said
    assert "of a program of its" in said


def test_the_bar_counts_cells_where_there_is_a_terminal(folder, tmp_path):
    """A pseudo-terminal is what tells them apart; the bar leaves no line behind."""
    program = (
        "import sys; from pathlib import Path; from mtn_core.jobs.workbook import execute_notebook;"
        "execute_notebook(Path(sys.argv[1]), Path(sys.argv[2]), {})"
    )
    words = [
        sys.executable,
        "-c",
        program,
        str(folder / "01_first.ipynb"),
        str(tmp_path / "e.ipynb"),
    ]
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    subprocess.run(words, stdout=child, stderr=child, env=environment, check=True)
    said = os.read(parent, 65536).decode()
    os.close(child)
    os.close(parent)
    assert "01_first |" in said and "of 3 cells" in said
    assert not said.split("\r")[-1].strip()
    assert (tmp_path / "e.log").is_file()


def test_an_unknown_parameter_is_an_error(folder, tmp_path, smoke_root):
    with pytest.raises(ConfigError, match="no parameter anser; its parameters are answer, root"):
        check_parameters(folder / "01_first.ipynb", {"anser": 1})
    with pytest.raises(ConfigError, match="no notebook has a parameter anser"):
        workbook(folder, tmp_path, smoke_root, parameters={"anser": 1})
    assert not (tmp_path / "runs").exists()


def test_notebooks_run_in_order_and_pages_are_written(folder, tmp_path, smoke_root):
    lines = []
    index = workbook(folder, tmp_path, smoke_root, echo=lines.append, parameters={"answer": 6})
    assert [line.partition(" after")[0] for line in lines] == [
        "01_first.ipynb passed",
        "02_second.ipynb passed",
        ADVICE["smoke"],
    ]
    assert index == tmp_path / "reports" / "smoke" / "index.html"
    copies = tmp_path / "runs" / "smoke" / "notebooks"
    assert outputs(copies / "01_first.ipynb") == "7\n"
    assert str(smoke_root) in outputs(copies / "02_second.ipynb")
    text = index.read_text()
    assert "01_first.html" in text
    assert (index.parent / "02_second.html").is_file()
    assert (tmp_path / "reports" / "index.html").is_file()


def test_only_runs_what_was_named(folder, tmp_path, smoke_root):
    workbook(folder, tmp_path, smoke_root, only=["2"])
    assert not (tmp_path / "runs" / "smoke" / "notebooks" / "01_first.ipynb").exists()
    with pytest.raises(ConfigError, match="no notebook 07; there are 01, 02"):
        find_notebooks(folder, ["7"])


def test_a_failing_notebook_stops_the_run_is_kept_and_named(folder, tmp_path, smoke_root):
    write_notebook(folder / "01_first.ipynb", "print('before')", "1 / 0", "print('after')")
    with pytest.raises(NotebookError, match=r"01_first\.ipynb failed .* ZeroDivisionError"):
        workbook(folder, tmp_path, smoke_root)
    copies = tmp_path / "runs" / "smoke" / "notebooks"
    assert outputs(copies / "01_first.ipynb").strip().endswith("before")
    assert not (copies / "02_second.ipynb").exists()
    index = (tmp_path / "reports" / "smoke" / "index.html").read_text()
    assert "failed" in index
    assert "not run" in index


def test_an_old_copy_is_not_taken_for_this_runs(folder, tmp_path, smoke_root):
    workbook(folder, tmp_path, smoke_root)
    write_notebook(folder / "01_first.ipynb", "raise RuntimeError('now it fails')")
    pages = tmp_path / "reports" / "smoke"
    executed = tmp_path / "runs" / "smoke"
    before = {p.name: p.read_bytes() for p in executed.rglob("*.ipynb")}
    with pytest.raises(RunFolderError, match="already holds executed notebooks: 01_first"):
        workbook(folder, tmp_path, smoke_root)
    assert {
        p.name: p.read_bytes() for p in (tmp_path / "runs" / "smoke").rglob("*.ipynb")
    } == before
    with pytest.raises(NotebookError):
        workbook(folder, tmp_path, smoke_root, overwrite=True)
    assert "02_second.html" not in (pages / "index.html").read_text()


def test_a_profile_without_data_says_what_to_do(folder, tmp_path):
    with pytest.raises(DataError, match="mtn prepare-veri"):
        run_workbook(
            PROFILES["veri"],
            notebooks=folder,
            runs_dir=tmp_path / "runs",
            reports_dir=tmp_path / "reports",
            root=tmp_path / "nothing",
        )


def test_a_folder_without_notebooks_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no notebooks"):
        find_notebooks(tmp_path)


def test_the_page_keeps_notebooks_that_ran_before(folder, tmp_path, smoke_root):
    workbook(folder, tmp_path, smoke_root, only=["1"])
    index = workbook(folder, tmp_path, smoke_root, only=["2"])
    assert "01_first.html" in index.read_text() and "02_second.html" in index.read_text()


def test_resume_runs_what_has_not_passed(folder, tmp_path, smoke_root):
    write_notebook(folder / "02_second.ipynb", "1 / 0")
    with pytest.raises(NotebookError):
        workbook(folder, tmp_path, smoke_root)
    write_notebook(folder / "01_first.ipynb", "print('not again')")
    write_notebook(folder / "02_second.ipynb", "print('mended')")
    lines = []
    workbook(folder, tmp_path, smoke_root, resume=True, echo=lines.append)
    assert lines[0] == "01_first.ipynb passed before"
    assert lines[1].startswith("02_second.ipynb passed after")
    copies = tmp_path / "runs" / "smoke" / "notebooks"
    assert outputs(copies / "01_first.ipynb") == "2\n"
    assert outputs(copies / "02_second.ipynb") == "mended\n"


def test_other_machines_run_their_share_of_the_training_only(folder, tmp_path, smoke_root):
    lines = []
    cluster = Cluster(worker_num=2, local_worker_num=1, node_rank=1, master_addr="10.0.0.1")
    assert workbook(folder, tmp_path, smoke_root, cluster=cluster, echo=lines.append) is None
    assert lines == ["nothing to do: node 0 runs the notebooks that do not train"]
    assert not (tmp_path / "runs").exists() and not (tmp_path / "reports").exists()


SAYS_MISSING = """from mtn_core.jobs.outcome import say_missing
say_missing("the program did not run: no <compiler>.", "apt-get install g++")"""


def test_a_notebook_that_did_a_part_is_called_partly(folder, tmp_path, smoke_root):
    write_notebook(folder / "01_first.ipynb", SAYS_MISSING)
    lines = []
    index = workbook(folder, tmp_path, smoke_root, echo=lines.append)
    assert any(line.startswith("01_first.ipynb partly after") for line in lines)
    told = "the program did not run: no <compiler>. To get it: apt-get install g++"
    assert f"  not done: {told}" in lines
    text = index.read_text()
    assert "◐ partly</span>: the program did not run: no &lt;compiler&gt;. To get it: apt" in text
    assert text.count("✓ passed") == 1
    assert "Not done:" in (index.parent / "01_first.html").read_text()
    again = []
    workbook(folder, tmp_path, smoke_root, resume=True, echo=again.append)
    assert again[:2] == ["01_first.ipynb partly before", "02_second.ipynb passed before"]
    kept = workbook(folder, tmp_path, smoke_root, only=["2"], overwrite=True)
    assert "◐ partly" in kept.read_text()


def test_smoke_says_that_its_numbers_mean_nothing(folder, tmp_path, smoke_root):
    lines = []
    index = workbook(folder, tmp_path, smoke_root, echo=lines.append)
    assert "--profile demo, 10 minutes" in lines[-1]
    assert "checks that everything runs" in index.read_text()


def test_pages_lead_to_each_other(folder, tmp_path, smoke_root):
    index = workbook(folder, tmp_path, smoke_root)
    first, second = ((index.parent / f"{n}.html").read_text() for n in ("01_first", "02_second"))
    assert 'rel="next" href="02_second.html"' in first and 'href="index.html"' in first
    assert 'rel="prev" href="01_first.html"' in second and 'rel="next"' not in second


def test_an_output_in_the_way_is_answered_in_the_notebooks_language(folder, tmp_path):
    (tmp_path / "there.txt").write_text("x")
    refuse = f"""from mtn_core.files import refuse_existing
try:
    refuse_existing({str(tmp_path / "there.txt")!r}, overwrite=False)
except Exception as error:
    print(error)"""
    write_notebook(folder / "01_first.ipynb", refuse)
    executed = tmp_path / "out.ipynb"
    execute_notebook(folder / "01_first.ipynb", executed, {}, progress=False)
    assert "set `overwrite = True` among the notebook's parameters" in outputs(executed)
