"""Fixtures that several test modules share."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

import mtn_core  # noqa: F401 - sets what NumPy and MindSpore read, before a test loads them

# The same examples on every machine and day: what chance finds becomes an @example.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    # Files with long tests first: the last one alone would keep one of the processes busy.
    long_files = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: item.path not in long_files)
    if config.getoption("--slow") or os.environ.get("CI") == "true":
        return
    skip = pytest.mark.skip(reason="slow: runs in CI and with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real crops and label files that lie beside the checkout on some machines."""
    folder = Path(os.environ.get("MTN_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real sample data does not lie beside this checkout")
    return folder


@pytest.fixture(scope="session")
def smoke_root(tmp_path_factory) -> Path:
    """A SynthVeRi smoke data set; read-only for the tests."""
    from mtn_core.synthveri import write_synthveri

    root = tmp_path_factory.mktemp("synthveri")
    write_synthveri(root, size="smoke", seed=0)
    return root


@pytest.fixture(autouse=True)
def cell_by_cell(request):
    """Networks and losses are tested cell by cell, whatever mode an earlier test left behind."""
    path = Path(request.path)
    if path.parent.name not in ("convert", "losses", "models") and path.name != "test_loss.py":
        yield
        return
    import mindspore as ms

    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=mode)


def _load(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tests" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake_run():
    """Made-up run folders, see ``tests/fake_run.py``."""
    return _load("fake_run")


@pytest.fixture(scope="session")
def fake_gallery():
    """A made-up gallery of drawn crops, see ``tests/fake_gallery.py``."""
    pytest.importorskip("lancedb", reason="lancedb is not installed (mtn_core[gallery])")
    return _load("fake_gallery")


@pytest.fixture(scope="session")
def car_gallery(fake_gallery, tmp_path_factory):
    """Six vehicles at four cameras, two frames each; read-only for the tests."""
    return fake_gallery.write_gallery(tmp_path_factory.mktemp("cars"))


@pytest.fixture(scope="session")
def write_run(fake_run):
    """Writes a made-up run folder."""
    return fake_run.write_run


@pytest.fixture(scope="session")
def run_dir(write_run, tmp_path_factory):
    """A run with drawn crops; read-only for the tests."""
    return write_run(tmp_path_factory.mktemp("run") / "runs" / "good")


@pytest.fixture(scope="session")
def other_run_dir(write_run, run_dir):
    """A worse run on the same data; read-only for the tests."""
    data = run_dir.parent / "data"
    return write_run(run_dir.parent / "worse", root=data, seed=1, spread=2.0)


@pytest.fixture(scope="session")
def markup_name(fake_run):
    """A crop's file name that is full of markup."""
    return fake_run.MARKUP_NAME


@pytest.fixture(scope="session")
def page(run_dir, tmp_path_factory):
    """The report of the run; read-only for the tests."""
    from mtn_core.report import write_report

    return write_report([run_dir], tmp_path_factory.mktemp("report") / "report.html")
