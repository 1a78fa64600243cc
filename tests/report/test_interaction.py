"""What a reader does with a report: addresses, crops, tracks, downloads, colours that are kept."""

import csv
import io
import re

import pytest

from mtn_core.report.index import write_profile_index
from mtn_core.report.notebook_html import PageLinks, notebook_to_html
from mtn_core.report.sources import load_run
from mtn_core.report.thumbnails import ThumbnailStore
from mtn_core.results.ranking import Ranker
from mtn_core.results.track_ranking import TrackRanker
from mtn_core.viz.crops import CropSource

# Keeps what the page wants to save instead of saving it.
KEEP = """
const saved = [];
const blobs = new Map();
URL.createObjectURL = (blob) => {
  const key = 'blob:' + blobs.size;
  blobs.set(key, blob);
  return key;
};
URL.revokeObjectURL = () => {};
HTMLAnchorElement.prototype.click = function () {
  saved.push([this.download, blobs.get(this.href)]);
};
const texts = () => Promise.all(saved.map(async ([name, blob]) => [name, await blob.text()]));
const tableOf = (caption) => [...document.querySelectorAll('table')]
  .find((table) => table.caption && table.caption.textContent === caption);
"""


@pytest.fixture(scope="module")
def browser(devtools):
    with devtools.Browser() as one:
        yield one


def test_a_query_has_an_address_that_opens_its_list(browser, comparison, run_dir):
    names = load_run(run_dir).result.query.names.tolist()
    name = names[20]
    browser.open(f"{comparison.as_uri()}#q={name}")
    heads = browser.run(
        "return [...document.querySelectorAll('#explorer h4')].map((h) => h.textContent);"
    )
    assert len(heads) == 2 and all(name in head for head in heads)
    press = """const link = document.querySelector('.row-button');
    link.click();
    return [location.hash, link.getAttribute('href')];"""
    address, own = browser.run(press)
    assert address == own != f"#q={name}"
    close = "document.querySelector('#explorer .button').click(); return location.hash;"
    assert browser.run(close) == ""
    follow = (
        f"location.hash = '#q={names[3]}'; await new Promise((r) => setTimeout(r, 100));"
        "return document.querySelector('#explorer h4').textContent;"
    )
    assert names[3] in browser.run(follow)


def test_a_name_full_of_markup_has_an_address_too(browser, page, markup_name):
    browser.open(page)
    script = """
    const links = [...document.querySelectorAll('.row-button')];
    const link = links.find((one) => one.textContent.includes('<img'));
    const address = link.getAttribute('href');
    location.hash = address;
    await new Promise((r) => setTimeout(r, 100));
    return document.querySelector('#explorer h4').firstChild.textContent.trim();"""
    assert browser.run(script) == markup_name


@pytest.mark.parametrize("own", [True, False])
def test_a_crop_opens_beside_its_hit_and_leads_to_its_list(browser, page, own):
    browser.open(page)
    script = """
    const queries = [...document.querySelectorAll('.row-button')].map((one) => one.textContent);
    const isQuery = (hit) => queries.includes(hit.dataset.name) === OWN;
    const frame = [...document.querySelectorAll('.rank .hit.wrong')].find(isQuery)
      .querySelector('.frame');
    frame.scrollIntoView({ block: 'center', behavior: 'instant' });
    const hit = frame.closest('.hit');
    frame.click();
    const card = document.querySelector('.crop-card');
    const picture = card.querySelector('img');
    await picture.decode();
    const box = card.getBoundingClientRect(), own = frame.getBoundingClientRect();
    const gap = Math.max(box.left - own.right, own.left - box.right);
    const link = card.querySelector('a');
    const answer = { wide: picture.naturalWidth, gap, name: hit.dataset.name,
      text: link.textContent,
      label: card.getAttribute('aria-label'), open: frame.getAttribute('aria-expanded'),
      focused: card.contains(document.activeElement) };
    link.click();
    await new Promise((r) => setTimeout(r, 100));
    answer.list = document.querySelector('#explorer h4').firstChild.textContent.trim();
    answer.closed = card.hidden;
    return answer;"""
    seen = browser.run(script.replace("OWN", str(own).lower()))
    assert seen["wide"] > 80 and 0 <= seen["gap"] < 30 and seen["open"] == "true"
    assert seen["focused"] and seen["closed"] and seen["label"].startswith("Crop: rank")
    assert (seen["text"] == "Its own rank list") == own
    assert seen["list"] == (seen["name"] if own else seen["text"].removeprefix("Rank list of "))


