import json
import logging
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from mtn_core.errors import DataError, RunFolderError
from mtn_core.report import write_report
from mtn_core.report.index import read_summary
from mtn_core.report.sources import load_run, load_runs, name_runs
from mtn_core.report.verdict import describe_run
from mtn_core.results import RetrievalResult


@pytest.fixture
def copy(run_dir, tmp_path):
    """A copy of the run that a test may damage."""
    return shutil.copytree(run_dir, tmp_path / "copy")


def test_first_screen_has_verdict_headline_and_provenance(page, run_dir):
    text = page.read_text()
    result = RetrievalResult.load(run_dir)
    assert text.index("times the same network, untrained (5.0 %)") < text.index("Headline numbers")
    assert text.index("Headline numbers") < text.index("Where the numbers come from")
    assert f"{100 * result.mAP:.1f} %" in text
    for fact in ("ab" * 32, "cd" * 32, result.protocol["gallery_sha256"], "mindspore 2.8.0"):
        assert fact in text
    assert "colour histogram" in text


def test_page_is_one_file_that_names_no_address(page):
    text = page.read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "@import" not in text
    assert re.findall(r"url\((?!data:|#)", text) == []
    assert "default-src 'none'" in text


def test_text_from_data_is_escaped(page, markup_name):
    text = page.read_text()
    assert "<img" not in text
    assert markup_name not in text
    assert "0001_c001_&lt;img src=x onerror=alert(1)&gt;&amp;&#34;&#39;.jpg" in text


def test_run_name_full_of_markup_is_escaped(run_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "<script>alert(1)<|script>")
    text = write_report([run], tmp_path / "r.html").read_text()
    assert "<script>alert" not in text
    assert text.count("</script>") == text.count("<script")


def test_dropped_queries_are_named(page):
    text = page.read_text()
    assert "Queries without a match" in text
    assert "0025_c001_00000000_0.jpg" in text


def test_summary_for_the_index_is_in_the_head(page, run_dir):
    summary = read_summary(page)
    assert summary["mAP"] == pytest.approx(RetrievalResult.load(run_dir).mAP)
    assert summary["runs"] == ["good"]
    assert summary["baselines"] == {"same network, untrained": 0.05, "colour histogram": 0.17}


def test_given_baselines_win_over_saved_ones(run_dir):
    (run,) = load_runs([run_dir], baselines={"untrained": {"mAP": 0.9}})
    text = " ".join(describe_run(run))
    assert "does not beat every baseline" in text
    assert "colour histogram" not in text


def test_runs_side_by_side_have_a_row_each_and_differences(comparison, run_dir, other_run_dir):
    text = comparison.read_text()
    better, worse = (RetrievalResult.load(run) for run in (run_dir, other_run_dir))
    assert better.mAP > worse.mAP
    for result in (better, worse):
        assert f"{100 * result.mAP:.1f} %" in text
    assert ">Difference<" in text
    assert "worse is worse than good: mAP -" in text
    assert "Queries on which worse loses most" in text


def test_runs_on_other_images_are_refused(run_dir, write_run, tmp_path):
    other = write_run(tmp_path / "runs" / "other", num_ids=12, images=False)
    with pytest.raises(DataError, match=r"good and other cannot stand in one report.*the queries"):
        write_report([run_dir, other], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_runs_with_another_distance_are_refused(run_dir, tmp_path):
    saved = RetrievalResult.load(run_dir)
    cosine = RetrievalResult.from_embeddings(saved.query, saved.gallery, metric="cosine")
    cosine.save(tmp_path / "cosine")
    with pytest.raises(DataError, match=r"the distance \(euclidean and cosine\)"):
        load_runs([run_dir, tmp_path / "cosine"])


def test_the_same_run_twice_is_refused(run_dir):
    with pytest.raises(ValueError, match="more than once"):
        load_runs([run_dir, run_dir.parent / "worse" / ".." / "good"])


def test_folder_without_results_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"no results\.json"):
        write_report([tmp_path], tmp_path / "r.html")


