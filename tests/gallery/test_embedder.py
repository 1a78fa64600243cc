"""What a gallery keeps of embeddings with parts."""

from types import SimpleNamespace

import numpy as np

from mtn_core.config import ModelConfig
from mtn_core.gallery.embedder import Embedder
from mtn_core.metrics.covisible import PART_SIZE
from mtn_core.vehicle import NUM_PARTS


def test_of_embeddings_with_parts_a_gallery_keeps_the_global_vectors():
    width = 7 + NUM_PARTS * PART_SIZE + NUM_PARTS

    def embed(batch):
        count = len(batch["image"])
        features = np.tile(np.arange(width, dtype=np.float32), (count, 1))
        logits = np.zeros((count, 3), np.float32)
        return SimpleNamespace(features=features, color_logits=logits, type_logits=logits)

    model = ModelConfig(image_size=32, pose="parts", num_colors=3, num_types=3)
    backend = SimpleNamespace(
        model=model,
        metric="covisible",
        provenance={"checkpoint_sha256": "a" * 64},
        spec=SimpleNamespace(width=lambda name: width),
        embed=embed,
    )
    embedder = Embedder(backend, "parts.onnx", batch_size=2)
    crops = [np.zeros((20, 30, 3), np.uint8)] * 3
    assert embedder.dimension == 7 and embedder.metric == "cosine"
    assert np.array_equal(embedder.embed(crops).features, np.tile(np.arange(7.0), (3, 1)))
    assert embedder.new_info(None).dimension == 7
