"""Fixtures: reports of made-up runs, and a browser to look at them."""

import importlib.util
import sys
from pathlib import Path

import pytest

from mtn_core.report import write_report


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


@pytest.fixture(scope="session")
def devtools():
    """A Chromium that is driven: any width, light or dark."""
    module = _load("devtools")
    if module.PROGRAM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    return module
