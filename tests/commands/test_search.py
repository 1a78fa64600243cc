"""``mtn search`` on a run and on a gallery, with networks that are none."""

import json
import re

import numpy as np
import pytest

from mtn_core.cli import main
from mtn_core.gallery import embedder as embedder_module
from mtn_core.predict import crop as crop_module
from mtn_core.predict.backend import Outputs
from mtn_core.results import RetrievalResult


@pytest.fixture(scope="module")
def run_dir(write_run, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run") / "runs" / "good", num_ids=10)


@pytest.fixture
def embed_as(monkeypatch, run_dir, fake_gallery):
    """Embeds any crop as a given gallery image is embedded, without a network."""

    def use(row, **options):
        gallery = RetrievalResult.load(run_dir).gallery
        embedder = fake_gallery.make_embedder(**options)
        logits = gallery.color_logits[[row]], gallery.type_logits[[row]]
        embedder.backend.embed = lambda batch: Outputs(gallery.features[[row]], *logits)
        monkeypatch.setattr(embedder_module, "load_embedder", lambda *a, **k: embedder)
        monkeypatch.setattr(crop_module, "find_checkpoint", lambda folder: "best.ckpt")
        return gallery

    return use


@pytest.fixture
def crop(run_dir, tmp_path):
    source = next((run_dir.parent / "data" / "veri" / "image_test").glob("0003*.jpg"))
    (tmp_path / "crop.jpg").write_bytes(source.read_bytes())
    return tmp_path / "crop.jpg"


@pytest.fixture
def ask(run_dir, crop):
    return lambda *more: main(["search", "--run", str(run_dir), "--image", str(crop), *more])


def test_the_table_has_the_prediction_and_the_cut(ask, embed_as, capsys):
    gallery = embed_as(5)
    assert ask("--top", "12", "--false_accept", "0.05") == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r".*crop\.jpg: predicted \w+ 0\.\d\d, \w+ 0\.\d\d; camera not known", lines[0]
    )
    assert lines[2].startswith("likely: distance below ")
    assert gallery.names[5] in lines[4] and "0.0000" in lines[4]
    assert "beyond the threshold" in lines
    assert "--image_camera says which" in lines[-2]


def test_json(ask, embed_as, capsys):
    gallery = embed_as(7)
    assert ask("--format", "json", "--top", "4", "--image_camera", f"{gallery.camids[7]:03d}") == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["hits"]) == 4
    assert answer["query"]["camera"] == str(gallery.camids[7])
    assert gallery.camids[7] not in {hit["camid"] for hit in answer["hits"]}
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4]
    assert answer["threshold"]["false_accept"] <= 0.01
    assert ask("--format", "json", "--image_camera", str(gallery.camids[7]), "--same_camera") == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["name"] == gallery.names[7]


def test_filters_reach_the_search(ask, embed_as, capsys):
    gallery = embed_as(7)
    camera = str(gallery.camids[7])
    assert ask("--format", "json", "--camera", camera, "--color", "green", "yellow") == 0
    answer = json.loads(capsys.readouterr().out)
    assert {hit["camera"] for hit in answer["hits"]} == {camera}
    assert {hit["color"] for hit in answer["hits"]} <= {"green", "yellow"}
    assert ask("--color", "gren") == 2
    assert "did you mean green?" in capsys.readouterr().err
    assert ask("--after", "2024-05-01") == 2
    assert "no times" in capsys.readouterr().err


def test_the_page_has_pictures(ask, embed_as, tmp_path):
    gallery = embed_as(2)
    out = tmp_path / "answers.html"
    more = ["--format", "html", "--out", str(out), "--top", "20", "--false_accept", "0.05"]
    assert ask(*more) == 0
    text = out.read_text()
    assert text.count("background-image:url(data:image/jpeg") >= 15
    assert "<h1>Candidates for crop.jpg</h1>" in text
    assert "<h2>Likely</h2>" in text and "<h2>Beyond the threshold</h2>" in text
    assert f"id {gallery.pids[2]}" in text
    assert "predicted with confidence 0." in text
    assert "could not be read" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert ask(*more) == 0  # over its own page


def test_a_network_without_heads_predicts_nothing(ask, embed_as, capsys):
    gallery = embed_as(5)
    embedder = embedder_module.load_embedder()
    embedder.color_names = embedder.type_names = ()
    embedder.backend.embed = lambda batch: Outputs(gallery.features[[5]])
    assert ask("--top", "1") == 0
    assert "no colour or type predicted" in capsys.readouterr().out


def test_a_network_with_pose_says_that_it_gets_none(ask, embed_as, capsys):
    embed_as(5, keypoints=True)
    assert ask() == 2
    assert "--pose_onnx FILE or --pose_ckpt FILE" in capsys.readouterr().err
    assert ask("--without_pose", "--top", "1") == 0
    assert "without its pose, for which the network was made" in capsys.readouterr().out


