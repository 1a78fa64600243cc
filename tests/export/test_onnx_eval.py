"""`mtn eval-onnx` gives the table of `mtn eval`; the whole ONNX side runs without MindSpore."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mtn_core.cli import main
from mtn_core.predict.backend import embed_split
from mtn_core.predict.evaluate import compare, evaluate_into_run, open_evaluation
from mtn_core.predict.onnx import OnnxModel
from mtn_core.results import RetrievalResult


@pytest.fixture(scope="module")
def reference(device, exported, smoke_root):
    """What `mtn eval` says of the checkpoint."""
    return evaluate_checkpoint(exported.checkpoint, smoke_root, device)


def evaluate_checkpoint(path, root, device):
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.predict.mindspore import MindSporeBackend

    backend = MindSporeBackend.of_checkpoint(load_checkpoint(path), device)
    return compare(backend, open_evaluation(root, backend.model))


def embed_query(path, root):
    model = OnnxModel(path)
    return embed_split(model, open_evaluation(root, model.model)[0])


def test_table_equals_that_of_the_checkpoint(exported, smoke_root, reference, tmp_path, capsys):
    path = exported.folder / "MultiTask_export_segment.onnx"
    arguments = ["--root", str(smoke_root), "--onnx_path", str(path), "--out", str(tmp_path / "r")]
    assert main(["eval-onnx", *arguments, "--segmentaware", "--batch_size", "7"]) == 0
    assert capsys.readouterr().out.strip() == reference.format_table().strip()
    saved = RetrievalResult.load(tmp_path / "r")
    assert saved.mAP == reference.mAP
    assert saved.protocol == reference.protocol
    assert saved.provenance["backend"] == "onnxruntime"
    assert saved.provenance["checkpoint_sha256"] == reference.provenance["checkpoint_sha256"]
    assert saved.provenance["config_sha256"] == "c" * 64
    for split in ("query", "gallery"):
        np.testing.assert_allclose(
            getattr(saved, split).features, getattr(reference, split).features, atol=1e-4
        )
    assert (tmp_path / "r" / "config.yaml").is_file()
    assert (tmp_path / "r" / "environment.json").is_file()
    # A second time into the same folder
    assert main(["eval-onnx", *arguments]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_pixels_file_gives_the_same(exported, smoke_root, reference):
    model = OnnxModel(exported.folder / "MultiTask_export_segment_pixels.onnx")
    result = compare(model, open_evaluation(smoke_root, model.model))
    assert result.mAP == pytest.approx(reference.mAP, abs=1e-3)
    np.testing.assert_allclose(result.query.features, reference.query.features, atol=1e-4)


def test_class_counts_come_from_the_model(tools, tmp_path, smoke_root):
    """Property 30: a model with other class counts is evaluated as it is."""
    spec = tools.write_export(
        tmp_path, tools.make_spec(embedding=12, num_colors=11, num_types=14, num_ids=3)
    )
    embeddings = embed_query(tmp_path / "tiny.onnx", smoke_root)
    assert embeddings.color_logits.shape == (len(embeddings), 11)
    assert embeddings.type_logits.shape == (len(embeddings), 14)
    assert embeddings.features.shape == (len(embeddings), spec.width("embedding"))


def test_a_network_without_attributes_names_no_class(tools, tmp_path, smoke_root):
    tools.write_export(tmp_path, tools.make_spec(attributes=False))
    embeddings = embed_query(tmp_path / "tiny.onnx", smoke_root)
    assert embeddings.color_logits.shape == (len(embeddings), 0)


def test_flags_and_folders(tiny_export, smoke_root, tmp_path, capsys):
    arguments = ["eval-onnx", "--root", str(smoke_root), "--out", str(tmp_path / "r")]
    arguments += ["--onnx_path", str(tiny_export.path)]
    assert main([*arguments, "--heatmapaware"]) == 2
    assert "--heatmapaware False, but --heatmapaware True" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "results.json").write_text("{}")
    assert main(arguments) == 1
    assert "already holds a run (results.json)" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--batch_size", "0"])
    assert "--batch_size: expected 1 to 4096, got 0" in capsys.readouterr().err


_WITHOUT_MINDSPORE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mindspore":
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)

sys.meta_path.insert(0, Blocker())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.partition(".")[0] == "mindspore" else find(name, package)
)
"""