def test_escape_closes_the_crop_and_arrows_move_along_the_list(browser, page):
    browser.open(page)
    script = """
    const frames = [...document.querySelectorAll('.rank ol')[0].querySelectorAll('.frame')];
    const key = (name) => document.activeElement.dispatchEvent(
      new KeyboardEvent('keydown', { key: name, bubbles: true }));
    frames[0].focus();
    key('ArrowRight'); key('ArrowRight'); key('ArrowLeft');
    const moved = frames.indexOf(document.activeElement);
    const stops = frames.filter((f) => f.tabIndex === 0).length;
    frames[1].click();
    const card = document.querySelector('.crop-card');
    const opened = !card.hidden;
    key('Escape');
    return [moved, stops, opened, card.hidden, document.activeElement === frames[1]];"""
    assert browser.run(script) == [1, 1, True, True, True]


@pytest.mark.parametrize(("side", "room"), [(112, 9000), (8, 1_000_000)])
def test_larger_crops_stay_within_their_room(run_dir, side, room):
    store = ThumbnailStore(CropSource(run_dir.parent / "data"), max_side=side, max_large_bytes=room)
    for name in load_run(run_dir).result.gallery.names[:60].tolist():
        store.add("gallery", name)
        store.add_large("gallery", name)
    size = sum(map(len, store.large.values()))
    assert 0.5 * min(room, store.num_bytes) < size <= min(room, store.num_bytes)
    assert len(store.large) < 60  # or the room was never short


def test_tracks_are_ranked_by_their_nearest_image(run_dir, browser, page):
    result = load_run(run_dir).result
    ranker = Ranker(result.query, result.gallery)
    tracks = TrackRanker(ranker)
    gallery = result.gallery
    for row in (0, 17, 40):
        entries = tracks.rank(row, top_k=10_000)
        distances = ranker.distances(row)
        passages = set(zip(gallery.pids.tolist(), gallery.camids.tolist(), strict=True))
        assert sum(e.rank is not None for e in entries) >= len(passages) - 2
        assert [entry.verdict for entry in entries].count("ignored") == 1  # its own passage
        ranks = [entry.rank for entry in entries if entry.rank is not None]
        assert ranks == list(range(1, len(ranks) + 1))
        assert [e.distance for e in entries] == sorted(e.distance for e in entries)
        for entry in entries:
            same = (gallery.pids == gallery.pids[entry.row]) & (
                gallery.camids == gallery.camids[entry.row]
            )
            assert entry.distance == distances[entry.row] == distances[same].min()
            right = gallery.pids[entry.row] == result.query.pids[row]
            here = gallery.camids[entry.row] == result.query.camids[row]
            verdict = "ignored" if right and here else "right" if right else "wrong"
            assert entry.verdict == verdict
    browser.open(page)
    script = """document.querySelector('.row-button').click();
    document.querySelectorAll('#explorer .bar button')[1].click();
    return [document.querySelectorAll('#explorer .bar button')[1].textContent,
      document.querySelectorAll('#explorer .hit')[2].textContent];"""
    label, hit = browser.run(script)
    assert label == "Show images" and "image" in hit


