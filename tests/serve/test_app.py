"""What the page asks and what it is answered; names with markup in them stay text."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mtn_core.gallery.records import Filter
from mtn_core.serve.service import _nearest_in_time


def test_a_crop_finds_its_vehicle_at_other_cameras(client, crop_file):
    answer = client.post("/api/search", content=crop_file("cam3/v1_0.png")).json()
    assert answer["hits"][0]["vehicle"] == "car 1"
    assert "3" not in {hit["camera"] for hit in answer["hits"]}
    assert [hit["likely"] for hit in answer["hits"]] == [h["distance"] < 1 for h in answer["hits"]]
    assert answer["query"]["color"] == "blue" and "predicted blue" in answer["said"]
    assert answer["threshold"]["distance"] == 1
    assert (answer["num_compared"], answer["num_gallery"]) == (36, 48)


def test_nothing_says_where_files_lie(client, crop_file, car_gallery):
    folder = str(car_gallery.path.parent)
    text = client.post("/api/search", content=crop_file("cam3/v1_0.png")).text
    first = json.loads(text)["hits"][0]["id"]
    for answer in (text, client.get("/").text, client.get("/api/gallery").text,
                   client.get(f"/api/sightings/{first}/around").text):  # fmt: skip
        assert folder not in answer


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("camera=2", lambda hit: hit["camera"] == "2"),
        ("camera=2&camera=4", lambda hit: hit["camera"] in "24"),
        ("not_camera=1", lambda hit: hit["camera"] != "1"),
        ("color=red&color=white", lambda hit: hit["color"] in ("red", "white")),
        ("after=2024-05-01T12:20", lambda hit: hit["time"] >= "2024-05-01T12:20"),
        ("before=2024-05-01T12:20", lambda hit: hit["time"] < "2024-05-01T12:20"),
    ],
)
def test_filters(client, crop_file, options, kept):
    every = client.post("/api/search?top=200", content=crop_file("cam3/v1_0.png")).json()["hits"]
    found = client.post(f"/api/search?top=200&{options}", content=crop_file("cam3/v1_0.png")).json()
    names = [hit["name"] for hit in found["hits"]]
    assert sorted(names) == sorted(hit["name"] for hit in every if kept(hit))
    assert 0 < len(names) < len(every)


def test_its_own_camera_can_be_kept_or_said(client, crop_file, fake_gallery):
    kept = client.post("/api/search?same_camera=1&top=200", content=crop_file("cam3/v1_0.png"))
    assert len(kept.json()["hits"]) == 47
    new = fake_gallery.png(fake_gallery.draw_crop(1, 20))
    said = client.post("/api/search?image_camera=02&top=200", content=new).json()
    assert "2" not in {hit["camera"] for hit in said["hits"]}


def test_several_crops_are_one_query(client, crop_file):
    parts = [crop_file(f"cam3/v1_{i}.png") for i in (0, 1)]
    sizes = ",".join(str(len(part)) for part in parts)
    answer = client.post(f"/api/search?sizes={sizes}&name=a&name=b", content=b"".join(parts)).json()
    assert answer["query"]["images"] == ["a", "b"]
    assert "the same image (2 images)" in answer["left_out"]


def test_the_frames_around_a_sighting(client, crop_file):
    hit = client.post("/api/search?camera=4", content=crop_file("cam3/v1_0.png")).json()["hits"][0]
    around = client.get(f"/api/sightings/{hit['id']}/around").json()
    assert around["sighting"]["name"] == hit["name"]
    assert {one["track"] for one in around["track"]} == {"4-1"} and len(around["track"]) == 2
    frames = around["camera"]
    assert {one["camera"] for one in frames} == {"4"} and len(frames) == 12
    assert hit["name"] in [one["name"] for one in frames]
    times = [one["time"] for one in frames]
    assert times == sorted(times)


def test_neighbours_are_the_nearest_in_time(service, client, crop_file, monkeypatch):
    monkeypatch.setattr("mtn_core.serve.service._AROUND", 2)
    monkeypatch.setattr("mtn_core.serve.service._MOST_ROWS", 6)
    hit = client.post("/api/search?camera=4", content=crop_file("cam3/v1_0.png")).json()["hits"][0]
    names = {
        one["name"] for one in client.get(f"/api/sightings/{hit['id']}/around").json()["camera"]
    }
    # Seven minutes between vehicles: vehicle 1's own frames, then those of 0 or 2.
    assert {"cam4/v1_0.png", "cam4/v1_1.png"} < names
    assert names <= {f"cam4/v{v}_{f}.png" for v in (0, 1, 2) for f in (0, 1)}


def test_the_nearest_in_time_are_taken_on_both_sides(car_gallery, fake_gallery):
    """Vehicles pass a camera every seven minutes, the second frame a second behind the first."""
    passed = car_gallery.sightings(Filter(camera=("4",)))
    (middle,) = [one for one in passed if one.name == "cam4/v3_1.png"]
    names = [one.name for one in _nearest_in_time(passed, middle, 2)]
    assert names == ["cam4/v3_0.png", "cam4/v3_1.png", "cam4/v4_0.png"]
    timeless = [replace(one, time=None) for one in passed]
    assert middle in _nearest_in_time(timeless, middle, 3)


def test_a_picture_is_a_small_jpeg(client, crop_file):
    hit = client.post("/api/search", content=crop_file("cam3/v1_0.png")).json()["hits"][0]
    answer = client.get(f"/crops/{hit['id']}?side=48")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == "JPEG" and max(picture.size) == 48


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "0" * 16, "' OR 1=1 --", "%00", "cam3/v1_0.png"],
)
def test_sightings_are_named_by_id_alone(client, name):
    for place in (f"/crops/{name}", f"/api/sightings/{name}/around"):
        answer = client.get(place)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error"}
        assert "root:" not in answer.text


@pytest.mark.parametrize("name", ["../serve.js", "..%2f..%2fapp.py", "index.html.j2", "nothing"])
def test_no_file_but_the_pages_own_is_read(client, name):
    assert client.get(f"/static/{name}").status_code == 404


def test_a_file_that_leads_out_of_the_folder_is_not_shown(client, car_gallery, crop_file, tmp_path):
    """A link in the image folder, as somebody who may put crops there could make it."""
    hit = client.post("/api/search?camera=4", content=crop_file("cam3/v2_0.png")).json()["hits"][0]
    path = car_gallery.path.parent / "crops" / hit["name"]
    secret = tmp_path / "secret.png"
    secret.write_bytes(path.read_bytes())
    moved = path.with_suffix(".away")
    path.rename(moved)
    try:
        gone = client.get(f"/crops/{hit['id']}")
        path.symlink_to(secret)
        linked = client.get(f"/crops/{hit['id']}")
    finally:
        path.unlink(missing_ok=True)
        moved.rename(path)
    for answer in (gone, linked):
        assert answer.status_code == 404 and str(tmp_path) not in answer.text
    assert client.get(f"/crops/{hit['id']}").status_code == 200


def test_the_page_has_names_as_text(client, fake_gallery):
    text = client.get("/").text
    assert "48 sightings" in text and "4 cameras" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "style=" not in text and "onclick" not in text and "<script>" not in text
    facts = re.search(r'data-gallery="([^"]*)"', text)[1]
    assert "<" not in facts


def test_a_gallery_with_markup_in_its_names(service, monkeypatch, make_client, fake_gallery):
    """Cameras, colours and types come from other people's files and models."""
    bad = '"><script>alert(1)</script>'
    values = service.describe() | {
        "name": bad, "colors": [bad], "types": [bad], "model": bad,
        "cameras": [{"name": bad, "count": 1}],
    }  # fmt: skip
    monkeypatch.setattr(service, "describe", lambda: values)
    text = make_client().get("/").text
    assert "<script>alert" not in text and text.count("&lt;script&gt;alert(1)") >= 6


