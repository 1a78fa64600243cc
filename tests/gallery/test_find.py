"""Queries against a store and a run: what is left out, what is filtered, what is predicted."""

import hashlib
from datetime import datetime, timedelta

import numpy as np
import pytest

from mtn_core.errors import ConfigError, DataError
from mtn_core.gallery.find import StoreCrops, find_in_run, find_in_store
from mtn_core.gallery.query import query_for_run, query_of_files, query_of_pixels
from mtn_core.gallery.records import Filter
from mtn_core.gallery.store import ALL
from mtn_core.results import RetrievalResult
from mtn_core.results.search import Gallery as RunGallery
from mtn_core.results.threshold import Threshold
from mtn_core.viz.crops import CropSource


@pytest.fixture(scope="module")
def embedder(fake_gallery):
    return fake_gallery.make_embedder()


@pytest.fixture
def ask(car_gallery, embedder):
    """Searches with a file of the gallery."""

    def search(*names, which=ALL, camera=None, **options):
        folder = StoreCrops(car_gallery.info.images).roots[0]
        query = query_of_files(embedder, [folder / name for name in names]).taken_by([camera])
        return find_in_store(car_gallery, query, which, top=50, **options)

    return search


def test_itself_and_its_camera_are_left_out(ask):
    answer = ask("cam3/v1_0.png")
    assert answer.asked.camera == "3"
    assert set(answer.hits["camera"]) == {"1", "2", "4"}
    assert set(answer.hits["vehicle"][:6]) == {"car 1"}
    assert answer.num_compared == 36 and answer.num_gallery == 48
    assert answer.left_out == (
        "camera 3, the query's own (12 images); --same_camera keeps it",
        "the same image (1 image)",
    )


def test_its_camera_can_be_kept_but_never_itself(ask):
    answer = ask("cam3/v1_0.png", same_camera=True)
    assert len(answer.hits) == 47
    assert "cam3/v1_1.png" in answer.hits["name"].tolist()[:2]
    assert "cam3/v1_0.png" not in answer.hits["name"].tolist()


def test_another_name_is_the_same_image(ask, car_gallery, embedder, tmp_path):
    folder = StoreCrops(car_gallery.info.images).roots[0]
    copy = tmp_path / "x.png"
    copy.write_bytes((folder / "cam3/v1_0.png").read_bytes())
    answer = find_in_store(car_gallery, query_of_files(embedder, [copy]), top=50, same_camera=True)
    assert answer.asked.camera == "3"
    assert "cam3/v1_0.png" not in answer.hits["name"].tolist()


def test_a_stranger_has_the_camera_that_is_said(ask, car_gallery, embedder, fake_gallery):
    image = fake_gallery.draw_crop(1, 9)
    query = query_of_pixels(embedder, [image], ["new.png"], ["0" * 64])
    everywhere = find_in_store(car_gallery, query, top=50)
    assert len(everywhere.hits) == 48 and "--image_camera" in everywhere.left_out[0]
    elsewhere = find_in_store(car_gallery, query.taken_by(["2"]), top=50)
    assert set(elsewhere.hits["camera"]) == {"1", "3", "4"}
    assert query_of_pixels(embedder, [image], ["1_c004_2.png"], ["0" * 64]).cameras == ("4",)


