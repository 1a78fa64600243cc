"""A gallery whose rows a Milvus server keeps; milvus-lite's stands for one, if installed."""

import shutil
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from answers import COUNT, check_answers

from mtn_core.errors import DataError
from mtn_core.gallery.join import join_gallery
from mtn_core.gallery.records import Filter
from mtn_core.gallery.store import Gallery, Server

if find_spec("pymilvus") is None or find_spec("milvus_lite") is None:
    pytest.skip("pymilvus and milvus-lite are not installed", allow_module_level=True)
if find_spec("mindspore"):
    import mindspore  # noqa: F401 - before pymilvus, whose protobuf it could not share
SERVER = """
import sys
from milvus_lite.cmdline import main
sys.argv = ["milvus-lite", "server", *sys.argv[1:]]
sys.exit(main())
"""


def start_server(folder):
    """milvus-lite's server in a process of its own, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, "--data-dir", str(folder), "--port", str(port)]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return job, f"http://127.0.0.1:{port}"
        assert job.poll() is None, job.stdout.read()
        time.sleep(0.1)
    raise AssertionError("the server does not listen")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    job, uri = start_server(tmp_path_factory.mktemp("milvus") / "data")
    yield uri
    job.kill()
    job.communicate()


@pytest.fixture
def city(server, tmp_path, made, request):
    return Gallery.create(tmp_path / "city", made.info(), Server(server, request.node.name[:40]))


def test_a_server_answers_as_the_folder_does(city, filled, made):
    for start in (0, 100, 200):
        assert city.add(made.batch(start, 100)) == 100
    check_answers(city, made)
    query = np.random.default_rng(9).normal(size=(1, 48)).astype(np.float32)
    for theirs, ours in zip(city.search(query)[0], filled.search(query)[0], strict=True):
        assert theirs.color_confidence == pytest.approx(ours.color_confidence)
        assert (theirs.name, theirs.time, theirs.camera) == (ours.name, ours.time, ours.camera)
    assert Gallery.open(city.path).info.count == COUNT
    assert city.backend.overview() == filled.backend.overview()
    ids = [made.sha(3)[:16], made.sha(1)[:16]]
    np.testing.assert_array_equal(city.vectors(ids), filled.vectors(ids))


def test_the_same_image_is_never_there_twice_on_a_server(city, made):
    keypoints = np.random.default_rng(0).random((10, 36, 3)).astype(np.float32)
    assert city.add(made.batch(0, 10, keypoints=keypoints)) == 10
    assert Gallery.open(city.path).add(made.batch(5, 10)) == 5
    assert len(city) == 15 and city.known([made.sha(3), made.sha(99)]) == {made.sha(3)}
    found = city.backend.keypoints([made.sha(2)[:16], made.sha(12)[:16]])
    np.testing.assert_allclose(found[made.sha(2)[:16]], keypoints[2], atol=1e-6)
    assert len(found) == 1
    assert city.remove(Filter(camera=("2",))) == 2 and len(city) == 13
    assert city.remove([made.sha(0)[:16]]) == 1 and len(city) == 12


def test_a_folder_is_joined_into_a_server_and_back(city, filled, made, tmp_path):
    assert join_gallery(city, filled) == (COUNT, 0)
    back = Gallery.create(tmp_path / "back", made.info())
    assert join_gallery(back, city) == (COUNT, 0)
    check_answers(back, made)


def test_another_model_is_refused_by_a_server(city, made, tmp_path):
    with pytest.raises(DataError, match="their distances mean nothing"):
        city.add(made.batch(0, 3, model_sha256="b" * 64))
    uri, name = city.backend.uri, city.backend.collection
    with pytest.raises(DataError, match=f"has a collection {name} already"):
        Gallery.create(tmp_path / "other", made.info(), Server(uri, name))
    assert not (tmp_path / "other").exists()
    shutil.copytree(city.path, tmp_path / "copy")
    description = tmp_path / "copy" / "gallery.json"
    description.write_text(description.read_text().replace("a" * 64, "c" * 64))
    with pytest.raises(DataError, match="holds embeddings of model aaaaaaaaaaaa"):
        Gallery.open(tmp_path / "copy")
    description.write_text(description.read_text().replace(name, "gone"))
    with pytest.raises(DataError, match="has no collection gone"):
        Gallery.open(tmp_path / "copy")


def test_a_server_that_is_killed_keeps_what_it_acknowledged(tmp_path, made):
    job, uri = start_server(tmp_path / "data")
    city = Gallery.create(tmp_path / "city", made.info(), Server(uri, "city"))
    for start in range(0, COUNT, 50):
        city.add(made.batch(start, 50))
    job.kill()
    job.communicate()
    with pytest.raises(DataError, match="is it running"):
        Gallery.open(city.path)
    job, uri = start_server(tmp_path / "data")
    description = city.path / "gallery.json"
    description.write_text(description.read_text().replace(city.backend.uri, uri))
    try:
        check_answers(Gallery.open(city.path), made)
    finally:
        job.kill()
        job.communicate()
