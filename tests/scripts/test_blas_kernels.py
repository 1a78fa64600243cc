"""The script that tests each kernel fails when a test fails, and names what it could not run."""

import importlib.util
import sys

import pytest

from mtn_core import blas


@pytest.fixture
def script(repository, monkeypatch):
    path = repository / "scripts" / "test_blas_kernels.py"
    spec = importlib.util.spec_from_file_location("blas_kernels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def kernels():
    found = blas.runnable_kernels(blas.read_processor())
    if len(found) < 2:
        pytest.skip("needs a GPU or x86: one kernel or none")
    return found


def run(script, monkeypatch, tests, *arguments):
    monkeypatch.setattr(script, "TESTS", tuple(map(str, tests)))
    monkeypatch.setattr(sys, "argv", ["test_blas_kernels.py", "--threads", "1", *arguments])
    return script.main()


def test_a_failure_on_one_kernel_is_a_failure(script, kernels, monkeypatch, tmp_path, capsys):
    test = tmp_path / "test_it.py"
    test.write_text(
        "import os\n"
        "def test_it():\n"
        "    from threadpoolctl import threadpool_info\n"
        "    used = {p['architecture'] for p in threadpool_info() if 'architecture' in p}\n"
        f"    assert os.environ['OPENBLAS_CORETYPE'] in used - {{'{kernels[1]}'}}\n"
    )
    assert run(script, monkeypatch, [test], "--kernels", *kernels[:2]) == 1
    output = capsys.readouterr()
    assert f"{kernels[0]}, 1 threads: 1 passed" in output.out
    assert output.err.strip() == f"failed: {kernels[1]}, 1 threads"


def test_kernels_that_cannot_run_are_named_and_do_not_count(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "runnable_kernels", lambda processor: ["Prescott"])
    assert run(script, monkeypatch, [], "--kernels", "SkylakeX") == 1
    assert "SkylakeX: not run, this processor lacks its instructions" in capsys.readouterr().out


def test_a_kernel_that_the_library_does_not_take_does_not_count(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "run_tests", lambda kernel, threads: (77, "Zen, 1 threads"))
    monkeypatch.setattr(script, "runnable_kernels", lambda processor: ["Haswell"])
    assert run(script, monkeypatch, [], "--kernels", "Haswell") == 1
    assert "not run, NumPy's library took Zen" in capsys.readouterr().out
