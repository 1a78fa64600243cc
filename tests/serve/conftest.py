"""The page of a made-up gallery, asked without a network, and with a browser."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed (mtn_core[serve])")
pytest.importorskip("httpx", reason="httpx is not installed (dev)")

from fastapi.testclient import TestClient

from mtn_core.results.threshold import Threshold
from mtn_core.serve.app import create_app
from mtn_core.serve.guard import Access
from mtn_core.serve.service import SearchService
from mtn_core.serve.uploads import UploadDecoder, UploadLimits

LIMITS = UploadLimits(bytes=300_000, pixels=200_000, crops=3)


@pytest.fixture(scope="session")
def service(car_gallery, fake_gallery):
    with UploadDecoder(LIMITS) as decoder:
        yield SearchService(car_gallery, fake_gallery.make_embedder(), decoder, Threshold(1.0))


@pytest.fixture(scope="session")
def make_client(service):
    """A client of the page; on loopback unless there is a token."""

    def make(token=None, host="127.0.0.1:8000", **options):
        app = create_app(service, Access(token, LIMITS.bytes))
        return TestClient(app, base_url=f"http://{host}", **options)

    return make


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture(scope="session")
def crop_file(car_gallery):
    """The bytes of a crop of the gallery, by name."""
    folder = car_gallery.path.parent / "crops"
    return lambda name: (folder / name).read_bytes()


@pytest.fixture(scope="session")
def visit():
    """Opens the page in headless Chromium."""
    spec = importlib.util.spec_from_file_location(
        "browser_visit", Path(__file__).with_name("browser_visit.py")
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["browser_visit"] = module
    spec.loader.exec_module(module)
    if module.PROGRAM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    return module.visit
