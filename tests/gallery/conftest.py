"""Galleries of made-up embeddings."""

import hashlib
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mtn_core.gallery.records import Batch, GalleryInfo, ModelInput
from mtn_core.gallery.store import Gallery

sys.path.insert(0, str(Path(__file__).parent))  # answers
pytest.importorskip("lancedb")
MODEL = "a" * 64
WIDTH = 48
START = datetime(2024, 5, 1, 12)
COLORS, TYPES = ("red", "blue", "o'live"), ("sedan", "bus")


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def make_info(**changes) -> GalleryInfo:
    values = {
        "model_sha256": MODEL,
        "model_name": "tiny.onnx",
        "metric": "cosine",
        "dimension": WIDTH,
        "input": ModelInput(32),
        "color_names": COLORS,
        "type_names": TYPES,
    }
    return GalleryInfo(**(values | changes))


def make_features(start: int, count: int) -> np.ndarray:
    """The same row for a number, whatever batch it is in."""
    rows = [np.random.default_rng(i).normal(size=WIDTH) for i in range(start, start + count)]
    return np.array(rows, np.float32)


def make_batch(start: int, count: int, **changes) -> Batch:
    numbers = range(start, start + count)
    values = {
        "model_sha256": MODEL,
        "names": [f"day/{i:05d}.jpg" for i in numbers],
        "image_sha256": [sha(i) for i in numbers],
        "features": make_features(start, count),
        "cameras": [f"{i % 5 + 1:03d}" if i % 11 else None for i in numbers],
        "times": [START + timedelta(minutes=i) if i % 13 else None for i in numbers],
        "tracks": [f"t{i // 4}" for i in numbers],
        "vehicles": [f"v{i // 8}" for i in numbers],
        "colors": [COLORS[i % 3] for i in numbers],
        "color_confidences": [0.5 + 0.4 * (i % 2) for i in numbers],
        "types": [TYPES[i % 2] for i in numbers],
        "type_confidences": [0.75] * count,
    }
    return Batch(**(values | changes))


@pytest.fixture(scope="session")
def made():
    """The functions above."""
    return SimpleNamespace(
        info=make_info, batch=make_batch, features=make_features, sha=sha, start=START
    )


@pytest.fixture
def gallery(tmp_path):
    """An empty gallery for cosine distances."""
    return Gallery.create(tmp_path / "city", make_info())


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """Three hundred sightings, added in three batches; read-only for the tests."""
    gallery = Gallery.create(tmp_path_factory.mktemp("filled") / "city", make_info())
    for start in (0, 100, 200):
        assert gallery.add(make_batch(start, 100)) == 100
    return gallery
