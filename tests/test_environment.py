"""The guards: before the import, never over a user's own setting; oneDNN's on CPU only."""

import platform
import subprocess
import sys

import pytest

from mtn_core.environment import (
    DEVICE_VARIABLE,
    LOG_VARIABLE,
    ONEDNN_VARIABLE,
    guard_environment,
    guard_onednn,
)

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="needs a GPU or x86: oneDNN is x86 only"
)


@pytest.fixture(autouse=True)
def without_mindspore(monkeypatch):
    monkeypatch.delitem(sys.modules, "mindspore", raising=False)


def test_affected_release_on_cpu_is_guarded():
    environ = {}
    assert guard_onednn("CPU", environ, "2.10.0")
    assert environ == {ONEDNN_VARIABLE: "AVX2"}


@pytest.mark.parametrize("version", ["2.7.2", "2.8.0"])
def test_unaffected_release_is_left_alone(version):
    environ = {}
    assert not guard_onednn("CPU", environ, version)
    assert environ == {}


@pytest.mark.parametrize("target", ["GPU", "Ascend"])
def test_accelerators_are_left_alone(target):
    environ = {}
    assert not guard_onednn(target, environ, "2.9.0")
    assert not guard_onednn(None, environ | {DEVICE_VARIABLE: target}, "2.9.0")
    assert environ == {}


@pytest.mark.parametrize("name", [ONEDNN_VARIABLE, "DNNL_MAX_CPU_ISA"])
def test_a_users_setting_wins(name):
    environ = {name: "AVX512_CORE"}
    assert not guard_onednn("CPU", environ, "2.9.0")
    assert environ == {name: "AVX512_CORE"}


def test_it_is_too_late_after_the_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "mindspore", object())
    environ = {}
    assert not guard_onednn("CPU", environ, "2.9.0")
    assert environ == {}


@pytest.mark.parametrize(("before", "after"), [({}, "3"), ({LOG_VARIABLE: "1"}, "1")])
def test_mindspores_warnings_are_silenced_unless_the_user_wants_them(before, after):
    environ = dict(before)
    guard_environment(environ)
    assert environ[LOG_VARIABLE] == after


def test_importing_the_package_sets_the_variable_before_mindspore_is_imported():
    program = """
import importlib.metadata as metadata, os, sys
original = metadata.version
metadata.version = lambda name: "2.10.0" if name == "mindspore" else original(name)
os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
os.environ["MTN_DEVICE_TARGET"] = "CPU"
import mtn_core
assert "mindspore" not in sys.modules
print(os.environ["ONEDNN_MAX_CPU_ISA"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "AVX2"


def test_analysis_modules_never_import_mindspore():
    program = """
import pkgutil, importlib, sys
import mtn_core.metrics, mtn_core.viz, mtn_core.report
for package in (mtn_core.metrics, mtn_core.viz, mtn_core.report):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
import mtn_core.results, mtn_core.cli, mtn_core.config
mtn_core.cli.create_parser()
assert "mindspore" not in sys.modules, "mindspore was imported"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
