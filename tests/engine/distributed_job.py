"""Run under msrun by test_distributed.py: python -m distributed_job KIND FOLDER [ROOT]."""

import os
import signal
import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np

from mtn_core.config import ModelConfig, load_config
from mtn_core.device import setup_device


def joint_batch(model, count, seed=0):
    rng = np.random.default_rng(seed)
    size = model.image_size
    return [
        rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        (rng.random((count, 108)) - 0.5).astype(np.float32),
        np.repeat(np.arange(count // 2), 2).astype(np.int32),
        rng.integers(0, 10, count).astype(np.int32),
        rng.integers(0, 9, count).astype(np.int32),
    ]


def gradients(device, inputs):
    """Gradient of the whole network by name; batch norm uses its stored statistics."""
    from mtn_core.engine.multitask import LossOnPixels
    from mtn_core.engine.step import GradientCell
    from mtn_core.losses import MultiTaskLoss
    from mtn_core.models.multitask import MultiTaskNet

    ms.set_seed(3)
    model = ModelConfig(image_size=32, num_ids=4)
    # The triplet loss looks for pairs inside one rank's batch, so it is left out here.
    loss = MultiTaskLoss(load_config("seed", {"loss.triplet_weight": 0}).loss)
    network = MultiTaskNet(model)
    weights = list(network.trainable_params())
    cell = GradientCell(LossOnPixels(network, loss), weights, device.rank_size > 1)
    cell.set_train(False)
    _, _, _, values = cell(ms.Tensor(1.0, ms.float32), *(ms.Tensor(a) for a in inputs))
    return {w.name: v.asnumpy() for w, v in zip(weights, values, strict=True)}


def embed(device, root, split):
    from mtn_core.data.source import open_source
    from mtn_core.data.split import load_split
    from mtn_core.predict.backend import embed_split
    from mtn_core.predict.mindspore import MindSporeBackend

    ms.set_seed(3)
    backend = MindSporeBackend(ModelConfig(image_size=32, num_ids=4), device)
    source = open_source(load_split(root, split), heatmaps=False, segments=False)
    return embed_split(backend, source, batch_size=16).features


def wait_in_vain(folder):
    """What a rank does whose partner is gone; to come to the end of it is to be left alone."""
    time.sleep(300)
    (folder / "waited").touch()


def main():
    kind, folder = sys.argv[1], Path(sys.argv[2])
    device = setup_device("CPU", distribute=True)
    if kind == "gradient":
        inputs = joint_batch(ModelConfig(image_size=32), 8)
        mine = slice(4 * device.rank, 4 * device.rank + 4)
        values = gradients(device, [a[mine] for a in inputs])
        np.savez(folder / f"gradient{device.rank}.npz", **values)
    elif kind == "embed":
        for split in ("query", "test"):
            features = embed(device, sys.argv[3], split)
            np.save(folder / f"{split}{device.rank}.npy", features)
    elif kind == "die":
        if device.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        wait_in_vain(folder)
    elif kind == "raise":
        if device.rank == 1:
            raise ValueError("rank 1 has had enough")
        wait_in_vain(folder)


if __name__ == "__main__":
    main()
