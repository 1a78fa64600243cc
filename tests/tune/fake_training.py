"""A training that takes no time: scores follow from the values, as if they had been learnt.

Run as a program it works on a study with it, so that a test can start several, or kill one:
``fake_training.py FOLDER TRIALS [END]``, where END is ``TRIAL:EPOCH`` at which the process dies.
"""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import yaml

from mtn_core.config import load_config
from mtn_core.errors import TrainingDivergedError
from mtn_core.tune.search import Search, tune
from mtn_core.tune.space import read_space

SPACE = """
optim.learning_rate: {low: 1e-4, high: 1e-1, log: true}
loss.triplet: [margin, soft]
data.images_per_id: {low: 2, high: 6, step: 2}
"""


def score_of(config, epoch):
    """Best at a learning rate of 1e-2, grows with the epochs."""
    distance = abs(config.optim.learning_rate - 1e-2) / 0.1
    return round((0.8 - 0.5 * distance) * (1 - 0.5**epoch), 6)


class FakeTraining:
    """Stands for ``mtn_core.engine.multitask.train``; keeps the calls that it got."""

    def __init__(self, end="", diverges=lambda config: False, pause=0.0):
        self.end, self.diverges, self.pause, self.calls = end, diverges, pause, []

    def __call__(self, config, roots, out, device, *, resume, overwrite, on_epoch, **_):
        self.calls.append((Path(out).name, resume))
        begin = 0
        if resume:
            begin = len((out / "validation.csv").read_text().splitlines()) - 1
            assert yaml.safe_load((out / "config.yaml").read_text()) == config.model_dump(
                mode="json"
            )
        else:
            (out / "ckpt").mkdir(parents=True, exist_ok=True)
            (out / "validation.csv").write_text("epoch,step,score\n")
            (out / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        best = None
        for epoch in range(begin + 1, config.train.epochs + 1):
            if self.diverges(config):
                raise TrainingDivergedError("loss nan at epoch 1")
            score = score_of(config, epoch)
            with open(out / "validation.csv", "a") as file:
                file.write(f"{epoch},{10 * epoch},{score}\n")
            (out / "ckpt" / "last.ckpt").write_text(str(epoch))
            time.sleep(self.pause)
            if self.end == f"{Path(out).name[-1]}:{epoch}":
                os._exit(9)  # as kill -9 would end it
            on_epoch(epoch)
            best = max(best or 0, score)
        return SimpleNamespace(best_score=best, best_epoch=config.train.epochs)


def search_in(folder, trials, space=SPACE, epochs=4, **options):
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "space.yaml").write_text(space)
    config = load_config("smoke", {"data.val_ids": 0.2, "train.epochs": epochs})
    return Search(
        config=config,
        space=read_space(folder.parent / "space.yaml", config),
        roots=[Path("data")],
        out=folder,
        trials=trials,
        **options,
    )


if __name__ == "__main__":
    folder, trials, *end = sys.argv[1:]
    training = FakeTraining(end=end[0] if end else "", pause=0.05)
    tune(search_in(Path(folder), int(trials)), None, train=training)
