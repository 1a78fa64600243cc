"""Crops into a gallery: fragments, resuming, files that cannot be used, models that do not fit."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mtn_core.cli import main
from mtn_core.data.images import read_image
from mtn_core.errors import ConfigError, DataError
from mtn_core.gallery.crops import list_crops
from mtn_core.gallery.embed import embed_crops
from mtn_core.gallery.embedder import Embedded, load_embedder
from mtn_core.gallery.records import Filter
from mtn_core.gallery.shard import Shard
from mtn_core.gallery.store import Gallery

COUNT = 40


def write_crop(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture(scope="session")
def crops_folder(tmp_path_factory):
    """Forty crops of four cameras; read-only for the tests."""
    folder = tmp_path_factory.mktemp("crops")
    for i in range(COUNT):
        write_crop(folder / f"cam{i % 4}" / f"20240501-12-{i:02d}-00_{i:03d}.png", i)
    return folder


class FakeEmbedder:
    """The first pixels of a crop are its embedding; counts what it was asked for."""

    sha256, pose_sha256 = "a" * 64, None

    def __init__(self):
        self.num_embedded = 0

    def embed(self, images):
        self.num_embedded += len(images)
        features = np.stack([image.reshape(-1)[:48] for image in images]).astype(np.float32)
        probabilities = np.tile(np.float32([0.2, 0.7, 0.1]), (len(images), 1))
        return Embedded(
            features,
            colors=("blue",) * len(images),
            color_probabilities=probabilities,
            types=("bus",) * len(images),
            type_probabilities=probabilities[:, 1:],
        )


def check_embedded(gallery, crops):
    """Every crop is there once, with the camera, the time and the embedding of its own pixels."""
    there = {s.name: s for s in gallery.sightings(limit=10_000)}
    assert len(there) == len(crops) == len(gallery)
    for crop in crops:
        sighting = there[crop.name]
        assert (sighting.camera, sighting.time) == (crop.camera, crop.time)
        assert sighting.image_sha256 == hashlib.sha256(crop.path.read_bytes()).hexdigest()
        pixels = cv2.imread(str(crop.path))[..., ::-1].reshape(-1)[:48].astype(np.float32)
        (hits,) = gallery.search(pixels, top=1)
        assert hits[0].name == crop.name and hits[0].distance < 1e-6


def test_crops_become_sightings(gallery, crops_folder):
    crops, _ = list_crops(crops_folder, pattern="{camid}/{time}_*")
    embedder, told = FakeEmbedder(), []
    outcome = embed_crops(
        embedder, gallery, crops, fragment=16, batch_size=8, progress=False, on_added=told.append
    )
    assert (outcome.num_added, outcome.num_known, outcome.bad) == (COUNT, 0, [])
    assert told == [16, 32, 40]
    check_embedded(gallery, crops)
    assert gallery.count(Filter(camera=("cam2",), color=("blue",), type=("bus",))) == 10
    sighting = gallery.sightings(limit=1)[0]
    assert sighting.color_confidence == pytest.approx(0.7) and sighting.type == "bus"
    assert crops[0].time == datetime(2024, 5, 1, 12)
    again = embed_crops(embedder, gallery, crops, progress=False)
    assert (again.num_added, again.num_known) == (0, COUNT)
    assert embedder.num_embedded == COUNT  # what is there is not embedded again


def test_copies_of_an_image_are_one_sighting(gallery, tmp_path):
    write_crop(tmp_path / "a.png", 1)
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    write_crop(tmp_path / "c.png", 2)
    outcome = embed_crops(FakeEmbedder(), gallery, list_crops(tmp_path)[0], progress=False)
    assert (outcome.num_added, outcome.num_known, len(gallery)) == (2, 1, 2)


def test_shards_together_make_the_whole(gallery, crops_folder):
    crops, _ = list_crops(crops_folder, pattern="{camid}/{time}_*")
    for i in (2, 0, 1):
        part = Shard(i, 3).of(crops)
        assert embed_crops(FakeEmbedder(), gallery, part, progress=False).num_added == len(part)
    check_embedded(gallery, crops)


@pytest.fixture
def with_bad(tmp_path):
    """Five crops, a cut one, one with a hole, one of too many pixels, a text."""
    for i in range(5):
        write_crop(tmp_path / f"{i}.png", i)
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("<svg/>")
    pixels = np.random.default_rng(9).integers(0, 256, (64, 64, 3), np.uint8)
    done, coded = cv2.imencode(".jpg", pixels)
    coded = coded.tobytes()
    assert done
    (tmp_path / "hole.jpg").write_bytes(coded[: len(coded) // 2] + b"\xff\xd9")
    read_image(tmp_path / "hole.jpg")  # a decoder repairs it without a word
    header = bytearray(whole)
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(header)
    return list_crops(tmp_path)[0]


def test_files_that_cannot_be_used_stop_the_work_and_lose_none(gallery, with_bad):
    with pytest.raises(DataError) as caught:
        embed_crops(FakeEmbedder(), gallery, with_bad, batch_size=6, progress=False)
    said = str(caught.value)
    assert "bomb.png" in said and "--skip_bad" in said and "5 crops were added before" in said
    assert len(gallery) == 5


def test_files_that_cannot_be_used_are_left_out_and_named(gallery, with_bad):
    outcome = embed_crops(FakeEmbedder(), gallery, with_bad, skip_bad=True, progress=False)
    assert outcome.num_added == 5 and len(outcome.bad) == 4
    for name in ("cut.png", "hole.jpg", "text.jpg", "bomb.png"):
        assert name in outcome.to_text()


def test_another_model_is_refused_before_any_work(gallery, crops_folder):
    embedder = FakeEmbedder()
    embedder.sha256 = "b" * 64
    with pytest.raises(DataError, match="their distances mean nothing"):
        embed_crops(embedder, gallery, list_crops(crops_folder)[0], progress=False)
    assert embedder.num_embedded == 0


# With an ONNX file, through the commands.


@pytest.fixture(scope="session")
def models(tmp_path_factory, repository):
    """Hand-made exported networks; a process of its own makes them, for onnx wants one."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("models")
    script = repository / "tests" / "export" / "tiny_onnx.py"
    made = {}
    for name, changes in {
        "plain": ["keypoints=false", "segments=false", "heatmaps=false"],
        "other": ["keypoints=false", "segments=false", "heatmaps=false", f"checkpoint={'1' * 64}"],
        "posed": ["keypoints=true", "segments=true", "heatmaps=true"],
    }.items():
        command = [sys.executable, str(script), str(folder / name), *changes]
        subprocess.run(command, check=True, capture_output=True)
        made[name] = folder / name / "tiny.onnx"
    return SimpleNamespace(**made)


