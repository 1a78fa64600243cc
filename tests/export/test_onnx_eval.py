"""`mtn eval-onnx` gives the table of `mtn eval`; the whole ONNX side runs without MindSpore."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mtn_core.cli import main
from mtn_core.errors import ConfigError, RunFolderError
from mtn_core.export.onnx_eval import embed_split, evaluate_onnx, evaluate_onnx_into_run
from mtn_core.export.onnx_session import OnnxModel
from mtn_core.results import RetrievalResult


@pytest.fixture(scope="module")
def reference(device, exported, smoke_root):
    """What `mtn eval` says of the checkpoint."""
    from mtn_core.engine.evaluate import evaluate_checkpoint

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
    from mtn_core.data.veri import load_split

    spec = tools.write_export(
        tmp_path, tools.make_spec(embedding=12, num_colors=11, num_types=14, num_ids=3)
    )
    embeddings = embed_split(OnnxModel(tmp_path / "tiny.onnx"), load_split(smoke_root, "query"))
    assert embeddings.color_logits.shape == (len(embeddings), 11)
    assert embeddings.type_logits.shape == (len(embeddings), 14)
    assert embeddings.features.shape == (len(embeddings), spec.width("embedding"))


def test_a_network_without_attributes_names_no_class(tools, tmp_path, smoke_root):
    from mtn_core.data.veri import load_split

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


def test_a_crop_is_found_without_mindspore(tiny_export, smoke_root, tmp_path):
    evaluate_onnx_into_run(tiny_export.path, smoke_root, tmp_path / "run")
    done = run_without_mindspore(
        """
from mtn_core.data.veri import load_split
from mtn_core.export.onnx_session import OnnxModel
from mtn_core.search import search
model = OnnxModel(sys.argv[1])
split = load_split(sys.argv[2], "test")
pick = model.embed_images([split.image_path(5)], split.keypoints[5:6])
nearest = search(sys.argv[3], embedding=pick[0], top=3).hits.iloc[0]
print(nearest["name"], split.frame["name"][5], nearest["distance"] < 1e-3)
assert "mindspore" not in sys.modules
""",
        str(tiny_export.path),
        str(smoke_root),
        str(tmp_path / "run"),
    )
    assert done.returncode == 0, done.stderr
    found, wanted, close = done.stdout.split()
    assert (found, close) == (wanted, "True")