def test_answers_of_failures_are_one_line(make_client, service, monkeypatch):
    def fail(*_):
        raise RuntimeError("/srv/secret\nmore")

    monkeypatch.setattr(service, "around", fail)
    answer = make_client(raise_server_exceptions=False).get(f"/api/sightings/{'0' * 16}/around")
    assert answer.status_code == 500
    assert answer.json() == {"error": "the search failed; the server's log says why"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("colour=red", "no option 'colour'"),
        ("color=bleu", "did you mean blue"),
        ("after=yesterday", "after: 'yesterday' is no time"),
        ("top=0", "top must be whole numbers from 1 to 200"),
        ("top=1e3", "top must be"),
        ("same_camera=maybe", "same_camera must be 0 or 1"),
        ("sizes=1,2", "should have 3 bytes"),
        ("sizes=1,-2", "sizes must be"),
        ("camera=" + "x" * 300, "200 characters"),
    ],
)
def test_options_that_are_none(client, crop_file, options, said):
    answer = client.post(f"/api/search?{options}", content=crop_file("cam3/v1_0.png"))
    assert answer.status_code == 400
    assert said in answer.json()["error"] and "\n" not in answer.json()["error"]


def test_filters_are_values_not_conditions(client, crop_file):
    """The store's filters are SQL; a quote must stay a quote."""
    evil = "2' OR '1'='1"
    answer = client.post("/api/search", params={"camera": evil}, content=crop_file("cam3/v1_0.png"))
    assert answer.status_code == 200 and answer.json()["hits"] == []


def test_another_word_than_get_and_post(client):
    assert client.put("/api/search").status_code == 405
    assert client.get("/docs").status_code == 404 == client.get("/openapi.json").status_code


def test_searches_do_not_disturb_each_other(client, crop_file):
    from concurrent.futures import ThreadPoolExecutor

    names = [f"cam{c}/v{v}_0.png" for c in (1, 3) for v in (1, 2, 4)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: client.post("/api/search", content=crop_file(n)), names))
    for name, answer in zip(names, answers, strict=True):
        assert answer.status_code == 200
        assert answer.json()["hits"][0]["vehicle"] == f"car {name[6]}"
    assert np.all([a.json()["num_compared"] == 36 for a in answers])
