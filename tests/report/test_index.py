import pytest

from mtn_core.report.index import read_summary, write_profile_index, write_reports_index
from mtn_core.report.verdict import describe_against_baselines, list_baselines


@pytest.fixture
def profile(tmp_path):
    folder = tmp_path / "reports" / "smoke"
    folder.mkdir(parents=True)
    (folder / "01.html").write_text("<html></html>")
    (folder / "report.html").write_text("<html></html>")
    notebooks = [
        ("01 Inspect <data>", folder / "01.html", 0.25, "passed"),
        ("03 Train", None, 2.0, "failed"),
        ("04 Analyse", None, None, "not run"),
    ]
    headline = {"untrained": {"mAP": 0.1}, "color_histogram": 0.2, "trained": 0.5}
    return write_profile_index(folder, "Smoke", notebooks, folder / "report.html", headline)


def test_profile_index_has_the_three_numbers_and_the_verdict(profile):
    text = profile.read_text()
    for number in ("50.0 %", "10.0 %", "20.0 %"):
        assert number in text
    assert "5.0 times the same network, untrained" in text
    assert "2.5 times the colour histogram" in text


def test_profile_index_links_what_is_there_and_names_what_failed(profile):
    text = profile.read_text()
    assert 'href="01.html"' in text and 'href="report.html"' in text
    assert "01 Inspect &lt;data&gt;" in text
    assert "1 notebook failed:" in text and "✗ failed" in text
    assert "– not run" in text
    assert text.count("href=") == 4  # icon, skip link, notebook, report


def test_what_is_missing_is_said_with_its_command_as_code(tmp_path):
    rows = [("06 A", None, 1.0, "partly: no <b>. To get it: `make <it>`, then `x`")]
    text = write_profile_index(tmp_path, "T", rows, None, {}, advice="Nothing <yet>.").read_text()
    assert "◐ partly</span>: no &lt;b&gt;. To get it: <code>make &lt;it&gt;</code>, then" in text
    assert "Nothing &lt;yet&gt;." in text
    rows = [("06 A", None, 1.0, "partly: an odd `tick")]
    assert "an odd `tick" in write_profile_index(tmp_path, "T", rows, None, {}).read_text()


def test_profile_index_without_a_result_says_so(tmp_path):
    text = write_profile_index(tmp_path, "Empty", [], None, {}).read_text()
    assert "No trained network was evaluated" in text
    assert "Open the retrieval report" not in text


def test_reports_index_lists_pages_with_their_numbers(profile, page, tmp_path):
    reports = tmp_path / "reports"
    (reports / "smoke" / "report.html").write_bytes(page.read_bytes())
    half = reports / ".report.html.mtn-partial-abcd1234"
    half.mkdir()
    (half / "new.html").write_bytes(page.read_bytes())
    (reports / "foreign.html").write_text("<html><title>not ours</title></html>")
    text = write_reports_index(reports).read_text()
    assert 'href="smoke/report.html"' in text and 'href="smoke/index.html"' in text
    assert "not ours" not in text and "foreign" not in text
    assert f"{100 * read_summary(page)['mAP']:.1f} %" in text
    assert "2 pages in this folder" in text
    again = write_reports_index(reports).read_text()
    assert "2 pages in this folder" in again  # the index does not list itself


def test_reports_index_of_an_empty_folder(tmp_path):
    assert "No report has been written" in write_reports_index(tmp_path / "new").read_text()


def test_summary_of_a_foreign_page_is_none(tmp_path):
    (tmp_path / "a.html").write_text('<meta name="mtn-summary" content="{broken">')
    assert read_summary(tmp_path / "a.html") is None
    (tmp_path / "b.html").write_bytes(b"\xff\xfe nothing")
    assert read_summary(tmp_path / "b.html") is None


def test_summary_survives_quotes_and_markup(tmp_path):
    title = "a \"b\" <c> & 'd'"
    path = write_profile_index(tmp_path, title, [], None, {"trained": 0.25})
    assert read_summary(path)["title"] == title
    assert read_summary(path)["mAP"] == 0.25


def test_verdict_says_when_a_baseline_is_not_beaten():
    sentences = describe_against_baselines(0.2, {"untrained": 0.25})
    assert any("does not beat every baseline" in sentence for sentence in sentences)
    assert "0.80 times the same network" in " ".join(sentences)
    assert describe_against_baselines(float("nan"), {}) == [
        "No query has a match in the gallery, so there is no mAP."
    ]
    zero = " ".join(describe_against_baselines(0.2, {"untrained": 0.0}))
    assert "untrained: 0.0 %" in zero


def test_baselines_have_a_fixed_order():
    scores = {"other_thing": 0.3, "color_histogram": 0.2, "untrained": 0.1, "missing": None}
    assert list_baselines(scores) == [
        ("same network, untrained", 0.1),
        ("colour histogram", 0.2),
        ("other thing", 0.3),
    ]
