"""The store: what it answers, what it refuses, what it keeps."""

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from answers import COUNT, check_answers

from mtn_core.errors import DataError, MissingFileError, RunFolderError
from mtn_core.gallery.records import Batch, Filter, ModelInput
from mtn_core.gallery.store import Gallery


def test_every_filter_counts_and_searches_as_numpy_does(filled, made):
    check_answers(filled, made)


def test_euclidean_distances_keep_the_length_of_embeddings(tmp_path, made):
    gallery = Gallery.create(tmp_path / "g", made.info(metric="euclidean"))
    gallery.add(made.batch(0, COUNT, features=3 * made.features(0, COUNT)))
    query = np.random.default_rng(5).normal(size=48).astype(np.float32)
    rows = (3 * made.features(0, COUNT)).astype(np.float16).astype(np.float64)
    distances = np.sort(np.linalg.norm(rows - query, axis=1))[:9]
    (hits,) = gallery.search(query, top=9)
    np.testing.assert_allclose([hit.distance for hit in hits], distances, rtol=1e-6)


def test_rounding_of_the_query_changes_no_rank(tmp_path, made):
    """Where float16 cannot tell the nearest rows from many others, the store is asked for more."""
    gallery = Gallery.create(tmp_path / "g", made.info(metric="euclidean", dimension=4))
    query = np.array([100.03, 0, 0, 0], np.float32)  # 100 in float16, whose steps are 0.0625 here
    assert np.float16(query[0]) == 100
    features = np.zeros((320, 4), np.float32)
    features[:, 0] = 99.9375  # 0.0925 away, as far from 100 as the nearest are
    features[300:, 0] = 100.0625  # 0.0325 away
    gallery.add(made.batch(0, 320, features=features, cameras=None, times=None))
    (hits,) = gallery.search(query, top=20)
    assert [hit.name for hit in hits] == [f"day/{i:05d}.jpg" for i in range(300, 320)]
    assert [hit.distance for hit in hits] == pytest.approx([0.0325] * 20, abs=1e-4)


def test_a_sighting_says_what_was_added(filled, made):
    (hits,) = filled.search(made.features(24, 1), top=1)
    (hit,) = hits
    assert hit.image_sha256 == made.sha(24) and hit.id == made.sha(24)[:16]
    assert (hit.name, hit.camera, hit.track, hit.vehicle) == ("day/00024.jpg", "5", "t6", "v3")
    assert hit.time == made.start + timedelta(minutes=24)
    assert (hit.color, hit.type) == ("red", "sedan")
    assert hit.color_confidence == pytest.approx(0.5) and hit.distance < 1e-6
    unknown = filled.sightings([made.sha(0)[:16]])[0]
    assert unknown.camera == "" and unknown.time is None and np.isnan(unknown.distance)


def test_the_same_image_is_never_there_twice(gallery, made):
    assert gallery.add(made.batch(0, 10)) == 10
    assert gallery.add(made.batch(5, 10)) == 5
    twice = made.batch(20, 4, image_sha256=[made.sha(20)] * 4)
    assert gallery.add(twice) == 1
    assert len(gallery) == 16
    assert gallery.known([made.sha(3), made.sha(99)]) == {made.sha(3)}
    assert Gallery.open(gallery.path).add(made.batch(0, 15)) == 0


def test_removing_by_filter_and_by_id(gallery, made):
    gallery.add(made.batch(0, 50))
    ids = [s.id for s in gallery.sightings(Filter(camera=("2",)))]
    assert gallery.remove(ids[:2]) == 2
    assert gallery.remove(Filter(camera=("2",))) == len(ids) - 2
    assert gallery.count(Filter(camera=("2",))) == 0 and len(gallery) == 50 - len(ids)
    with pytest.raises(DataError, match="give a filter"):
        gallery.remove(Filter())
    with pytest.raises(DataError, match="give a filter"):
        gallery.remove([])
    assert gallery.add(made.batch(0, 50)) == len(ids)  # what was removed may come again


def test_times_with_a_zone_become_utc(filled, made):
    there = datetime(2024, 5, 1, 16, 10, tzinfo=timezone(timedelta(hours=2)))
    assert Filter(after=there).after == datetime(2024, 5, 1, 14, 10)
    assert filled.count(Filter(after=there)) == filled.count(
        Filter(after=datetime(2024, 5, 1, 14, 10, tzinfo=UTC))
    )


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"model_sha256": "b" * 64}, "of checkpoint bbbbbbbbbbbb.*made by aaaaaaaaaaaa"),
        ({"pose_sha256": "c" * 64}, "PoseEstNet cccccccccccc.*no pose"),
        ({"features": np.zeros((4, 47), np.float32)}, r"\(number, 48\).*\(4, 47\)"),
    ],
)
def test_embeddings_of_another_model_are_refused(gallery, made, changes, match):
    with pytest.raises(DataError, match=match):
        gallery.add(made.batch(0, 4, **changes))
    assert len(gallery) == 0


