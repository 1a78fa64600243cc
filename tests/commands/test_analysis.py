import pytest

from mtn_core.cli import main


@pytest.fixture(scope="module")
def run_dir(write_run, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run") / "runs" / "good", num_ids=10)


def test_report_is_written_and_named(run_dir, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", str(run_dir), "--out", str(out), "--title", "Night <1>"]) == 0
    assert str(out) in capsys.readouterr().out
    text = out.read_text()
    assert "Night &lt;1&gt;" in text and "Night <1>" not in text


def test_report_of_no_run_fails_and_says_why(tmp_path, capsys):
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "r.html")]) == 1
    assert "no results.json" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_report_without_a_run_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["report", "--out", "r.html"])
    assert stop.value.code == 2
