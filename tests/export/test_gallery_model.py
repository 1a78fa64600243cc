"""A real exported network embeds a crop for a gallery as its checkpoint does."""

import numpy as np
import pytest

from mtn_core.errors import DataError
from mtn_core.gallery.embedder import load_embedder
from mtn_core.gallery.records import Batch
from mtn_core.gallery.store import Gallery

pytest.importorskip("lancedb")


def test_export_and_checkpoint_fill_one_gallery(exported, tmp_path):
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (40 + i, 60, 3), np.uint8) for i in range(3)]
    (file,) = [f for f in exported.folder.glob("*.onnx") if "pixels" not in f.name]
    by_onnx = load_embedder(file, without_pose=True)
    by_checkpoint = load_embedder(exported.checkpoint, without_pose=True)
    assert by_onnx.sha256 == by_checkpoint.sha256 and by_onnx.input == by_checkpoint.input
    assert by_onnx.dimension == by_checkpoint.dimension
    assert by_onnx.color_names == by_checkpoint.color_names
    one, other = by_onnx.embed(crops), by_checkpoint.embed(crops)
    scale = np.abs(one.features).max()
    np.testing.assert_allclose(one.features, other.features, atol=1e-4 * max(1, scale))
    np.testing.assert_allclose(one.color_probabilities, other.color_probabilities, atol=1e-3)
    assert one.colors == other.colors and one.types == other.types

    gallery = Gallery.create(tmp_path / "city", by_onnx.new_info(tmp_path))
    hashes = [f"{i:064x}" for i in range(3)]
    names = [f"{i}.jpg" for i in range(3)]
    gallery.add(Batch(by_onnx.sha256, names, hashes, one.features))
    for number, hits in enumerate(gallery.search(other.features, top=1)):
        assert hits[0].name == names[number] and hits[0].distance < 1e-3 * scale * 32
    with pytest.raises(DataError, match="distances mean nothing"):
        gallery.check_model("0" * 64, None, "another")