def test_embeddings_beyond_float16_are_refused(tmp_path, made):
    gallery = Gallery.create(tmp_path / "g", made.info(metric="euclidean"))
    with pytest.raises(DataError, match="65504"):
        gallery.add(made.batch(0, 4, features=np.full((4, 48), 1e5, np.float32)))
    with pytest.raises(DataError, match="finite"):
        made.batch(0, 1, features=np.full((1, 48), np.nan, np.float32))


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/passwd", "a/../../x.jpg", "", "a//b.jpg"])
def test_names_that_leave_the_folder_are_refused(made, name):
    with pytest.raises(DataError, match="inside the image folder"):
        made.batch(0, 1, names=[name])


def test_an_image_is_only_ever_one_of_the_folder(tmp_path, made):
    images = tmp_path / "images"
    (images / "day").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_text("no")
    (images / "day" / "00000.jpg").write_text("yes")
    (images / "day" / "00001.jpg").symlink_to(tmp_path / "secret.jpg")
    gallery = Gallery.create(tmp_path / "g", made.info(images=str(images)))
    gallery.add(made.batch(0, 3))
    first, second, third = gallery.sightings()
    by_name = {s.name: s for s in (first, second, third)}
    assert gallery.image_path(by_name["day/00000.jpg"]).read_text() == "yes"
    with pytest.raises(DataError, match="leads out"):
        gallery.image_path(by_name["day/00001.jpg"])
    with pytest.raises(MissingFileError, match="does not exist any more"):
        gallery.image_path(by_name["day/00002.jpg"])
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg")):
        with pytest.raises(DataError, match="leads out"):
            gallery.image_path(dataclasses.replace(first, name=name))


def test_what_is_there_is_not_replaced(gallery, made, tmp_path):
    with pytest.raises(RunFolderError, match="a gallery already"):
        Gallery.create(gallery.path, made.info())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(RunFolderError, match="already holds"):
        Gallery.create(tmp_path / "full", made.info())


def test_info_is_remembered(gallery, made):
    info = made.info(
        threshold=0.25, images="/data", input=ModelInput(64, segments=True, pose_sha256="d" * 64)
    )
    there = Gallery.create(gallery.path.with_name("other"), info)
    assert there.info == info and Gallery.open(there.path).info == info
    there.add(made.batch(0, 3, pose_sha256="d" * 64))
    assert Gallery.open(there.path).info.count == 3


def test_no_gallery(tmp_path):
    with pytest.raises(MissingFileError, match="is no gallery"):
        Gallery.open(tmp_path)
    assert not Gallery.is_gallery(tmp_path)


def test_a_batch_says_which_field_is_of_another_length(made):
    with pytest.raises(DataError, match="`colors` must have 3 values"):
        made.batch(0, 3, colors=["red"])
    with pytest.raises(DataError, match="64 hex digits"):
        Batch("a" * 64, ["a.jpg"], ["ab"], np.zeros((1, 4), np.float32))


def test_keypoints_are_kept(gallery, made):
    keypoints = np.random.default_rng(0).random((4, 36, 3)).astype(np.float32)
    gallery.add(made.batch(0, 4, keypoints=keypoints))
    gallery.add(made.batch(4, 1))
    found = gallery.backend.keypoints([made.sha(i)[:16] for i in range(5)])
    assert set(found) == {made.sha(i)[:16] for i in range(4)}
    for i in range(4):
        np.testing.assert_allclose(found[made.sha(i)[:16]], keypoints[i], atol=5e-4)


def test_an_index_is_asked_only_where_that_is_wanted(gallery, made, monkeypatch):
    with pytest.raises(DataError, match="an index needs 5000"):
        gallery.build_index()
    centres = np.random.default_rng(0).normal(size=(200, 48))
    noise = np.random.default_rng(1).normal(size=(6000, 48))
    features = np.float32(centres[np.arange(6000) % 200] + 0.7 * noise)
    assert gallery.add(made.batch(0, 6000, features=features)) == 6000
    query = features[:3] + 0.1
    before = gallery.search(query, top=10)
    assert not gallery.backend.has_index()
    assert gallery.search(query, top=10, approximate=True) == before
    assert 0.5 < gallery.build_index(sample=10) <= 1
    assert gallery.backend.has_index() and gallery.backend.verify()
    assert gallery.search(query, top=10) == before
    near = gallery.search(query, top=10, approximate=True)
    assert [hits[0] for hits in near] == [hits[0] for hits in before]
    monkeypatch.setattr("mtn_core.gallery.lance._PROBED", 1)
    far = np.random.default_rng(2).normal(size=(20, 48))
    assert gallery.search(far, top=50, approximate=True) != gallery.search(far, top=50)
