"""MultiTaskNet as a training task, and the training that commands and notebooks call."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from mtn_core.config import Config, with_overrides
from mtn_core.convert.load import load_pretrained
from mtn_core.data.holdout import hold_out
from mtn_core.data.leaks import warn_of_leaks
from mtn_core.data.pipeline import TrainLoader
from mtn_core.data.source import Source, open_source
from mtn_core.data.split import Split, load_split, row_repeats
from mtn_core.device import Device
from mtn_core.engine.shell import train_into_run
from mtn_core.engine.task import Batch, Score
from mtn_core.engine.train import Progress
from mtn_core.errors import ConfigError
from mtn_core.losses import MultiTaskLoss, loss_parts
from mtn_core.models.checkpoint import MULTITASK
from mtn_core.models.multitask import MultiTaskNet
from mtn_core.predict.evaluate import Evaluation, compare, open_evaluation
from mtn_core.predict.mindspore import MindSporeBackend, NetworkOnPixels, batch_inputs

logger = logging.getLogger(__name__)

LABEL_KEYS = ("pid_index", "color_index", "type_index")


class LossOnPixels(nn.Cell):
    """Pixels and labels to the loss and its parts."""

    def __init__(self, network: MultiTaskNet, loss: MultiTaskLoss):
        super().__init__(auto_prefix=False)
        self.pixels = NetworkOnPixels(network)
        self.loss = loss

    def construct(self, *inputs):
        """Pixels, maps, keypoints, then the three labels -> ``(loss, parts)``."""
        outputs = self.pixels(*inputs[:-3])
        return self.loss(*outputs[:4], *inputs[-3:], *outputs[4:])


class MultiTaskTask:
    """MultiTaskNet, its loss, its batches and its retrieval score, for the training loop.

    Args:
        config: Resolved configuration; ``model.num_ids`` is set from the training labels.
        train: Training split, opened; several roots are joined.
        evaluation: Query and gallery, opened, or None to train without evaluation.
        device: Device and rank.
        pre_ckpt_path: Weights to start from.
    """

    kind = MULTITASK
    score_name = "mAP"
    metric_names = ("mAP", "mINP", "rank1", "color_accuracy", "type_accuracy")

    def __init__(
        self,
        config: Config,
        train: Source,
        evaluation: Evaluation | None,
        device: Device,
        pre_ckpt_path: Path | None = None,
    ):
        pids = np.unique(train.split.frame["pid"].to_numpy())
        self.config = with_overrides(config, {"model.num_ids": len(pids)})
        self.device = device
        self.evaluation = evaluation
        self._pids = [int(pid) for pid in pids]
        self._train = train.split
        self._backend: MindSporeBackend | None = None
        self.loader = TrainLoader(
            train,
            config=self.config.data,
            model=self.config.model,
            seed=config.train.seed,
            rank=device.rank,
            rank_size=device.rank_size,
        )
        ms.set_seed(config.train.seed)
        self.network = MultiTaskNet(self.config.model)
        if pre_ckpt_path is not None:
            logger.info("%s", load_pretrained(self.network, pre_ckpt_path))
        pools_parts = self.config.model.pools_parts
        self.part_names = loss_parts(self.config.loss, pools_parts)
        loss = MultiTaskLoss(self.config.loss, pools_parts, len(pids))
        self.forward = LossOnPixels(self.network, loss)

    def inputs(self, batch: Batch) -> Sequence[np.ndarray]:
        """Pixels, maps, keypoints, then the three kinds of labels."""
        return [*batch_inputs(batch, self.config.model), *(batch[key] for key in LABEL_KEYS)]

    def image_names(self, batch: Batch) -> list[str]:
        """File names of a batch."""
        return self._train.frame["name"].iloc[batch["index"]].tolist()

    def backbone_parameters(self) -> list[ms.Parameter]:
        """The convolutional part."""
        return self.network.backbone_parameters()

    def meta(self) -> dict[str, Any]:
        """Model configuration, training ids in class order, and how embeddings are compared."""
        return {
            "model": self.config.model.model_dump(mode="json"),
            "pids": self._pids,
            "metric": self.config.eval.metric,
            "recipe": self.config.recipe,
            "data": self._train.fingerprints,
        }

    def evaluate(self, weights: dict[str, np.ndarray]) -> Score | None:
        """Retrieval and attribute accuracy on query and gallery."""
        if self.evaluation is None:
            return None
        if self._backend is None:
            self._backend = MindSporeBackend(self.config.model, self.device)
        self._backend.load(weights)
        result = compare(
            self._backend,
            self.evaluation,
            self.config.eval,
            num_workers=self.config.data.num_workers,
        )
        return Score(
            result.mAP,
            {
                "mAP": result.mAP,
                "mINP": result.mINP,
                "rank1": float(result.cmc[0]),
                "color_accuracy": result.color_accuracy,
                "type_accuracy": result.type_accuracy,
            },
        )


def train(
    config: Config,
    roots: Sequence[Path],
    out: Path,
    device: Device,
    *,
    eval_root: Path | None = None,
    pre_ckpt_path: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], None] | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> Progress:
    """Train MultiTaskNet into a run folder.

    Args:
        config: Recipe with overrides.
        roots: One or more data roots; with several, their training splits are mixed with
            ``data.weights``.
        out: Run folder.
        device: From :func:`mtn_core.device.setup_device`.
        eval_root: Root whose query and gallery are evaluated; the first of ``roots`` by default.
        pre_ckpt_path: Weights to start from.
        resume: Go on with the run in ``out``.
        overwrite: Write into a folder that already holds a run.
        echo: Receives the seed's line at the end of every epoch.
        on_epoch: Called after every epoch.

    Raises:
        DataError: The data is not what the run needs; nothing was written then.
        RunFolderError: ``out`` holds a run, or has none to resume.
        CheckpointError: Weights that do not fit.
    """
    training, evaluation = open_data(roots, config, eval_root)
    evaluated = None if evaluation is None else evaluation[0].split.root.resolve()
    for part in training.split.parts:
        # Somebody will evaluate on it; where it is evaluated now, that was said already.
        if config.data.val_ids is not None or part.root.resolve() != evaluated:
            warn_of_leaks(part.root, part)
    return train_into_run(
        lambda config: MultiTaskTask(config, training, evaluation, device, pre_ckpt_path),
        config,
        out,
        device,
        roots=[Path(root) for root in roots],
        from_data=["model.num_ids"],
        pre_ckpt_path=pre_ckpt_path,
        resume=resume,
        overwrite=overwrite,
        echo=echo,
        on_epoch=on_epoch,
    )


def open_data(
    roots: Sequence[Path], config: Config, eval_root: Path | None = None
) -> tuple[Source, Evaluation | None]:
    """What is trained on, and what ``best`` is chosen on.

    That is query and gallery of the test, as is the habit on VeRi, or with ``data.val_ids``
    vehicles that are held out of training, or nothing where ``train.eval_every`` is 0.

    Raises:
        DataError: The data is not what the run needs.
        ConfigError: ``data.val_ids`` cannot be held out, or goes with ``eval_root``.
    """
    training = open_training(roots, config)
    if config.data.val_ids is None:
        if not config.train.eval_every:
            return training, None
        evaluation = open_evaluation(eval_root or roots[0], config.model)
        logger.info(
            "best is chosen on the test split of %s, as is the habit on VeRi; --val_ids 0.15 "
            "chooses on held-out training vehicles",
            eval_root or roots[0],
        )
        return training, evaluation
    if eval_root is not None or not config.train.eval_every:
        other = "--eval_root" if eval_root is not None else "train.eval_every=0"
        raise ConfigError(f"data.val_ids chooses what is evaluated in training; leave {other} out")
    parts = hold_out(training.split, config.data.val_ids, config.train.seed)
    maps = {"heatmaps": config.model.heatmaps, "segments": config.model.segments}
    rest, query, gallery = (open_source(part, **maps) for part in parts)
    vehicles = gallery.split.frame["pid"].nunique()
    logger.info("best is chosen on %d vehicles held out of training", vehicles)
    return rest, (query, gallery)


def open_training(roots: Sequence[Path], config: Config) -> Source:
    """The training split of a root, or of several joined; what the network needs is there.

    Raises:
        DataError: Labels, images or maps are missing.
        ConfigError: ``data.weights`` are not one a root.
    """
    splits = [load_split(root, "train") for root in roots]
    split = Split.join(splits)
    row_repeats(split, config.data.weights)
    for part in splits:
        if config.model.keypoints and not part.has_keypoints and len(splits) == 1:
            logger.warning(
                "%s has no keypoints: the network gets %d constant inputs; "
                "--set model.keypoints=false leaves them out",
                part.root,
                3 * part.keypoints.shape[1],
            )
    return open_source(split, heatmaps=config.model.heatmaps, segments=config.model.segments)