@pytest.mark.parametrize(
    ("which", "kept"),
    [
        ({"camera": ("2",)}, lambda hit: hit.camera == "2"),
        ({"camera": ("3",)}, lambda hit: hit.camera == "3"),  # asked for, so it is not left out
        ({"not_camera": ("1", "2")}, lambda hit: hit.camera == "4"),
        ({"color": ("blue",)}, lambda hit: hit.color == "blue"),
        ({"type": ("sedan",)}, lambda hit: True),
        ({"type": ("bus",)}, lambda hit: False),
        ({"after": 20}, lambda hit: hit.minutes >= 20),
        ({"before": 20}, lambda hit: hit.minutes < 20),
        ({"color": ("red", "white"), "after": 9, "camera": ("4",)},
         lambda hit: hit.color != "blue" and hit.minutes >= 9 and hit.camera == "4"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "kept",
)  # fmt: skip
def test_filters_of_a_store(ask, car_gallery, fake_gallery, which, kept):
    moments = {
        key: fake_gallery.START + timedelta(minutes=value)
        for key, value in which.items()
        if key in ("after", "before")
    }
    answer = ask("cam3/v1_0.png", which=Filter(**(which | moments)))
    everything = ask("cam3/v1_0.png", same_camera=True).hits
    if which.get("camera") != ("3",):
        everything = everything[everything["camera"] != "3"]
    minutes = (everything["time"] - fake_gallery.START).dt.total_seconds() / 60
    wanted = [h.name for h in everything.assign(minutes=minutes).itertuples() if kept(h)]
    assert sorted(answer.hits["name"]) == sorted(wanted)
    assert answer.num_compared == len(wanted)
    assert answer.left_out[0].startswith("whatever is not ")


def test_a_misspelt_colour_is_refused(ask):
    with pytest.raises(ConfigError, match="--color bleu: did you mean blue"):
        ask("cam3/v1_0.png", which=Filter(color=("bleu",)))


def test_the_crop_is_described(ask):
    asked = ask("cam1/v2_0.png").asked
    assert (asked.color, asked.type, asked.pose) == ("white", "sedan", None)
    assert 0.5 < asked.color_confidence <= 1
    assert asked.type_confidence == pytest.approx(np.e / (np.e + 8), rel=1e-5)


def test_several_crops_are_one_query(car_gallery, embedder, fake_gallery):
    images = [fake_gallery.draw_crop(v, 3) for v in (0, 0, 1)]
    names, hashes = ["a", "b", "c"], [h * 64 for h in "012"]
    query = query_of_pixels(embedder, images, names, hashes)
    alone = [embedder.embed([image]).features[0] for image in images]
    np.testing.assert_allclose(query.features, np.mean(alone, axis=0), rtol=1e-5)
    assert query.asked.color == "red"
    assert "a and 2 more of its track" in query.asked.describe()
    (hit,) = find_in_store(car_gallery, query, top=1).hits.itertuples()
    assert hit.vehicle == "car 0"


def test_crops_count_alike_for_the_cosine(fake_gallery):
    embedder = fake_gallery.make_embedder(metric="cosine")
    images = [np.full((20, 20, 3), 250, np.uint8), fake_gallery.draw_crop(0) // 10]
    query = query_of_pixels(embedder, images, ["a", "b"], ["0" * 64, "1" * 64])
    units = [f / np.linalg.norm(f) for f in embedder.embed(images).features]
    np.testing.assert_allclose(query.features, np.mean(units, axis=0), rtol=1e-5)


def test_the_threshold_of_a_store_is_its_own_unless_another_is_given(ask):
    assert ask("cam1/v0_0.png").threshold is None
    answer = ask("cam1/v0_0.png", threshold=Threshold(1.0))
    assert answer.hits["likely"].tolist() == (answer.hits["distance"] < 1).tolist()
    assert answer.hits["likely"].sum() == 6
    assert set(answer.sightings["vehicle"]) == {"car 0"}
    assert set(answer.sightings["camera"]) == {"2", "3", "4"}


def test_an_index_is_asked_only_where_there_is_one_and_its_recall_is_told(
    ask, car_gallery, monkeypatch
):
    with pytest.raises(DataError, match="mtn gallery index"):
        ask("cam1/v0_0.png", approximate=True)
    exact = type(car_gallery).search

    def search(self, vectors, which=ALL, top=20, *, approximate=False):
        """An index that knows every second answer."""
        found = exact(self, vectors, which, top)
        return [hits[::2] for hits in found] if approximate else found

    monkeypatch.setattr(type(car_gallery.backend), "has_index", lambda self: True)
    monkeypatch.setattr(type(car_gallery), "search", search)
    answer = ask("cam1/v0_0.png", approximate=True)
    assert not answer.exact and answer.recall == 0.5
    assert "recall 0.500 on a sample" in answer.format_table()
    assert ask("cam1/v0_0.png").recall is None


def test_pictures_never_leave_the_folder(car_gallery, tmp_path):
    crops = StoreCrops(car_gallery.info.images)
    folder = crops.roots[0]
    assert crops.path("gallery", "cam1/v0_0.png") == folder.resolve() / "cam1" / "v0_0.png"
    for name in ("../x.png", "/etc/passwd", "cam1/../../x.png", "", "cam1//x.png"):
        assert crops.path("gallery", name) is None, name
    (folder / "out").symlink_to(tmp_path)
    try:
        assert crops.path("gallery", "out/x.png") is None
    finally:
        (folder / "out").unlink()


@pytest.fixture(scope="module")
def run_embedder(run_dir, fake_gallery):
    """Gives the embedding that the run has of the crop, whatever the pixels; needs a pose."""
    embedder = fake_gallery.make_embedder(keypoints=True)
    gallery = RetrievalResult.load(run_dir).gallery
    outputs = type(embedder.backend.embed({"image": np.zeros((1, 32, 32, 3), np.uint8)}))

    def embed(batch):
        return outputs(gallery.features[[3]], gallery.color_logits[[3]], gallery.type_logits[[3]])

    embedder.backend.embed = embed
    return embedder


@pytest.fixture
def run_crop(run_dir):
    name = RetrievalResult.load(run_dir).gallery.names[3]
    return run_dir.parent / "data" / "veri" / "image_test" / name


def test_a_run_leaves_out_the_same_pixels_and_camera(run_dir, run_embedder, run_crop, tmp_path):
    copy = tmp_path / "another.jpg"
    copy.write_bytes(run_crop.read_bytes())
    crops = CropSource(run_dir.parent / "data")
    query = query_for_run(run_embedder, [copy], without_pose=True)
    assert query.asked.pose == "none" and query.cameras == ()
    gallery = RunGallery.open(run_dir)
    answer = find_in_run(gallery, query, top=5, crops=crops)
    assert run_crop.name not in answer.hits["name"].tolist()
    assert answer.left_out[-1] == "the same image (1 image)"
    unknown = find_in_run(gallery, query, top=5)  # nobody knows where its crops lie
    assert unknown.hits["name"].iloc[0] == run_crop.name
    camera = str(gallery.labels["camids"][3])
    away = find_in_run(gallery, query.taken_by([camera]), top=500, crops=crops)
    assert camera not in set(away.hits["camera"])
    asked_for = find_in_run(gallery, query.taken_by([camera]), Filter(camera=(camera,)), top=500)
    assert set(asked_for.hits["camera"]) == {camera}


def test_a_run_is_filtered_by_labels_or_predictions(run_dir, run_embedder, run_crop):
    query = query_for_run(run_embedder, [run_crop], without_pose=True)
    gallery = RunGallery.open(run_dir)
    answer = find_in_run(gallery, query, Filter(color=("green", "red")), top=500)
    assert set(answer.hits["color"]) == {"green", "red"}
    names, _ = gallery.attribute("color")
    known = gallery.labels["color_ids"] >= 1
    assert (known & np.isin(names, ["green", "red"])).any()
    assert (~known & (names != "unknown")).sum() == (~known).sum() > 0
    with pytest.raises(ConfigError, match="no times or tracks"):
        find_in_run(gallery, query, Filter(after=datetime(2024, 5, 1)))


def test_a_network_with_pose_wants_one(run_embedder, run_crop, tmp_path):
    with pytest.raises(ConfigError, match=r"no label with keypoints.*--pose_onnx"):
        query_for_run(run_embedder, [run_crop], without_pose=False)


def test_what_is_no_image_is_refused(embedder, tmp_path):
    bad = tmp_path / "a.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.jpg is not an image"):
        query_of_files(embedder, [bad])
    assert hashlib.sha256(b"no image").hexdigest()
