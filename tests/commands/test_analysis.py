import json
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mtn_core.cli import main
from mtn_core.config import ModelConfig
from mtn_core.predict import crop as crop_module
from mtn_core.predict.backend import Outputs
from mtn_core.results import RetrievalResult
from mtn_core.results.search import search


@pytest.fixture(scope="module")
def run_dir(write_run, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run") / "runs" / "good", num_ids=10)


@pytest.fixture
def embed_as(monkeypatch, run_dir):
    """Embeds any crop as a given gallery image is embedded, without a network."""

    def use(row):
        gallery = RetrievalResult.load(run_dir).gallery

        class Backend:
            model = ModelConfig()
            provenance: ClassVar = {}
            rank, rank_size = 0, 1

            @classmethod
            def of_checkpoint(cls, checkpoint, device):
                return cls()

            def embed(self, batch):
                return Outputs(gallery.features[[row]])

            def gather(self, values):
                return values

        fakes = {
            "mtn_core.predict.mindspore": {"MindSporeBackend": Backend},
            "mtn_core.models.checkpoint": {"load_checkpoint": lambda path: None},
            "mtn_core.device": {"setup_device": lambda *arguments: None},
        }
        for name, values in fakes.items():
            fake = type(sys)(name)
            vars(fake).update(values)
            monkeypatch.setitem(sys.modules, name, fake)
        monkeypatch.setattr(crop_module, "find_checkpoint", lambda folder: Path("best.ckpt"))
        monkeypatch.setattr(crop_module, "check_same_network", lambda *arguments: None)
        monkeypatch.setattr(crop_module, "find_labelled", lambda image: None)
        return gallery

    return use


@pytest.fixture
def crop(run_dir):
    return next((run_dir.parent / "data" / "veri" / "image_test").glob("0003*.jpg"))


def test_report_is_written_and_named(run_dir, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["report", str(run_dir), "--out", str(out), "--title", "Night <1>"]) == 0
    assert str(out) in capsys.readouterr().out
    text = out.read_text()
    assert "Night &lt;1&gt;" in text and "Night <1>" not in text


def test_report_of_no_run_fails_and_says_why(tmp_path, capsys):
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "r.html")]) == 1
    assert "no results.json" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_report_without_a_run_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["report", "--out", "r.html"])
    assert stop.value.code == 2


def test_search_prints_a_table(run_dir, crop, embed_as, capsys):
    gallery = embed_as(5)
    assert main(["search", "--run", str(run_dir), "--image", str(crop), "--top", "3"]) == 0
    printed = capsys.readouterr().out
    assert gallery.names[5] in printed
    assert "0.0000" in printed


def test_search_prints_json(run_dir, crop, embed_as, capsys):
    gallery = embed_as(7)
    arguments = ["search", "--run", str(run_dir), "--image", str(crop), "--format", "json"]
    assert main([*arguments, "--top", "4"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["hits"]) == 4
    assert answer["hits"][0]["name"] == gallery.names[7]
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4]


def test_search_writes_a_page_with_pictures(run_dir, crop, embed_as, tmp_path):
    gallery = embed_as(2)
    out = tmp_path / "answers.html"
    arguments = ["search", "--run", str(run_dir), "--image", str(crop), "--format", "html"]
    assert main([*arguments, "--out", str(out), "--top", "6"]) == 0
    text = out.read_text()
    assert text.count("background-image:url(data:image/jpeg") >= 6
    assert f"id {gallery.pids[2]}" in text
    assert "could not be read" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_search_page_needs_a_file(run_dir, crop, capsys):
    assert main(["search", "--run", str(run_dir), "--image", str(crop), "--format", "html"]) == 2
    assert "--out" in capsys.readouterr().err


def test_search_for_a_missing_image_loads_no_network(run_dir, tmp_path, capsys):
    arguments = ["search", "--run", str(run_dir), "--image", str(tmp_path / "no.jpg")]
    assert main(arguments) == 1
    assert "does not exist" in capsys.readouterr().err


def test_search_in_a_folder_without_gallery_fails(tmp_path, crop, capsys):
    assert main(["search", "--run", str(tmp_path), "--image", str(crop)]) == 1
    assert "embeddings_gallery.npz" in capsys.readouterr().err


def test_page_and_table_tell_the_same(run_dir):
    gallery = RetrievalResult.load(run_dir).gallery
    result = search(run_dir, "a.jpg", embedding=gallery.features[0], top=5)
    assert result.hits["distance"].is_monotonic_increasing
    assert np.isclose(result.hits["distance"].iloc[0], 0)