def test_missing_images_become_placeholders_and_a_warning(run_dir, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        out = write_report([run_dir], tmp_path / "r.html", root=tmp_path / "nowhere")
    assert "crops could not be read" in caplog.text
    text = out.read_text()
    assert "crops could not be read" in text and "--root" in text
    assert text.count("background-image:url(data:image/jpeg") == 1  # the placeholder alone


def test_only_the_missing_image_is_replaced(copy, run_dir, tmp_path):
    data = shutil.copytree(run_dir.parent / "data", tmp_path / "data")
    (data / "veri" / "image_query" / "0012_c006_00000000_0.jpg").unlink()
    text = write_report([copy], tmp_path / "r.html", root=data).read_text()
    assert "1 crop could not be read" in text
    assert text.count("background-image:url(data:image/jpeg") > 100


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "train.csv"])
def test_damaged_side_files_cost_a_warning_only(copy, name):
    (copy / name).write_text("{: not, [valid")
    warnings = load_run(copy).warnings
    assert len(warnings) == 1 and f"{name} cannot be read" in warnings[0]


def test_run_without_side_files_is_reported(copy, tmp_path):
    for name in ("config.yaml", "environment.json", "train.csv", "baselines.json"):
        (copy / name).unlink()
    text = write_report([copy], tmp_path / "r.html").read_text()
    assert "not recorded" in text and "evaluated only" in text
    assert 'id="training"' not in text


def test_pictures_stay_within_their_room(run_dir, tmp_path):
    small = write_report([run_dir], tmp_path / "r.html", max_picture_bytes=60_000)
    text = small.read_text()
    pictures = sum(len(rule) for rule in re.findall(r"\.t\d+\{.*?\}", text))
    assert pictures < 60_000
    lists = json.loads(re.search(r'id="lists">(.*?)</script>', text, re.DOTALL)[1])
    assert 0 < len(lists["lists"]) < 73
    assert f"the {len(lists['lists'])} worst of 73 queries" in text


def test_report_is_the_same_when_written_again(page, run_dir, tmp_path):
    def without_time(path):
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", path.read_text())
        return re.sub(r"nonce[-=]\"?\w{16}", "", text)

    assert without_time(page) == without_time(write_report([run_dir], tmp_path / "again.html"))


def test_mindspore_is_never_imported(run_dir, tmp_path):
    code = (
        "import sys; from mtn_core.report import write_report; "
        f"write_report([{str(run_dir)!r}], {str(tmp_path / 'r.html')!r}); "
        "import mtn_core.viz.browser_widget, mtn_core.report.index; "
        "sys.exit('mindspore' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=500)


def test_names_take_as_many_folders_as_they_need(tmp_path):
    folders = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    assert name_runs(folders) == ["a/run", "b/run"]
    assert name_runs(folders[:1]) == ["run"]


def test_result_without_any_match_is_reported(run_dir, tmp_path):
    saved = RetrievalResult.load(run_dir)
    rows = saved.per_query.index[saved.per_query["num_matches"] == 0]
    fields = {
        name: getattr(saved.query, name)[rows]
        for name in saved.query.__dataclass_fields__
        if name != "split"
    }
    lost = RetrievalResult.from_embeddings(
        type(saved.query)(split="query", **fields), saved.gallery
    )
    lost.save(tmp_path / "lost")
    text = write_report([tmp_path / "lost"], tmp_path / "r.html").read_text()
    assert "No query has a match" in text
    assert isinstance(lost.per_query, pd.DataFrame)


def test_where_no_picture_fits_its_name_stands(run_dir, tmp_path):
    page = write_report([run_dir], tmp_path / "small.html", max_picture_bytes=1, map_method=None)
    text = page.read_text(encoding="utf-8")
    for caption in ("Most frequent confusions of vehicles", "Hardest vehicles"):
        table = text[text.index(f"<caption>{caption}") :].partition("</table>")[0]
        assert ".jpg" in table and 'class="thumb' not in table
