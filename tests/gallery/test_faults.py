"""Killed writers, writers at once, damaged files, a full disk: nothing acknowledged is lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mtn_core.errors import DataError, MissingFileError, RunFolderError
from mtn_core.gallery.records import Filter
from mtn_core.gallery.store import Gallery

HERE = Path(__file__).parent
JOB = HERE / "adding_job.py"
MOUNT = ["unshare", "--map-root-user", "--mount"]
STEP = 40


def start_job(gallery, start, count, step=STEP, at=0.0):
    """A process that adds crops, from a moment on; its output says how far they are safe."""
    numbers = [str(number) for number in (start, count, step, at)]
    command = [sys.executable, str(JOB), str(gallery.path), *numbers]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def check_whole(gallery, made, numbers):
    """Each of the crops once, with its own embedding."""
    there = gallery.sightings(limit=100_000)
    assert Counter(s.name for s in there) == Counter(f"day/{i:05d}.jpg" for i in numbers)
    for i in list(numbers)[:: max(1, len(numbers) // 5)]:
        (hits,) = gallery.search(made.features(i, 1), top=1)
        assert hits[0].name == f"day/{i:05d}.jpg" and hits[0].distance < 1e-6


def test_killed_while_adding(gallery, made):
    """Five times with SIGKILL, at whatever moment; then to the end."""
    rng, done = random.Random(0), 0
    for _ in range(5):
        job = start_job(gallery, 0, 100_000)
        acknowledged = 0
        while acknowledged < done + 3 * STEP:
            acknowledged = int(job.stdout.readline())
        time.sleep(rng.random() * 0.05)
        os.killpg(job.pid, signal.SIGKILL)
        rest, _ = job.communicate()
        acknowledged = int(([*rest.split()] or [acknowledged])[-1])
        again = Gallery.open(gallery.path)
        count = len(again)
        assert count >= acknowledged and count % STEP == 0
        check_whole(again, made, range(count))
        done = acknowledged
    done += 5 * STEP
    job = start_job(gallery, 0, done)
    said, error = job.communicate()
    assert job.returncode == 0, error
    assert int(said.split()[-1]) == done
    check_whole(Gallery.open(gallery.path), made, range(max(done, count)))
    assert gallery.backend.verify() > 0


def test_two_writers_of_the_same_crops(gallery, made):
    """Two at the same crops at the same moment, and one that comes towards them."""
    begun = time.time() + 8
    starts = ((0, 40, begun), (0, 40, begun), (200, 50, begun))
    jobs = [start_job(gallery, start, 400, step, at) for start, step, at in starts]
    for job in jobs:
        _, error = job.communicate()
        assert job.returncode == 0, error
    check_whole(gallery, made, range(600))
    assert Gallery.open(gallery.path).backend.verify() > 0


def test_two_that_make_the_same_gallery_at_once(tmp_path, made):
    def create(_):
        try:
            Gallery.create(tmp_path / "city", made.info())
        except RunFolderError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1
    Gallery.open(tmp_path / "city").add(made.batch(0, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["city"]


def data_file(gallery):
    (file,) = (gallery.path / "crops.lance" / "data").iterdir()
    return file


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage, said",
    [
        (flip, "changed since written"),
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "expected"),
        (lambda file: file.write_bytes(b""), "has 0 bytes"),
        (Path.unlink, "is missing"),
    ],
    ids=["flipped bit", "cut short", "empty", "missing"],
)
@pytest.mark.parametrize("kind", ["data", "_versions"])
def test_a_damaged_file_is_named_with_the_remedy(gallery, made, damage, said, kind):
    gallery.add(made.batch(0, 100))
    files = (gallery.path / "crops.lance" / kind).iterdir()
    file = sorted(f for f in files if f.suffix in (".lance", ".manifest"))[0]
    damage(file)
    with pytest.raises(DataError) as caught:
        Gallery.open(gallery.path)
    assert str(file) in str(caught.value) and said in str(caught.value)
    assert "make the gallery anew with `mtn embed`" in str(caught.value)


def test_a_damaged_file_is_named_where_it_is_too_large_to_be_hashed_when_opened(
    gallery, made, monkeypatch
):
    monkeypatch.setattr("mtn_core.gallery.lance._HASHED_BYTES", 1000)
    gallery.add(made.batch(0, 100))
    flip(data_file(gallery))
    again = Gallery.open(gallery.path)
    with pytest.raises(DataError, match="changed since written"):
        again.backend.verify()
    data_file(gallery).unlink()
    with pytest.raises(DataError, match="is missing"):
        Gallery.open(gallery.path)


def test_damage_that_lancedb_meets_while_it_searches_is_named(gallery, made):
    gallery.add(made.batch(0, 100))
    file = data_file(gallery)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError) as caught:
        gallery.search(made.features(0, 1))
    assert f"{file} has 2000 bytes" in str(caught.value)


def test_damaged_descriptions(gallery):
    checksums = gallery.path / "checksums.json"
    whole = checksums.read_text()
    for text in ("", "{}", "[1]", '{"files": 3, "joining": false}'):
        checksums.write_text(text)
        with pytest.raises(DataError, match=r"checksums\.json is damaged"):
            Gallery.open(gallery.path)
    checksums.write_text(whole)
    info = gallery.path / "gallery.json"
    values = json.loads(info.read_text())
    for changed in ({}, values | {"metric": "manhattan"}, values | {"format": "x"}, [values]):
        info.write_text(json.dumps(changed))
        with pytest.raises(DataError, match="does not describe a gallery"):
            Gallery.open(gallery.path)
    info.unlink()
    with pytest.raises(MissingFileError, match="is no gallery"):
        Gallery.open(gallery.path)


def test_indexes_and_joined_files_change_no_answer(gallery, made, monkeypatch):
    monkeypatch.setattr("mtn_core.gallery.lance._INDEX_FROM", 100)
    monkeypatch.setattr("mtn_core.gallery.lance._MOST_FRAGMENTS", 5)
    reader = Gallery.open(gallery.path)
    which = Filter(camera=("2",), color=("red", "blue"), after=made.start)
    queries = np.random.default_rng(7).normal(size=(3, 48)).astype(np.float32)
    plain = Gallery.create(gallery.path.with_name("plain"), made.info())
    monkeypatch.setattr(plain.backend, "_tidy", lambda: None)
    for start in range(0, 600, 40):
        gallery.add(made.batch(start, 40))
        plain.add(made.batch(start, 40))
        assert reader.search(queries, which, top=5) == plain.search(queries, which, top=5)
    table = gallery.backend._table
    assert {index.columns[0] for index in table.list_indices()} >= {"camera", "time", "id"}
    assert table.stats()["fragment_stats"]["num_fragments"] < 15
    assert gallery.backend.verify() and Gallery.open(gallery.path).info.count == 600
    assert gallery.add(made.batch(0, 600)) == 0


def test_tidying_brings_the_indexes_up_to_date(gallery, made, monkeypatch):
    def behind():
        table = gallery.backend._table
        return [table.index_stats(i.name).num_unindexed_rows for i in table.list_indices()]

    monkeypatch.setattr("mtn_core.gallery.lance._INDEX_FROM", 100)
    monkeypatch.setattr("mtn_core.gallery.lance._WORTH_AN_INDEX", 10)
    gallery.add(made.batch(0, 120))
    gallery.add(made.batch(120, 40))
    assert behind() == [40] * 5
    gallery.tidy()
    assert behind() == [0] * 5
    assert gallery.backend.verify() and gallery.count(Filter(camera=("2",))) > 20


def test_while_files_are_joined_none_is_missed(gallery, made, monkeypatch):
    monkeypatch.setattr("mtn_core.gallery.lance._INDEX_FROM", 10)
    monkeypatch.setattr("mtn_core.gallery.lance._MOST_FRAGMENTS", 1)
    gallery.add(made.batch(0, 40))
    seen = []

    def optimize(**_):
        listed = json.loads((gallery.path / "checksums.json").read_text())
        seen.append((listed["joining"], len(listed["files"])))

    monkeypatch.setattr(gallery.backend._table, "optimize", optimize)
    gallery.add(made.batch(40, 40))
    ((joining, number),) = seen
    assert joining and number > 2
    assert not json.loads((gallery.path / "checksums.json").read_text())["joining"]


def test_killed_while_files_are_joined(gallery, made, monkeypatch):
    """Old files are gone and the list still has them: no damage, and the next writer mends it."""
    gallery.add(made.batch(0, 50))
    checksums = gallery.backend._checksums
    checksums.update(joining=True)
    oldest = sorted((gallery.path / "crops.lance" / "_versions").glob("*.manifest"))[-1]
    oldest.unlink()
    again = Gallery.open(gallery.path)
    again.add(made.batch(50, 50))
    listed = json.loads((gallery.path / "checksums.json").read_text())
    assert not listed["joining"] and not any(oldest.name in name for name in listed["files"])
    check_whole(Gallery.open(gallery.path), made, range(100))


def test_a_full_disk(tmp_path):
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            [*MOUNT, "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("nobody may mount a disk here")
    done = subprocess.run(
        [*MOUNT, sys.executable, str(HERE / "gallery_disk_job.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    for name, city in (("fill", "city"), ("create", "none")):
        said = outcome[name]["error"]
        assert said.startswith(f"cannot write to {tmp_path / name / city}: No space left"), said
        assert "another disk" in said
    filled = outcome["fill"]
    assert filled["count"] >= filled["safe"] >= 2000 and filled["count"] % 2000 == 0
    assert filled["found"] == f"day/{filled['safe'] - 1:05d}.jpg" and filled["files"] > 0
    assert outcome["create"]["left"] == []