def test_a_table_is_saved_as_csv(browser, page, run_dir):
    browser.open(page)
    script = (
        KEEP
        + """
    const table = tableOf('Headline numbers');
    table.closest('.scroll').nextElementSibling.querySelector('button').click();
    return texts();"""
    )
    ((name, text),) = browser.run(script)
    rows = list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))
    assert name == "headline-numbers.csv" and rows[0][:3] == ["Run", "mAP", "mAP, note"]
    mAP = load_run(run_dir).result.mAP
    assert rows[1][0] == "good" and float(rows[1][1]) == pytest.approx(mAP, abs=1e-6)
    assert re.fullmatch(r"\d+\.\d to \d+\.\d", rows[1][2])
    assert {len(row) for row in rows} == {len(rows[0])}


def test_a_filtered_table_is_saved_as_it_is_shown(browser, page):
    browser.open(page)
    script = (
        KEEP
        + """
    const table = tableOf('All queries');
    const text = table.closest('.scroll').previousElementSibling.querySelector('input');
    text.value = 'red'; text.dispatchEvent(new Event('input', { bubbles: true }));
    const shown = [...table.tBodies[0].rows].filter((r) => !r.hidden).length;
    table.closest('.scroll').nextElementSibling.querySelector('button').click();
    return [shown, (await texts())[0][1]];"""
    )
    shown, text = browser.run(script)
    rows = list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))
    assert 0 < shown == len(rows) - 1 < 73
    assert rows[0][0] == "Query"


def test_every_figure_is_saved_as_a_drawing_of_its_own(browser, page, tmp_path):
    browser.open(page)
    script = (
        KEEP
        + """
    document.querySelectorAll('figure .tools button').forEach((button) => button.click());
    return [document.querySelectorAll('main figure svg').length, await texts()];"""
    )
    count, saved = browser.run(script)
    assert len(saved) == count > 8
    assert len({name for name, _ in saved}) == count
    for _, text in saved:
        assert text.startswith("<svg") and 'xmlns="http://www.w3.org/2000/svg"' in text
        assert "currentColor" not in text and "var(--" not in text
    (tmp_path / "cmc.svg").write_text(dict(saved)["cmc.svg"], encoding="utf-8")
    browser.open(tmp_path / "cmc.svg")
    assert browser.run("return document.querySelectorAll('text').length;") > 5


def test_colours_and_hidden_code_are_kept_from_page_to_page(browser, tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    pages = [("01 A", "a.html"), ("02 B", "b.html")]
    for k, (_, name) in enumerate(pages):
        path = tmp_path / f"{name[0]}.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell("x = 1")]), path)
        links = PageLinks.of_place(pages, k, report=None)
        notebook_to_html(path, tmp_path / name, links=links)
    rows = [("01 A", tmp_path / "a.html", 1.0, "passed")]
    write_profile_index(tmp_path, "Smoke", rows, None, {})
    state = """const root = document.documentElement;
      return [root.dataset.theme, root.dataset.code,
      getComputedStyle(document.querySelector('.input') || document.body).display];"""
    browser.open(tmp_path / "a.html")
    link = browser.run(
        "document.getElementById('theme').click(); document.getElementById('code').click();"
        "localStorage.clear();"  # as in a browser that keeps nothing for files
        "return document.querySelector('a[rel=next]').href;"
    )
    browser.open(link)
    assert browser.run(state) == ["dark", "hidden", "none"]
    browser.open(browser.run("return document.querySelector('a[href^=\"index\"]').href;"))
    assert browser.run(state)[0] == "dark"
    # And where the browser keeps it, the addresses need not.
    browser.run("document.getElementById('theme').click();")
    browser.open(tmp_path / "b.html", dark=True)
    assert browser.run(state)[0] == "light"
    browser.run("localStorage.clear();")


def test_pages_ask_no_network_while_they_are_used(browser, page):
    browser.open(page)
    browser.run(
        "document.querySelector('.row-button').click();"
        "document.querySelector('.rank .hit .frame').click();"
        "await new Promise((r) => setTimeout(r, 200));"
    )
    assert browser.complaints() == []
