"""`mtn eval-onnx` gives the table of `mtn eval`; the whole ONNX side runs without MindSpore."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mtn_core.cli import main
from mtn_core.errors import ConfigError, RunFolderError
from mtn_core.predict.onnx import OnnxModel
from mtn_core.predict.onnx_eval import embed_split, evaluate_onnx, evaluate_onnx_into_run
from mtn_core.results import RetrievalResult


@pytest.fixture(scope="module")
def reference(device, exported, smoke_root):
    """What `mtn eval` says of the checkpoint."""
    from mtn_core.predict.evaluate import evaluate_checkpoint

    return evaluate_checkpoint(exported.checkpoint, smoke_root, device)


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
    result = evaluate_onnx(
        OnnxModel(exported.folder / "MultiTask_export_segment_pixels.onnx"), smoke_root
    )
    assert result.mAP == pytest.approx(reference.mAP, abs=1e-3)
    np.testing.assert_allclose(result.query.features, reference.query.features, atol=1e-4)


def test_class_counts_come_from_the_model(tools, tmp_path, smoke_root):
    """Property 30: a model with other class counts is evaluated as it is."""
    from mtn_core.data.split import load_split

    spec = tools.write_export(
        tmp_path, tools.make_spec(embedding=12, num_colors=11, num_types=14, num_ids=3)
    )
    embeddings = embed_split(OnnxModel(tmp_path / "tiny.onnx"), load_split(smoke_root, "query"))
    assert embeddings.color_logits.shape == (len(embeddings), 11)
    assert embeddings.type_logits.shape == (len(embeddings), 14)
    assert embeddings.features.shape == (len(embeddings), spec.width("embedding"))


def test_a_network_without_attributes_names_no_class(tools, tmp_path, smoke_root):
    from mtn_core.data.split import load_split

    tools.write_export(tmp_path, tools.make_spec(attributes=False))
    embeddings = embed_split(OnnxModel(tmp_path / "tiny.onnx"), load_split(smoke_root, "query"))
    assert embeddings.color_logits.shape == (len(embeddings), 0)


def test_flags_and_folders(tiny_export, smoke_root, tmp_path):
    with pytest.raises(ConfigError, match="--heatmapaware False, but --heatmapaware True"):
        evaluate_onnx_into_run(tiny_export.path, smoke_root, tmp_path / "r", heatmaps=True)
    assert not (tmp_path / "r").exists()
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "results.json").write_text("{}")
    with pytest.raises(RunFolderError):
        evaluate_onnx_into_run(tiny_export.path, smoke_root, tmp_path / "r")


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
    evaluate_onnx_into_run(
        exported.folder / "MultiTask_export_segment_pixels.onnx", smoke_root, out
    )
    return out


def test_search_without_mindspore(exported, smoke_root, saved_run, repository, tmp_path):
    """A gallery crop, with its pose, finds itself at distance 0; a copy elsewhere has no pose."""
    from mtn_core.data.split import load_split

    crop = load_split(smoke_root, "test").image_path(5)
    arguments = ["--run", str(saved_run), "--top", "3"]
    arguments += ["--onnx_path", str(exported.folder / "MultiTask_export_segment_pixels.onnx")]
    script = str(repository / "scripts" / "search_onnx.py")
    code = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = run_without_mindspore(code, script, "--image", str(crop), *arguments)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[1].split()
    assert first[0] == "1" and float(first[1]) < 1e-3 and first[-1] == crop.name
    assert "has no keypoints" not in done.stderr

    copy = shutil.copy(crop, tmp_path / "crop.jpg")
    done = run_without_mindspore(code, script, "--image", str(copy), *arguments)
    assert done.returncode == 0, done.stderr
    assert "has no keypoints" in done.stderr
    assert float(done.stdout.splitlines()[1].split()[1]) > 1e-3

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
    assert {p.name for p in (tmp_path / "r").iterdir()} == {"config.yaml", "environment.json"}


def test_export_without_mindspore_says_what_is_missing(tmp_path):
    done = run_without_mindspore(
        "from mtn_core.cli import main; sys.exit(main(sys.argv[1:]))",
        *("export", "--ckpt_path", "a.ckpt", "--out", str(tmp_path / "out")),
    )
    assert done.returncode == 1
    assert "error: mindspore is not installed" in done.stderr
