"""Python's packages, the BLAS kernel and its measurement."""

import importlib.metadata

import pytest

from mtn_core.blas import CORETYPE_VARIABLE, Processor
from mtn_core.doctor import processor
from mtn_core.doctor.processor import check_blas, check_python, measure_product

ABLE = Processor(flags=frozenset(["pni", "sse4_2", "avx", "avx2", "fma"]))


@pytest.fixture
def kernel(monkeypatch):
    def use(name):
        np = pytest.importorskip("numpy")
        pool = {
            "user_api": "blas",
            "internal_api": "openblas",
            "filepath": np.__path__[0] + ".libs/libopenblas.so",
            "version": "0.3.23.dev",
            "architecture": name,
            "num_threads": 3,
        }
        other = pool | {"filepath": "/opt/scipy.libs/libopenblas.so", "architecture": "Zen"}
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [other, pool])
        monkeypatch.setattr(processor, "measure_product", lambda: 50.4)
        monkeypatch.setattr(processor, "read_processor", lambda: ABLE)
        monkeypatch.delenv(CORETYPE_VARIABLE, raising=False)

    return use


def test_the_kernel_is_numpys_own_and_measured(kernel):
    kernel("Haswell")
    finding = check_blas()
    assert finding.state == "ok"
    assert "kernel Haswell, 3 threads: 50 GFLOP/s in float32" in finding.found
    assert finding.figures == {"kernel": "Haswell", "threads": 3, "gflops": 50.4}


def test_a_kernel_below_the_processor_is_poor_and_mended(kernel, monkeypatch):
    kernel("Prescott")
    assert (check_blas().state, check_blas().mend) == (
        "poor",
        (f"export {CORETYPE_VARIABLE}=Haswell",),
    )
    monkeypatch.setenv(CORETYPE_VARIABLE, "Prescott")
    assert check_blas().mend == (f"unset {CORETYPE_VARIABLE}, which is Prescott",)


def test_an_old_processor_has_its_own_kernel(kernel, monkeypatch):
    kernel("Nehalem")
    monkeypatch.setattr(processor, "read_processor", lambda: Processor(flags=frozenset(["pni"])))
    assert check_blas().state == "ok"


def test_a_product_is_measured():
    assert 0.01 < measure_product(64, 0.01) < 1e5


def test_packages_that_are_not_there_are_named(monkeypatch):
    def version(name):
        if name in ("papermill", "torch"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(
        importlib.metadata,
        "requires",
        lambda name: ["papermill>=2.6", "numpy>=1", "mindspore>=2", 'torch; extra == "convert"'],
    )
    finding = check_python()
    assert (finding.state, finding.lacks) == ("missing", ("packages: papermill",))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1")
    assert check_python().state == "ok"


def test_a_python_without_wheels_is_missing(monkeypatch):
    monkeypatch.setattr(processor.sys, "version_info", (3, 14, 0))
    assert check_python().state == "missing"