def run(*arguments):
    return main([str(argument) for argument in arguments])


def embed(models, crops_folder, out, *more, model="plain"):
    flags = ["--images", crops_folder, "--pattern", "{camid}/{time}_*", "--out", out]
    return run("embed", "--model", getattr(models, model), *flags, *more)


def test_embed_and_gallery_commands(models, crops_folder, tmp_path, capsys):
    out = tmp_path / "city"
    assert embed(models, crops_folder, out, "--threshold", "0.5", "--fragment", "7") == 0
    said = capsys.readouterr().out
    assert "40 of 40 crops added" in said and f"{out}, 40 sightings" in said
    assert embed(models, crops_folder, out) == 0
    assert "0 of 40 crops added; 40 images were there" in capsys.readouterr().out
    assert run("gallery", "info", out, "--verify") == 0
    said = capsys.readouterr().out
    for text in ("sightings: 40", "0.5", "cam0: 10", "2024-05-01T12:00:00 to 2024-05-01T12:39:00"):
        assert text in said
    assert "files are as they were written" in said
    assert run("gallery", "remove", out, "--camera", "cam1", "--before", "2024-05-01T12:20") == 0
    assert "5 sightings removed, 35 left" in capsys.readouterr().out
    some = Gallery.open(out).sightings()[0].id
    assert run("gallery", "remove", out, "--id", some) == 0
    assert run("gallery", "info", out, "--format", "json") == 0
    values = json.loads(capsys.readouterr().out.partition("left in")[2].partition("\n")[2])
    assert values["count"] == 34 and values["cameras"]["cam1"] == 5


def test_shards_made_apart_are_joined(models, crops_folder, tmp_path, capsys):
    for i in (1, 2):
        assert embed(models, crops_folder, tmp_path / f"part{i}", "--shard", f"{i}/2") == 0
    assert "shard 2/2: 20 of 20 crops added" in capsys.readouterr().out
    assert run("gallery", "create", tmp_path / "city", "--model", models.plain,
               "--images", crops_folder) == 0  # fmt: skip
    parts = [tmp_path / "part1", tmp_path / "part2"]
    assert run("gallery", "add", tmp_path / "city", "--from", *parts) == 0
    assert run("gallery", "add", tmp_path / "city", "--from", parts[0]) == 0
    assert "part1: 0 sightings added, 20 were there" in capsys.readouterr().out
    assert embed(models, crops_folder, tmp_path / "whole") == 0
    whole, joined = Gallery.open(tmp_path / "whole"), Gallery.open(tmp_path / "city")
    query = np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)
    assert joined.search(query, top=40) == whole.search(query, top=40)
    assert joined.info == whole.info
    with pytest.raises(ConfigError, match="itself"):
        from mtn_core.gallery.join import join_gallery

        join_gallery(joined, joined)


