"""The served page in a real browser: a crop is dropped, candidates come, frames are opened."""

import pytest

DROPPED = """
await dropFiles("crop.png");
await until(() => !document.getElementById("result").hidden, "the candidates");
const likely = () => [...document.querySelectorAll("#likely .candidate")];
const status = () => document.getElementById("status").textContent;
const dots = () => [...document.querySelectorAll(".lane button.dot")].map((d) => d.textContent);
"""


@pytest.fixture
def seen(visit, make_client, crop_file):
    """The value, errors and requests of a visit on which a script acts."""
    app = make_client().app

    def look(script, files=None, **options):
        crops = files or {"crop.png": crop_file("cam3/v1_0.png")}
        return visit(app, script, crops, **options)

    return look


def test_a_dropped_crop_shows_candidates_on_a_time_line(seen):
    script = f"""{DROPPED}
    for (const image of document.querySelectorAll("#likely img")) image.loading = "eager";
    await until(() => [...document.querySelectorAll("#likely img")].every((i) => i.naturalWidth));
    await done({{
      status: status(), said: document.getElementById("said").textContent,
      likely: likely().map((b) => b.textContent), dots: dots(),
      lanes: [...document.querySelectorAll(".lane .name")].map((n) => n.textContent),
      shown: document.querySelector("#chosen img").naturalWidth,
    }});"""
    value, errors, asked = seen(script)
    assert errors == []
    assert value["status"] == "6 likely of 30 candidates, from 36 of 48 sightings."
    assert "crop.png: predicted blue" in value["said"] and "camera 3" in value["said"]
    assert len(value["likely"]) == 6 and value["likely"][0].startswith("#1")
    assert sorted(map(int, value["dots"])) == [1, 2, 3, 4, 5, 6]
    assert value["lanes"] == ["camera 1", "camera 2", "camera 4", "2024-05-01"]
    assert value["shown"] == 96
    assert sum(path.startswith("/crops/") for path in asked) >= 6


def test_filters_search_again(seen):
    script = f"""{DROPPED}
    const before = likely().length;
    document.querySelector('input[name=camera][value="4"]').click();
    await until(() => likely().length < before && status().startsWith("2 likely"), "fewer");
    const camera = [...document.querySelectorAll(".choices .what")].map((w) => w.textContent);
    document.getElementById("before").value = "2024-05-01T12:05";
    document.getElementById("before").dispatchEvent(new Event("change", {{ bubbles: true }}));
    await until(() => !status().startsWith("2 likely") && status().endsWith("sightings."), "none");
    await done([camera, status(), document.getElementById("cut").textContent]);"""
    (names, status, cut), errors, _ = seen(script)
    assert errors == []
    assert names[0] == "4" and set(names[1:]) == {"all"}
    assert status == "0 likely of 2 candidates, from 2 of 48 sightings."
    assert "none: the vehicle was not seen" in cut


def test_the_frames_around_a_candidate_open_and_close(seen):
    script = f"""{DROPPED}
    const dialog = document.getElementById("around");
    const dot = document.querySelector(".lane button.dot");
    dot.focus();
    dot.click();
    await until(() => dialog.open, "the dialog");
    const title = document.getElementById("around-title").textContent;
    const strip = (id) => [...document.querySelectorAll(`#${{id}} .candidate`)];
    const counts = [strip("track").length, strip("camera-frames").length];
    strip("track").find((b) => !b.classList.contains("here")).click();
    await until(() => document.getElementById("around-title").textContent !== title, "the other");
    document.getElementById("close").click();
    await done([title, counts, dialog.open, document.activeElement === dot]);"""
    (title, counts, is_open, has_focus), errors, _ = seen(script)
    assert errors == []
    assert title.startswith("Camera 1, 2024-05-01 12:08:0")
    assert counts == [2, 12]
    assert not is_open and has_focus


def test_names_with_markup_stay_text(seen, crop_file, fake_gallery):
    """The second frame of the same passage has a file name that is full of it."""
    script = f"""{DROPPED.replace("crop.png", "<img src=x onerror=alert(2)>.png")}
    const id = document.querySelectorAll("#likely .candidate").length;
    document.querySelector(".lane button.dot[aria-label*='camera 2']").click();
    await until(() => document.getElementById("around").open, "the dialog");
    const other = () => document.querySelector("#track .candidate:not(.here)");
    const names = new Set();
    for (let i = 0; i < 2; i += 1) {{
      names.add(document.getElementById("around-facts").textContent);
      const title = document.getElementById("around-title").textContent;
      other().click();
      await until(() => document.getElementById("around-title").textContent !== title, "other");
    }}
    await done([[...names].join("|"), document.querySelectorAll("[onerror]").length,
                document.getElementById("drop-title").textContent]);"""
    name = "<img src=x onerror=alert(2)>.png"
    (facts, handlers, title), errors, _ = seen(script, {name: crop_file("cam3/v0_0.png")})
    assert errors == []
    assert fake_gallery.MARKUP in facts and handlers == 0
    assert title == name


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no image at all", "not an image of a known format"), (bytes(400_000), "more than 0.3")],
)
def test_a_bad_upload_is_a_line_on_the_page(seen, content, said):
    script = """
    await dropFiles("crop.png");
    const status = document.getElementById("status");
    await until(() => status.classList.contains("error"), "the error");
    await done([status.textContent, document.getElementById("result").hidden]);"""
    (text, hidden), errors, _ = seen(script, {"crop.png": content})
    assert said in text and hidden
    assert [e for e in errors if "400 (Bad Request)" not in e] == []


@pytest.mark.parametrize("width", [420, 1280])
def test_nothing_is_wider_than_the_window(seen, width):
    """A window of Chromium has no less than 500 pixels, so the body is made as narrow."""
    script = f"""{DROPPED}
    for (const part of document.querySelectorAll("details")) part.open = true;
    document.body.style.width = "{width}px";
    await until(() => document.body.clientWidth === {width}, "the width");
    const wide = [...document.querySelectorAll("main *")]
      .filter((e) => e.getBoundingClientRect().right > {width} + 1);
    await done(wide.map((e) => e.outerHTML.slice(0, 200)));"""
    wide, errors, _ = seen(script, size=(max(width, 500), 1400))
    assert errors == [] and wide == []


def test_the_keyboard_reaches_everything(seen):
    script = f"""{DROPPED}
    for (const part of document.querySelectorAll("details")) part.open = true;
    const wanted = [...document.querySelectorAll("button, input, select, summary, a[href]")]
      .filter((e) => e.offsetParent !== null && !e.disabled);
    const skipped = wanted.filter((e) => {{ e.focus(); return document.activeElement !== e; }});
    const unnamed = wanted.filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label")
      || (e.labels && e.labels.length)));
    const images = [...document.images].filter((i) => !i.alt && i.closest("main"));
    await done([wanted.length, skipped.length, unnamed.map((e) => e.outerHTML), images.length]);"""
    (wanted, skipped, unnamed, images), errors, _ = seen(script)
    assert errors == []
    assert wanted > 50 and (skipped, unnamed, images) == (0, [], 0)


def test_dark_colours(seen):
    script = """
    const colour = () => getComputedStyle(document.body).backgroundColor;
    const before = colour();
    document.getElementById("theme").click();
    await done([before, colour(), document.getElementById("theme").textContent]);"""
    (before, after, label), errors, _ = seen(script)
    assert errors == []
    assert before == "rgb(255, 255, 255)" and after != before and label == "Light colours"
