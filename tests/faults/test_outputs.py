"""Output over something that is not its own kind, and pages that are not ours."""

import shutil

import pytest

from mtn_core.cli import main
from mtn_core.errors import RunFolderError
from mtn_core.report.index import write_reports_index
from mtn_core.report.outputs import check_output, is_own_answer, is_own_page


@pytest.fixture
def run(run_dir, tmp_path):
    return shutil.copytree(run_dir, tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("results.json", "is a file of a run"),
        ("config.yaml", "is a file of a run"),
        ("per_query.parquet", "is a file of a run"),
        ("label_query.csv", "is a label file"),
        ("crop.jpg", "is an image"),
        ("figures", "is a folder"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--overwrite"]], ids=["plain", "overwrite"])
def test_a_report_never_replaces(run, name, message, flags, capsys):
    out = run / name
    if name == "figures":
        out.mkdir(exist_ok=True)
    elif not out.exists():
        out.write_text("precious")
    before = out.read_bytes() if out.is_file() else None
    assert main(["report", str(run), "--out", str(out), *flags]) == 1
    assert message in capsys.readouterr().err
    assert before is None or out.read_bytes() == before


def test_a_report_replaces_its_own_page_and_asks_before_another(run, tmp_path, capsys):
    out = tmp_path / "r.html"
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert main(["report", str(run), "--out", str(out)]) == 0
    out.write_text("<p>somebody's page</p>")
    assert main(["report", str(run), "--out", str(out)]) == 1
    assert "exists already; choose another --out or add --overwrite" in capsys.readouterr().err
    assert main(["report", str(run), "--out", str(out), "--overwrite"]) == 0
    assert is_own_page(out)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ('{"image": "a", "run": "b", "hits": []}', True),
        ("rank\n 1\na.jpg against 9 gallery images of runs/x (euclidean distance, all)", True),
        ("", False),
        ("{}", False),
        ("model: {}", False),
        ("[" * 10**5, False),
    ],
)
def test_answers_of_a_search_are_told_from_other_files(tmp_path, text, own):
    out = tmp_path / "answers.txt"
    out.write_text(text)
    assert is_own_answer(out) == own
    if not own:
        with pytest.raises(RunFolderError, match="exists already"):
            check_output(out, is_own=is_own_answer)


@pytest.mark.parametrize(
    "summary",
    [
        "[1]",
        "{",
        '{"mAP": "high", "title": 7}',
        '{"mAP": {"a": 1}, "runs": "one", "num_query": []}',
        '{"runs": [{"x": 1}, null]}',
        "[" * 10**4,
    ],
)
def test_a_foreign_page_does_not_break_the_index(tmp_path, page, summary):
    """Fault 306 of those that were found by trying."""
    shutil.copy(page, tmp_path / "good.html")
    (tmp_path / "bad.html").write_text(f"<meta name='mtn-summary' content='{summary}'>")
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "nowhere.html").symlink_to(tmp_path / "absent")
    text = write_reports_index(tmp_path).read_text()
    assert 'href="good.html"' in text
