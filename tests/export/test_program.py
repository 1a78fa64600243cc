import json
import shutil

import numpy as np
import pytest

from mtn_core.export import bench, figures
from mtn_core.export.program import ProgramError, Programs, missing_requirements
from mtn_core.predict.model_json import FileSpec


@pytest.fixture
def source(repository):
    return repository / "ascend_310_infer"


def test_missing_compiler_and_runtime_are_named(source, tmp_path, monkeypatch):
    monkeypatch.setenv("LITE_HOME", str(tmp_path))
    bash = tmp_path / "bin"
    bash.mkdir()
    for tool in ("bash", "dirname", "cat", "uname"):
        (bash / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(bash))
    missing = missing_requirements(source)
    assert missing[:2] == ["cmake (install it)", "g++ (install it)"]
    assert f"LITE_HOME={tmp_path} holds no MindSpore Lite" in missing[2]
    with pytest.raises(ProgramError, match=r"cannot be built: cmake \(install it\)"):
        Programs.build(source)


def test_missing_sources(tmp_path):
    assert f"the sources in {tmp_path}" in missing_requirements(tmp_path)


def test_message_and_exit_code_of_the_program(programs, tmp_path):
    with pytest.raises(ProgramError, match=r"exit code 1: error: cannot read the folder .*/img"):
        Programs(programs).infer(
            tmp_path / "m.mindir", tmp_path, tmp_path / "r", times=tmp_path / "t"
        )


def test_converter_of_the_installation(tmp_path, monkeypatch):
    monkeypatch.setenv("LITE_HOME", "/opt/lite")
    converter = Programs(tmp_path).converter
    assert str(converter) == "/opt/lite/tools/converter/converter/converter_lite"
    (tmp_path / "convert").touch()
    assert Programs(tmp_path).converter == tmp_path / "convert"


def test_speed_in_turn():
    calls = []
    rows = bench.measure(
        {name: lambda n=name: calls.append(n) for name in "ab"}, 4, warmup=1, rounds=2, seconds=0
    )
    assert calls == list("ab" + "aaabbb" * 2)
    assert [(r.backend, r.batch, r.calls) for r in rows] == [("a", 4, 6), ("b", 4, 6)]


def test_worked_speed():
    row = bench.summarise("a", [0.1, 0.2, 0.3, 0.4], batch=8)
    assert row.p50_ms == pytest.approx(250)
    assert row.p95_ms == pytest.approx(385)
    assert row.images_per_s == pytest.approx(32)
    assert json.loads(json.dumps(row.to_dict()))["calls"] == 4


def test_speed_of_the_program(programs, tiny_export, tmp_path):
    inputs = {
        "image": np.zeros((2, 3, 32, 32), np.float32),
        "keypoints": np.zeros((2, 108), np.float32),
    }
    row = bench.measure_program(Programs(programs), tiny_export.path, inputs, tmp_path, calls=5)
    assert (row.backend, row.batch, row.calls) == ("Lite C++", 2, 5)
    assert 0 < row.p50_ms <= row.p95_ms
    assert row.images_per_s > 0


def test_figures(tiny_export):
    import matplotlib.pyplot as plt

    files = {
        "tiny.onnx": tiny_export.spec.files["tiny.onnx"],
        "tiny_int8.onnx": FileSpec(format="ONNX", precision="int8", sha256="0", bytes=1),
    }
    parity = {name: {"embedding": d} for name, d in zip(files, (0.0, 0.2), strict=True)}
    spec = tiny_export.spec.model_copy(update={"files": files, "parity": parity})
    _, axes = plt.subplots(1, 2)
    assert figures.plot_parity(axes[0], spec) is axes[0]
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["int8.onnx", "onnx"]
    assert axes[0].get_xscale() == "log"
    assert figures.plot_speed(axes[1], {"a": 20.0, "b": 10.0}) is axes[1]
    assert [bar.get_width() for bar in axes[1].patches] == [10.0, 20.0]
    plt.close("all")
