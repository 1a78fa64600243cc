"""Fixtures that several test modules share."""

import os
from pathlib import Path

import pytest

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
    if path.parent.name not in ("models", "losses") and path.name != "test_loss.py":
        yield
        return
    import mindspore as ms

    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=mode)
