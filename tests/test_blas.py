"""The BLAS guard: only where NumPy's OpenBLAS is known to choose badly, never over a user."""

import platform
import subprocess
import sys

import pytest

from mtn_core import blas
from mtn_core.blas import CORETYPE_VARIABLE, guard_blas, read_processor, runnable_kernels

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="needs a GPU or x86: the guard is for x86-64 only"
)
OLD = "fpu sse sse2 pni ssse3 sse4_1 sse4_2 popcnt"
AVX2 = f"{OLD} avx f16c fma avx2 bmi1 bmi2"
AVX512 = f"{AVX2} avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni"
AMX = f"{AVX512} avx512_bf16 amx_bf16 amx_tile amx_int8"


def cpuinfo(vendor, family, model, flags, name="some processor"):
    entry = (
        f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
        f"model name\t: {name}\nstepping\t: 2\nflags\t\t: {flags}\nbugs\t\t: spectre_v1\n"
    )
    return f"{entry}\n{entry.replace('processor	: 0', 'processor	: 1')}\n"


EMERALD_RAPIDS = cpuinfo("GenuineIntel", 6, 207, AMX)
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\n\n"


@pytest.fixture(autouse=True)
def before_numpy(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


def kernel(text, version="1.26.4", **environ):
    environ = dict(environ)
    changed = guard_blas(environ, text, version)
    assert changed == (CORETYPE_VARIABLE in environ)
    return environ.get(CORETYPE_VARIABLE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (EMERALD_RAPIDS, "SkylakeX"),
        (cpuinfo("GenuineIntel", 6, 207, AVX512), "SkylakeX"),  # as some clouds show it
        (cpuinfo("GenuineIntel", 6, 207, AVX2), "Haswell"),  # AVX-512 hidden by a hypervisor
        (cpuinfo("GenuineIntel", 6, 183, AVX2), "Haswell"),  # Raptor Lake
        (cpuinfo("GenuineIntel", 6, 207, OLD), None),  # nothing better to name
        (cpuinfo("GenuineIntel", 6, 143, AMX), None),  # Sapphire Rapids: known
        (cpuinfo("GenuineIntel", 6, 173, AMX), None),  # Granite Rapids: chosen by its flags
        (cpuinfo("GenuineIntel", 6, 85, AVX512), None),  # Skylake-X: known
        (cpuinfo("GenuineIntel", 6, 42, f"{OLD} avx"), None),  # Sandy Bridge: known
        (cpuinfo("AuthenticAMD", 25, 17, f"{AVX512} avx512_bf16"), None),  # Zen 4
        (cpuinfo("AuthenticAMD", 26, 2, f"{AVX512} avx512_bf16"), None),  # Zen 5
        (ARM, None),
        ("", None),
        ("flags\nmodel : many\n", None),
    ],
)
def test_only_processors_that_the_library_mistakes_get_a_kernel(text, expected):
    assert kernel(text) == expected


@pytest.mark.parametrize("version", ["2.0.0", "2.4.6"])
def test_the_openblas_of_numpy_2_chooses_by_itself(version):
    assert kernel(EMERALD_RAPIDS, version) is None


@pytest.mark.parametrize("value", ["Haswell", ""])
def test_a_users_setting_wins(value):
    environ = {CORETYPE_VARIABLE: value}
    assert not guard_blas(environ, EMERALD_RAPIDS, "1.26.4")
    assert environ == {CORETYPE_VARIABLE: value}


def test_it_is_too_late_once_numpy_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", object())
    assert kernel(EMERALD_RAPIDS) is None


def test_other_systems_and_machines_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert kernel(EMERALD_RAPIDS) is None
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert kernel(EMERALD_RAPIDS) is None


def test_numpy_need_not_be_installed(monkeypatch):
    def absent(name):
        raise blas.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(blas.metadata, "version", absent)
    assert not guard_blas({}, EMERALD_RAPIDS)


def test_the_first_processor_is_read(monkeypatch, tmp_path):
    other = cpuinfo("AuthenticAMD", 25, 17, OLD, name="second")
    path = tmp_path / "cpuinfo"
    path.write_text(EMERALD_RAPIDS.partition("\n\n")[0] + "\n\n" + other)
    monkeypatch.setattr(blas, "CPUINFO", path)
    found = read_processor()
    assert found == read_processor(EMERALD_RAPIDS)
    assert (found.vendor, found.family, found.model) == ("GenuineIntel", 6, 207)
    assert "amx_tile" in found.flags
    monkeypatch.setattr(blas, "CPUINFO", tmp_path / "absent")
    assert read_processor() == blas.Processor()


def test_kernels_that_a_processor_can_run():
    assert runnable_kernels(read_processor(cpuinfo("GenuineIntel", 6, 26, OLD))) == [
        "Prescott",
        "Nehalem",
    ]
    zen4 = read_processor(cpuinfo("AuthenticAMD", 25, 17, f"{AVX512} avx512_bf16"))
    assert set(blas.KERNELS) - set(runnable_kernels(zen4)) == {"SapphireRapids"}
    assert runnable_kernels(read_processor(ARM)) == []


@pytest.mark.parametrize(
    "entry",
    [
        "import mtn_core",
        "from mtn_core.metrics.retrieval import evaluate",
        "from mtn_core.environment import guard_environment",
        "import runpy\ntry:\n    runpy.run_module('mtn_core', run_name='__main__')\n"
        "except SystemExit:\n    pass",
    ],
)
def test_numpy_is_loaded_after_the_variable_is_set_whatever_comes_first(entry, tmp_path):
    """In a process of its own, on a processor and a NumPy that need it, seen from a child."""
    path = tmp_path / "cpuinfo"
    path.write_text(EMERALD_RAPIDS)
    program = f"""
import os, pathlib, subprocess, sys
from importlib import metadata
os.environ.pop("{CORETYPE_VARIABLE}", None)
original_open, original_version = pathlib.Path.open, metadata.version
def opened(self, *args, **kwargs):
    real = pathlib.Path({str(path)!r}) if str(self) == "/proc/cpuinfo" else self
    return original_open(real, *args, **kwargs)
pathlib.Path.open = opened
metadata.version = lambda name: "1.26.4" if name == "numpy" else original_version(name)
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print("numpy sees", os.environ.get("{CORETYPE_VARIABLE}"), file=sys.stderr)
sys.meta_path.insert(0, Watch())
sys.argv = ["mtn", "--version"]
{entry}
import numpy
subprocess.run([sys.executable, "-c", "import os; print(os.environ['{CORETYPE_VARIABLE}'])"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "numpy sees SkylakeX" in done.stderr, done.stderr
    assert "SkylakeX" in done.stdout.splitlines(), done.stdout + done.stderr
