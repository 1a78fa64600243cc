"""``mtn serve`` from the command line, with a model in onnxruntime and MindSpore out of reach."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from mtn_core.cli import main

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (mtn_core[onnx])")
# Whatever is asked for MindSpore from here on is told that there is none.
WITHOUT_MINDSPORE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mindspore":
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)

sys.meta_path.insert(0, Blocker())
from mtn_core.cli import main
sys.exit(main(sys.argv[1:]))
"""
# In a process of its own: onnx and MindSpore could not share a protobuf.
EXPORT = """
import sys
from pathlib import Path
from tiny_onnx import make_spec, write_export
write_export(Path(sys.argv[1]), make_spec(keypoints=False))
"""


@pytest.fixture(scope="module")
def environment(repository):
    path = [str(repository), str(repository / "tests" / "export"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TQDM_DISABLE": "1"}


@pytest.fixture(scope="module")
def city(car_gallery, environment, tmp_path_factory):
    """A gallery of a hand-made model, and its file."""
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-c", EXPORT, str(folder / "export")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    model = folder / "export" / "tiny.onnx"
    embed = ["embed", "--model", model, "--images", car_gallery.path.parent / "crops", "--pattern",
             "cam{camid}/*", "--out", folder / "city"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MINDSPORE, *map(str, embed)],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "city", model


@pytest.fixture
def serve(city, environment):
    """Starts the command; gives its process and the port that it prints."""
    started = []

    def start(*more):
        gallery, model = city
        command = [sys.executable, "-c", WITHOUT_MINDSPORE, "serve", str(gallery), "--model"]
        process = subprocess.Popen(
            [*command, str(model), "--port", "0", *more],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        line = process.stdout.readline()
        found = re.search(r"open http://\S+?:(\d+)/(?:\?token=(\S+))?", line)
        assert found, (line, process.stderr.read() if process.poll() is not None else "")
        return process, int(found[1]), found[2]

    yield start
    for process in started:
        process.kill()
        process.wait()


def ask(port, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_it_searches_without_mindspore_and_ends_when_told(serve, crop_file):
    process, port, token = serve()
    assert token is None
    status, text = ask(port, "/api/search?top=5", "POST", crop_file("cam3/v1_0.png"))
    assert status == 200
    answer = json.loads(text)
    assert len(answer["hits"]) == 5 and "3" not in {hit["camera"] for hit in answer["hits"]}
    assert ask(port, "/", Host="evil.example")[0] == 421
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "stopped\n")
    assert "Traceback" not in err


def test_another_address_has_a_token(serve):
    _, port, token = serve("--host", "0.0.0.0")
    assert len(token) >= 32
    assert ask(port, "/")[0] == 401
    assert ask(port, "/api/gallery", Authorization=f"Bearer {token}")[0] == 200


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--pose_onnx", "p.onnx"], "sees no pose"),
        (["--pose_ckpt", "p.ckpt"], "runs models in onnxruntime"),
        (["--threshold", "-1"], "must be above 0"),
        (["--token_file", "no.txt"], "does not exist"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
        (["--false_accept", "0.1"], "--threshold_of"),
    ],
    ids=str,
)
def test_bad_options(city, more, said, capsys):
    gallery, model = city
    code = 1 if "--token_file" in more else 2
    assert main(["serve", str(gallery), "--model", str(model), *more]) == code
    assert said in capsys.readouterr().err


def test_bad_files(city, car_gallery, tmp_path, monkeypatch, capsys):
    gallery, model = city
    assert main(["serve", str(tmp_path), "--model", str(model)]) == 1
    assert "is no gallery" in capsys.readouterr().err
    assert main(["serve", str(gallery), "--model", str(tmp_path / "best.ckpt")]) == 2
    assert "--file_format ONNX" in capsys.readouterr().err
    assert main(["serve", str(car_gallery.path), "--model", str(model)]) == 1
    assert "their distances mean nothing" in capsys.readouterr().err
    monkeypatch.setenv("MTN_SERVE_TOKEN", "short")
    assert main(["serve", str(gallery), "--model", str(model)]) == 2
    assert "at least 16" in capsys.readouterr().err


def test_a_port_that_is_taken(city, serve, capsys):
    _, port, _ = serve()
    gallery, model = city
    assert main(["serve", str(gallery), "--model", str(model), "--port", str(port)]) == 2
    assert f"port {port} cannot be listened on" in capsys.readouterr().err