@pytest.mark.parametrize(
    "more, said",
    [
        ({"--model": "other"}, "of checkpoint 111111111111.*made by 000000000000"),
        ({"--model": "posed"}, "segments, keypoints, so a crop needs its pose: .*--pose_onnx"),
        ({"--threshold": "0.7"}, "leave --threshold out"),
        ({"--shard": "3/2"}, "--shard must be I/N"),
        ({"--fps": "25"}, "--start"),
        ({"--images": "elsewhere"}, "elsewhere does not exist"),
    ],
)
def test_what_embed_refuses(models, crops_folder, tmp_path, capsys, more, said):
    out = tmp_path / "city"
    flags = {"--images": crops_folder, "--out": out, "--model": "plain"}

    def call(flags):
        flags = flags | {"--model": getattr(models, flags["--model"])}
        return run("embed", *(word for flag in flags.items() for word in flag))

    assert call(flags) == 0
    assert call(flags | more) in (1, 2)  # data, or usage
    error = capsys.readouterr().err
    assert re.search(f"error: .*{said}", error), error
    assert len(Gallery.open(out)) == COUNT


def test_a_model_with_pose_and_none_only_if_asked_for(models, crops_folder, tmp_path):
    with pytest.raises(ConfigError, match="so a crop needs its pose"):
        load_embedder(models.posed)
    embedder = load_embedder(models.posed, without_pose=True)
    assert embedder.needs_pose and embedder.pose_sha256 is None
    with pytest.raises(ConfigError, match="sees no pose"):
        load_embedder(models.plain, models.posed)
    assert not load_embedder(models.plain).needs_pose
    assert embed(models, crops_folder, tmp_path / "g", "--without_pose", model="posed") == 0


def test_a_checkpoint_is_refused_where_mindspore_came_too_late(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", SimpleNamespace())
    monkeypatch.delitem(sys.modules, "mindspore", raising=False)
    with pytest.raises(ConfigError, match="load the model before the gallery, or give its ONNX"):
        load_embedder(tmp_path / "best.ckpt")


def test_the_same_crop_alone_and_among_others(models, crops_folder):
    paths = [crop.path for crop in list_crops(crops_folder)[0]]
    images = [cv2.imread(str(path))[..., ::-1].copy() for path in paths]
    embedder = load_embedder(models.plain, batch_size=16)
    whole = embedder.embed(images)
    assert whole.features.shape == (COUNT, 6) == (COUNT, embedder.dimension)
    assert whole.color_probabilities.sum(axis=1) == pytest.approx(1)
    for i in (0, 17, 39):
        one = embedder.embed([images[i]])
        np.testing.assert_allclose(one.features[0], whole.features[i], atol=1e-5)
        assert one.colors == (whole.colors[i],) and whole.colors[i] in embedder.color_names
        assert one.color_confidences[0] == pytest.approx(whole.color_confidences[i], abs=1e-5)


def test_killed_while_embedding_goes_on_where_it_was(models, tmp_path):
    """The command in a process of its own, with SIGKILL; only whole fragments count."""
    folder, out = tmp_path / "crops", tmp_path / "city"
    for i in range(600):
        write_crop(folder / f"{i:04d}.png", i)
    command = [sys.executable, "-m", "mtn_core", "embed", "--model", str(models.plain)]
    command += ["--images", str(folder), "--out", str(out), "--fragment", "20"]
    command += ["--batch_size", "4", "--camera", "gate"]
    job = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    while not Gallery.is_gallery(out) or len(Gallery.open(out)) < 60:
        assert job.poll() is None, "the job ended before it could be killed"
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    gallery = Gallery.open(out)
    before = len(gallery)
    assert 60 <= before < 600 and before % 20 == 0
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{600 - before} of 600 crops added; {before} images were there" in done.stdout
    assert sorted(s.name for s in gallery.sightings()) == [f"{i:04d}.png" for i in range(600)]
    assert gallery.backend.verify() > 0