def test_another_distance_has_no_threshold(ask, embed_as, capsys):
    embed_as(5)
    assert ask("--metric", "cosine", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["threshold"] is None
    assert ask("--metric", "cosine", "--threshold", "0.25", "--format", "json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["threshold"]["distance"] == 0.25
    assert [h["likely"] for h in answer["hits"]] == [h["distance"] < 0.25 for h in answer["hits"]]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--format", "html"], "--out"),
        (["--threshold", "0"], "must be above 0"),
        (["--threshold", "1", "--false_accept", "0.1"], "stands alone"),
        (["--threshold_of", "x"], "goes with a gallery"),
        (["--model", "a", "--ckpt_path", "b"], "are the same"),
    ],
    ids=str,
)
def test_bad_options(ask, embed_as, more, said, capsys):
    embed_as(0)
    assert ask(*more) == 2
    assert said in capsys.readouterr().err


def test_a_rate_that_is_none(ask, embed_as, capsys):
    embed_as(0)
    assert ask("--false_accept", "3") == 1
    assert "within 0..1" in capsys.readouterr().err


def test_bad_input_loads_no_network(run_dir, crop, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embedder_module, "load_embedder", None)
    for image, said in ((tmp_path / "no.jpg", "does not exist"), (tmp_path, "folder")):
        assert main(["search", "--run", str(run_dir), "--image", str(image)]) == 1
        assert said in capsys.readouterr().err
    assert main(["search", "--run", str(tmp_path), "--image", str(crop)]) == 1
    assert "embeddings_gallery.npz" in capsys.readouterr().err
    assert main(["search", "--image", str(crop)]) == 2
    assert "either GALLERY or --run RUN" in capsys.readouterr().err


@pytest.fixture
def ask_store(car_gallery, fake_gallery, monkeypatch):
    embedder = fake_gallery.make_embedder()
    monkeypatch.setattr(embedder_module, "load_embedder", lambda *a, **k: embedder)
    folder = car_gallery.path.parent / "crops"

    def search(*more, names=("cam3/v1_0.png",)):
        images = [str(folder / name) for name in names]
        return main(["search", str(car_gallery.path), "--image", *images, *more])

    return search


def test_a_gallery_is_searched_by_the_same_command(ask_store, capsys):
    assert (
        ask_store("--model", "pixels.onnx", "--format", "json", "--after", "2024-05-01T12:09") == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert answer["hits"][0]["vehicle"] == "car 1" and answer["hits"][0]["camera"] != "3"
    assert all(hit["time"] >= "2024-05-01T12:09" for hit in answer["hits"])
    assert answer["query"]["camera"] == "3"
    assert "row" not in answer["hits"][0] and answer["hits"][0]["color_confidence"] > 0.9


def test_a_page_of_a_gallery_escapes_names(ask_store, fake_gallery, tmp_path):
    out = tmp_path / "p.html"
    names = ["cam3/v0_0.png", "cam3/v0_1.png"]
    more = ["--model", "m.onnx", "--threshold", "1", "--format", "html", "--out", str(out)]
    assert ask_store(*more, names=names) == 0
    text = out.read_text()
    assert fake_gallery.MARKUP not in text and "&lt;img src=x" in text
    assert text.count('aria-label="the crop that was searched for') == 2
    assert "2024-05-01 12:" in text and "could not be read" not in text


def test_a_gallery_wants_its_model(ask_store, capsys):
    assert ask_store() == 2
    assert "give the model" in capsys.readouterr().err
    assert ask_store("--model", "m.onnx", "--metric", "cosine") == 2
    assert "--metric goes with a run" in capsys.readouterr().err


def test_another_model_is_refused(car_gallery, fake_gallery, ask_store, monkeypatch, capsys):
    other = fake_gallery.make_embedder(checkpoint="cd" * 32)
    monkeypatch.setattr(embedder_module, "load_embedder", lambda *a, **k: other)
    assert ask_store("--model", "m.onnx") == 1
    assert "their distances mean nothing" in capsys.readouterr().err


def test_the_threshold_comes_from_the_evaluation_of_the_same_model(
    ask_store, run_dir, tmp_path, capsys, write_run
):
    """The made-up run says that it is of the made-up network's checkpoint."""
    assert ask_store("--model", "m.onnx", "--threshold_of", str(run_dir), "--format", "json") == 0
    threshold = json.loads(capsys.readouterr().out)["threshold"]
    assert threshold["false_accept"] <= 0.01 and np.isfinite(threshold["distance"])
    other = write_run(tmp_path / "run", num_ids=4, images=False)
    results = json.loads((other / "results.json").read_text())
    (other / "results.json").write_text(json.dumps(results | {"checkpoint_sha256": "00" * 32}))
    assert ask_store("--model", "m.onnx", "--threshold_of", str(other)) == 2
    assert "give the evaluation of that model" in capsys.readouterr().err
    assert ask_store("--model", "m.onnx", "--false_accept", "0.1") == 2
    assert "--threshold_of RUN" in capsys.readouterr().err
