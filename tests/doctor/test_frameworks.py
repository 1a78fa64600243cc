"""MindSpore, ONNX Runtime and torch, whole, broken and absent, in processes of their own."""

import os

import pytest

from mtn_core.doctor import frameworks
from mtn_core.doctor.finding import ProbeError, probe
from mtn_core.doctor.frameworks import (
    check_mindspore,
    check_onnxruntime,
    check_torch,
    probe_mindspore,
)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a package in front of the real one."""

    def write(name, code):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(code)
        old = os.environ.get("PYTHONPATH", "")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), old]))

    return write


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('libgomp.so.1: cannot open shared object file')", "libgomp.so.1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4"),
        ("import sys; sys.exit(3)", "exit 3"),
        ("print('hello'); import os; os._exit(0)", "nothing that can be read"),
    ],
)
def test_whatever_breaks_a_package_breaks_its_own_line_alone(fake, code, words):
    for name in ("mindspore", "onnxruntime", "torch"):
        fake(name, code)
    facts = probe_mindspore("CPU")
    for finding in (check_mindspore(facts), check_onnxruntime(), check_torch()):
        assert finding.state == "missing" and words in finding.found
        assert finding.lacks and finding.mend


def test_the_one_dnn_trap_is_named_with_and_without_its_guard():
    assert "without the oneDNN trap" in check_mindspore({"version": "2.8.0"}).found
    trapped = check_mindspore({"version": "2.10.0"})
    assert trapped.state == "poor" and "ONEDNN_MAX_CPU_ISA=AVX2" in trapped.mend[0]
    assert check_mindspore({"version": "2.10.0", "onednn": "AVX2"}).state == "ok"


def test_mindspore_is_asked_as_a_command_for_the_device_would(fake, monkeypatch):
    fake("mindspore", "import os; raise ImportError('for ' + os.environ['MTN_DEVICE_TARGET'])")
    assert probe_mindspore("Ascend")["error"].endswith("for Ascend")


def test_a_cuda_provider_that_does_not_load_says_why(monkeypatch):
    facts = {"version": "1.2", "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
    monkeypatch.setattr(frameworks, "probe", lambda program: facts | {"cuda": "no libcublas"})
    finding = check_onnxruntime()
    assert finding.found == "1.2, providers CUDA, CPU"
    assert finding.lacks == ("for its CUDA provider: no libcublas",)
    monkeypatch.setattr(frameworks, "probe", lambda program: facts)
    assert not check_onnxruntime().lacks


def test_a_probe_must_print_an_object():
    with pytest.raises(ProbeError, match="nothing that can be read"):
        probe("print('[1]')")
    assert probe("print('warning\\n{\"a\": 1}')") == {"a": 1}
