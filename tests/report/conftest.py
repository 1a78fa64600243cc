"""Fixtures: made-up run folders, see ``tests/report/fake_run.py``."""

import importlib.util
import sys
from pathlib import Path

import pytest

from mtn_core.report import write_report

_FILE = Path(__file__).resolve().parents[1] / "report" / "fake_run.py"
_SPEC = importlib.util.spec_from_file_location("fake_run", _FILE)
fake_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake_run)


@pytest.fixture(scope="session")
def markup_name():
    """A crop's file name that is full of markup."""
    return fake_run.MARKUP_NAME


@pytest.fixture(scope="session")
def write_run():
    """Writes a made-up run folder."""
    return fake_run.write_run


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    """A run with drawn crops; read-only for the tests."""
    return fake_run.write_run(tmp_path_factory.mktemp("run") / "runs" / "good")


@pytest.fixture(scope="session")
def other_run_dir(run_dir):
    """A worse run on the same data; read-only for the tests."""
    data = run_dir.parent / "data"
    return fake_run.write_run(run_dir.parent / "worse", root=data, seed=1, spread=2.0)


@pytest.fixture(scope="session")
def page(run_dir, tmp_path_factory):
    """The report of the run; read-only for the tests."""
    return write_report([run_dir], tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="session")
def comparison(run_dir, other_run_dir, tmp_path_factory):
    """The report of both runs; read-only for the tests."""
    out = tmp_path_factory.mktemp("report") / "comparison.html"
    return write_report([run_dir, other_run_dir], out)


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def visit():
    """Opens a page in headless Chromium."""
    browser_page = _load("browser_page")
    if browser_page.PROGRAM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    return browser_page.visit
