"""The pages in a real browser: nothing from a network, no error, sorting and filtering work."""

from itertools import pairwise

import pytest

from mtn_core.report.index import write_profile_index, write_reports_index

COLUMN = """
const table = [...document.querySelectorAll('table')].find(
  (t) => t.caption && t.caption.textContent.trim() === 'All queries');
const heads = [...table.tHead.rows[0].cells].map((c) => c.textContent.trim());
const column = (name) => heads.indexOf(name);
const values = (name) => [...table.tBodies[0].rows].filter((r) => !r.hidden)
  .map((r) => r.cells[column(name)].dataset.value ?? r.cells[column(name)].textContent.trim());
const press = (name) => table.tHead.rows[0].cells[column(name)].querySelector('button').click();
const bar = table.closest('.scroll').previousElementSibling;
"""


def test_the_check_itself_sees_requests_and_errors(visit, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<html><body><img src='http://127.0.0.1:9/x.png'><script>nope();</script></body></html>"
    )
    seen = visit(bad)
    assert seen.requests == ["http://127.0.0.1:9/x.png"]
    assert any("nope is not defined" in line for line in seen.console)


@pytest.mark.parametrize("which", ["page", "comparison"])
def test_report_asks_no_network_and_has_no_error(visit, request, which):
    seen = visit(request.getfixturevalue(which), "return document.title;")
    assert seen.result.startswith("Retrieval report")
    assert seen.requests == []
    assert seen.console == []


def test_index_pages_ask_no_network_and_have_no_error(visit, page, tmp_path):
    folder = tmp_path / "reports" / "smoke"
    notebooks = [("03 Train", None, 1.5, "passed"), ("04 <b>", None, None, "failed")]
    write_profile_index(folder, "Smoke", notebooks, page, {"trained": 0.5, "untrained": 0.1})
    (folder / "report.html").write_bytes(page.read_bytes())
    index = write_reports_index(tmp_path / "reports")
    for one in (folder / "index.html", index):
        seen = visit(one, "return document.querySelectorAll('a[href]').length;")
        assert (seen.requests, seen.console) == ([], [])
        assert seen.result >= 2


def test_sorting_by_number_goes_down_then_up(visit, page):
    script = f"{COLUMN} press('AP'); const down = values('AP'); press('AP');"
    down, up, state = visit(
        page,
        script
        + "return [down, values('AP'), table.querySelector('[aria-sort=ascending]').textContent];",
    ).result
    known = [float(value) for value in down if value != ""]
    assert len(known) == 72 and known == sorted(known, reverse=True)
    assert [float(v) for v in up if v != ""] == sorted(known)
    assert down[-1] == up[-1] == ""  # unknown stays last
    assert state.startswith("AP")


def test_sorting_by_text_starts_with_the_alphabet(visit, page):
    names = visit(page, f"{COLUMN} press('Type'); return values('Type');").result
    assert names == sorted(names, key=str.lower)
    assert len(set(names)) > 2


def test_filters_combine_and_are_announced(visit, page):
    script = f"""{COLUMN}
    const all = values('Camera').length;
    const camera = [...bar.querySelectorAll('label')]
      .find((l) => l.textContent.startsWith('Camera'));
    camera.querySelector('select').value = '=3';
    camera.querySelector('select').dispatchEvent(new Event('input', {{ bubbles: true }}));
    const cameras = values('Camera');
    const text = bar.querySelector('input');
    text.value = 'RED ';
    text.dispatchEvent(new Event('input', {{ bubbles: true }}));
    return [all, cameras, values('Camera').length,
            bar.querySelector('[role=status]').textContent];"""
    all_rows, cameras, both, said = visit(page, script).result
    assert set(cameras) == {"3"} and 0 < len(cameras) < all_rows
    assert 0 < both < len(cameras)
    assert said == f"{both} of {all_rows} rows"


def test_pressing_a_query_shows_its_rank_list(visit, comparison):
    script = """
    const button = document.querySelector('.row-button');
    button.click();
    const panel = document.getElementById('explorer');
    const lists = [...panel.querySelectorAll('.rank')];
    const answer = [button.textContent, panel.hidden,
      lists.map((l) => l.querySelector('h4').textContent),
      lists.map((l) => [...l.querySelectorAll('.hit')].map((h) => h.className)),
      getComputedStyle(panel.querySelector('.thumb')).backgroundImage.slice(0, 22)];
    panel.querySelector('button').click();
    return [...answer, panel.hidden, document.activeElement === button];"""
    name, hidden, titles, hits, picture, closed, focused = visit(comparison, script).result
    assert not hidden and closed and focused
    assert len(titles) == 2 and all(name in title for title in titles)
    assert titles[0].startswith("good") and titles[1].startswith("worse")
    for row in hits:
        assert row[0] == "hit query"
        assert {"hit right", "hit wrong"} <= set(row)
    assert picture == 'url("data:image/jpeg;b'


def test_text_from_data_stays_text(visit, page, markup_name):
    script = """return [document.querySelectorAll('img').length,
      document.querySelectorAll('[onerror]').length, document.body.textContent];"""
    images, handlers, text = visit(page, script).result
    assert (images, handlers) == (0, 0)
    assert markup_name in text


def test_dark_button_changes_the_page(visit, page):
    script = """
    const colour = () => getComputedStyle(document.body).backgroundColor;
    const before = colour();
    document.getElementById('theme').click();
    return [before, colour(), document.getElementById('theme').textContent];"""
    before, after, label = visit(page, script).result
    assert before == "rgb(255, 255, 255)"
    assert after != before
    assert label == "Light colours"


def test_keyboard_reaches_everything_that_can_be_pressed(visit, page):
    script = """
    const pressable = 'th button, .row-button, summary, a[href], input, select';
    const wanted = [...document.querySelectorAll(pressable)]
      .filter((e) => e.offsetParent !== null);
    const skipped = wanted.filter((e) => { e.focus(); return document.activeElement !== e; });
    const unnamed = [...document.querySelectorAll('svg[role=img], [role=region], .thumb')]
      .filter((e) => !e.getAttribute('aria-label') && !e.closest('[aria-hidden=true]'));
    const levels = [...document.querySelectorAll('h1, h2, h3, h4')]
      .map((h) => Number(h.tagName[1]));
    return [wanted.length, skipped.length, unnamed.length, levels];"""
    wanted, skipped, unnamed, levels = visit(page, script).result
    assert wanted > 50
    assert (skipped, unnamed) == (0, 0)
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_print_hides_what_only_a_screen_can_use(visit, page):
    seen = visit(
        page,
        "return [...document.styleSheets[0].cssRules].some((r) => r.media &&"
        " r.media.mediaText === 'print' && r.cssText.includes('.no-print'));",
    )
    assert seen.result is True
