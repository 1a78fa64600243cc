"""Models for the tests of export and 310 inference.

``tiny_export`` is a hand-made network that needs neither training nor MindSpore; ``exported`` is
the real network, small, with random weights, through the whole export.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mindspore  # noqa: F401 - before onnx, whose protobuf it could not share
import numpy as np
import pytest

from mtn_core.config import ModelConfig

sys.path.insert(0, str(Path(__file__).parent))
from tiny_onnx import PIDS, make_onnx, make_spec, write_export

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tools():
    """The functions above, for tests that need a model of their own."""
    return SimpleNamespace(make_spec=make_spec, make_onnx=make_onnx, write_export=write_export)


@pytest.fixture
def tiny_export(tmp_path):
    """``.path`` of the ONNX file and ``.spec`` of a fresh hand-made export."""
    spec = write_export(tmp_path / "tiny_export", make_spec())
    return SimpleNamespace(path=tmp_path / "tiny_export" / "tiny.onnx", spec=spec)


def write_checkpoint(path: Path, metric: str = "cosine", **network) -> Path:
    """A checkpoint of the real network with random weights and lively batch-norm statistics."""
    import mindspore as ms

    from mtn_core.models.checkpoint import network_weights, save_checkpoint
    from mtn_core.models.multitask import MultiTaskNet

    config = ModelConfig(**{"image_size": 64, "num_ids": len(PIDS), **network})
    ms.set_seed(1)
    weights = network_weights(MultiTaskNet(config))
    rng = np.random.default_rng(0)
    for name, value in weights.items():
        if name.endswith("moving_mean"):
            weights[name] = rng.normal(0, 0.1, value.shape).astype(np.float32)
        if name.endswith("moving_variance"):
            weights[name] = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
    meta = {
        "kind": "multitask",
        "model": config.model_dump(mode="json"),
        "pids": list(PIDS),
        "metric": metric,
        "recipe": "smoke",
        "epoch": 2,
        "seed": 4,
        "config_sha256": "c" * 64,
    }
    save_checkpoint(path, weights, meta)
    return path


@pytest.fixture(scope="session")
def device():
    from mtn_core.device import setup_device

    return setup_device("CPU")


@pytest.fixture(scope="session")
def make_checkpoint():
    return write_checkpoint


@pytest.fixture(scope="session")
def exported(device, tmp_path_factory):
    """The real network with segments: ``.checkpoint``, ``.folder``, ``.spec``, ``.lines``."""
    from mtn_core.export.exporter import ExportOptions, export_checkpoint
    from mtn_core.models.checkpoint import load_checkpoint

    folder = tmp_path_factory.mktemp("exported")
    checkpoint = write_checkpoint(folder / "best.ckpt", segments=True)
    lines = []
    spec = export_checkpoint(
        load_checkpoint(checkpoint),
        folder / "files",
        ["MINDIR", "ONNX"],
        device,
        ExportOptions(pixels=True),
        echo=lines.append,
    )
    return SimpleNamespace(checkpoint=checkpoint, folder=folder / "files", spec=spec, lines=lines)


def _lite_or_skip() -> None:
    missing = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed; the C++ program cannot be built")
    found = subprocess.run(
        ["bash", "scripts/fetch_mindspore_lite.sh", "--no-download"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode == 3:
        pytest.skip("MindSpore Lite is not here; run scripts/fetch_mindspore_lite.sh")
    assert found.returncode == 0, found.stderr


def _build(*arguments: str) -> Path:
    _lite_or_skip()
    done = subprocess.run(
        ["bash", "ascend_310_infer/build.sh", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def programs(tmp_path_factory) -> Path:
    """Folder of the built ``main`` and ``convert``."""
    return _build("--out", str(tmp_path_factory.mktemp("programs")))


@pytest.fixture(scope="session")
def sanitized_programs(tmp_path_factory) -> Path:
    """The same with the address and undefined-behaviour sanitizers."""
    return _build("--sanitize", "--out", str(tmp_path_factory.mktemp("sanitized")))