def run_without_mindspore(code: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT_MINDSPORE + code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TQDM_DISABLE": "1"},
        check=False,
    )


def test_evaluation_without_mindspore(exported, smoke_root, reference, tmp_path):
    # model.json stays behind: the ONNX file alone is what is deployed.
    path = shutil.copy(exported.folder / "MultiTask_export_segment.onnx", tmp_path / "model.onnx")
    done = run_without_mindspore(
        "from mtn_core.cli import main; sys.exit(main(sys.argv[1:]))",
        *("eval-onnx", "--root", str(smoke_root), "--onnx_path", str(path)),
        *("--out", str(tmp_path / "r")),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == reference.format_table().strip()


@pytest.fixture(scope="module")
def saved_run(exported, smoke_root, tmp_path_factory):
    """A run folder that the exported file was evaluated into."""
    out = tmp_path_factory.mktemp("saved") / "run"
    model = OnnxModel(exported.folder / "MultiTask_export_segment_pixels.onnx")
    evaluate_into_run(model, open_evaluation(smoke_root, model.model), out)
    return out


def test_search_without_mindspore(exported, smoke_root, saved_run, repository, tmp_path):
    """A gallery crop is asked with its pose; a copy elsewhere has none, which must be meant."""
    from mtn_core.data.split import load_split

    crop = load_split(smoke_root, "test").image_path(5)
    arguments = ["--run", str(saved_run), "--top", "3", "--root", str(smoke_root)]
    arguments += ["--onnx_path", str(exported.folder / "MultiTask_export_segment_pixels.onnx")]
    arguments += ["--same_camera", "--format", "json"]
    script = str(repository / "scripts" / "search_onnx.py")
    code = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = run_without_mindspore(code, script, "--image", str(crop), *arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["query"]["pose"] == "labels"
    assert answer["left_out"] == ["the same image (1 image)"]
    assert len(answer["hits"]) == 3 and crop.name not in [hit["name"] for hit in answer["hits"]]

    copy = shutil.copy(crop, tmp_path / "crop.jpg")
    done = run_without_mindspore(code, script, "--image", str(copy), *arguments)
    assert done.returncode == 2 and "--pose_onnx FILE" in done.stderr
    done = run_without_mindspore(code, script, "--image", str(copy), "--without_pose", *arguments)
    assert done.returncode == 0, done.stderr
    bare = json.loads(done.stdout)
    assert bare["query"]["pose"] == "none"
    assert bare["hits"][0]["distance"] != answer["hits"][0]["distance"]

    done = run_without_mindspore(code, script, "--image", str(tmp_path / "no.jpg"), *arguments)
    assert done.returncode == 1 and "no.jpg does not exist" in done.stderr


_LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from mtn_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_full_disk(tiny_export, smoke_root, tmp_path):
    """A limit on the size of files stands for a full disk: embeddings do not fit."""
    done = run_without_mindspore(
        _LIMITED,
        *("eval-onnx", "--root", str(smoke_root), "--onnx_path", str(tiny_export.path)),
        *("--out", str(tmp_path / "r")),
    )
    assert done.returncode == 1
    assert f"cannot write to {tmp_path / 'r'}: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "r").exists()


def test_export_without_mindspore_says_what_is_missing(tmp_path):
    done = run_without_mindspore(
        "from mtn_core.cli import main; sys.exit(main(sys.argv[1:]))",
        *("export", "--ckpt_path", "a.ckpt", "--out", str(tmp_path / "out")),
    )
    assert done.returncode == 1
    assert "error: mindspore is not installed" in done.stderr
