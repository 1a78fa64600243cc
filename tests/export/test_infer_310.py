"""scripts/run_infer_310.sh from pixels to the result table, against `mtn eval`."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from mtn_core.export.postprocess import evaluate_results

REPOSITORY_SCRIPT = "scripts/run_infer_310.sh"


def run_script(repository, *arguments, **environment):
    return subprocess.run(
        ["bash", str(repository / REPOSITORY_SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **{k: str(v) for k, v in environment.items()}},
        check=False,
    )


@pytest.mark.slow
def test_chain_equals_the_checkpoint(device, programs, exported, smoke_root, repository, tmp_path):
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.predict.evaluate import compare, open_evaluation
    from mtn_core.predict.mindspore import MindSporeBackend

    backend = MindSporeBackend.of_checkpoint(load_checkpoint(exported.checkpoint), device)
    reference = compare(backend, open_evaluation(smoke_root, backend.model))
    mindir = exported.folder / "MultiTask_export_segment.mindir"
    done = run_script(
        repository, mindir, smoke_root, "y", "CPU", 0, "n", "y", MTN_INFER_DIR=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "acc.log").read_text().strip() == reference.format_table().strip()
    result = evaluate_results(tmp_path / "result_Files", tmp_path / "label")
    for split in ("query", "gallery"):
        found, wanted = getattr(result, split), getattr(reference, split)
        np.testing.assert_allclose(found.features, wanted.features, atol=1e-4)
        np.testing.assert_allclose(found.color_logits, wanted.color_logits, atol=1e-4)
    assert result.mAP == reference.mAP
    np.testing.assert_array_equal(result.cmc, reference.cmc)
    report = json.loads((tmp_path / "time_Result" / "gallery" / "performance.json").read_text())
    assert report["images"] == reference.num_gallery

    # Six arguments, the inputs of before, another batch size: the same table.
    done = run_script(
        repository,
        *(mindir, smoke_root, "n", "CPU", "n", "y"),
        MTN_INFER_DIR=tmp_path,
        MTN_INFER_BATCH=4,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "acc.log").read_text().strip() == reference.format_table().strip()

    # A failing inference fails the script, and the old table does not stand for a result.
    victim = next((tmp_path / "input" / "query" / "img").iterdir())
    victim.write_bytes(b"short")
    done = run_script(
        repository, mindir, smoke_root, "n", "CPU", 0, "n", "y", MTN_INFER_DIR=tmp_path
    )
    assert done.returncode == 1
    assert victim.name in done.stdout + done.stderr
    assert not (tmp_path / "acc.log").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        {"pose": "parts", "metric": "covisible"},
        {"pose": "both", "metric": "covisible", "last_stride": 1},
        {"backbone": "resnet50_ibn_a", "segments": True},
    ],
    ids=["parts", "input-and-parts", "resnet50-ibn-a"],
)
def test_chain_of_other_networks(
    device, programs, make_checkpoint, network, smoke_root, repository, tmp_path
):
    from mtn_core.export.exporter import export_checkpoint
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.predict.evaluate import compare, open_evaluation
    from mtn_core.predict.mindspore import MindSporeBackend

    if "backbone" in network:
        pytest.importorskip("mindcv", reason="MindCV is not installed")
    checkpoint = load_checkpoint(make_checkpoint(tmp_path / "best.ckpt", **network))
    export_checkpoint(checkpoint, tmp_path / "files", ["MINDIR", "ONNX"], device)
    backend = MindSporeBackend.of_checkpoint(checkpoint, device)
    reference = compare(backend, open_evaluation(smoke_root, backend.model))
    assert reference.protocol["metric"] == network.get("metric", "cosine")
    mindir = tmp_path / "files" / "MultiTask_export_segment.mindir"
    done = run_script(
        repository, mindir, smoke_root, "y", "CPU", 0, "n", "y", MTN_INFER_DIR=tmp_path / "work"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = evaluate_results(tmp_path / "work" / "result_Files", tmp_path / "work" / "label")
    # A network with random weights gives embeddings of any size.
    size = np.abs(reference.query.features).max()
    found, wanted = result.query.features / size, reference.query.features / size
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    # They are all alike, too: neighbours whose distances round otherwise change places.
    assert result.mAP == pytest.approx(reference.mAP, abs=1e-3)
    assert result.protocol["metric"] == reference.protocol["metric"]
    assert f"mAP: {100 * result.mAP:.2f}%" in (tmp_path / "work" / "acc.log").read_text()


def test_model_without_its_export(programs, repository, exported, smoke_root, tmp_path):
    shutil.copy(exported.folder / "MultiTask_export_segment.mindir", tmp_path / "a.mindir")
    done = run_script(
        repository,
        *(tmp_path / "a.mindir", smoke_root, "y", "CPU", 0, "n", "y"),
        MTN_INFER_DIR=tmp_path / "work",
    )
    assert done.returncode == 1
    assert "model.json is missing" in done.stderr


def test_maps_that_the_model_does_not_see(repository, exported, smoke_root, tmp_path):
    mindir = exported.folder / "MultiTask_export_segment.mindir"
    done = run_script(
        repository, mindir, smoke_root, "y", "CPU", 0, "y", "y", MTN_INFER_DIR=tmp_path / "work"
    )
    assert done.returncode == 2
    assert "--heatmapaware False, but --heatmapaware True" in done.stderr
