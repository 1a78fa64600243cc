"""A small task that trains in milliseconds, for tests of the loop around it."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mtn_core.engine.task import Score
from mtn_core.engine.train import TrainingLoop
from mtn_core.runs import RunFolder


class ToyForward(nn.Cell):
    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, x, y):
        difference = self.network(x) - y
        loss = (difference * difference).mean()
        return loss, ops.stack((loss, difference.mean()))


class ToyLoader:
    """Batches that follow from (epoch, step) alone."""

    def __init__(self, num_steps=4, poison=None):
        self.num_steps, self.poison = num_steps, poison
        self.epoch = self.start = 0
        self.closed = False

    def set_epoch(self, epoch, start_step=0):
        self.epoch, self.start = epoch, start_step

    def __len__(self):
        return self.num_steps

    def __iter__(self):
        for step in range(self.start, self.num_steps):
            rng = np.random.default_rng([self.epoch, step])
            x = rng.normal(size=(4, 6)).astype(np.float32)
            y = x[:, :2] * 2
            if (self.epoch, step) == self.poison:
                x[0, 0] = np.nan
            yield {"x": x, "y": y, "index": np.arange(4) + 4 * step}

    def close(self):
        self.closed = True


class ToyTask:
    kind = "toy"
    part_names = ("loss_square", "bias")
    score_name = "score"
    metric_names = ("quality",)

    def __init__(self, scores=None, **loader):
        ms.set_seed(1)
        self.network = nn.SequentialCell([nn.Dense(6, 8), nn.ReLU(), nn.Dense(8, 2)])
        self.forward = ToyForward(self.network)
        self.loader = ToyLoader(**loader)
        self.scores = iter(scores or [])

    def inputs(self, batch):
        return [batch["x"], batch["y"]]

    def image_names(self, batch):
        return [f"image-{i}.jpg" for i in batch["index"]]

    def backbone_parameters(self):
        return list(self.network[0].trainable_params())

    def meta(self):
        return {"model": {}, "pids": []}

    def evaluate(self, weights):
        score = next(self.scores, None)
        return None if score is None else Score(score, {"quality": score})


def fit(task, config, folder, device, *, resume=False, echo=None):
    """Train a task without the claims and checks of a run."""
    loop = TrainingLoop(task, config, RunFolder(folder), device, echo)
    try:
        return loop.run(resume)
    finally:
        loop.close()
