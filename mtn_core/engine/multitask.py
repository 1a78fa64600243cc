"""MultiTaskNet as a training task, and the training that commands and notebooks call."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from mtn_core.config import Config, with_overrides
from mtn_core.data.pipeline import TrainLoader
from mtn_core.data.source import open_source
from mtn_core.data.split import Split, load_split
from mtn_core.device import Device
from mtn_core.engine.task import Batch, Evaluation
from mtn_core.engine.train import Progress, fit
from mtn_core.errors import ConfigError
from mtn_core.losses import LOSS_PARTS, MultiTaskLoss
from mtn_core.models.multitask import MultiTaskNet
from mtn_core.predict.evaluate import embed_and_compare, load_evaluation
from mtn_core.predict.mindspore import Embedder, NetworkOnPixels, batch_inputs
from mtn_core.runs import (
    claim_run_folder,
    describe_environment,
    read_resumed_config,
    write_run_context,
)

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
        return self.loss(*outputs, *inputs[-3:])


class MultiTaskTask:
    """MultiTaskNet, its loss, its batches and its retrieval score, for the training loop.

    Args:
        config: Resolved configuration; ``model.num_ids`` is set from the training labels.
        train: Training split, or several joined.
        evaluation: Query and gallery, or None to train without evaluation.
        device: Device and rank.
        pre_ckpt_path: Weights to start from.
    """

    kind = "multitask"
    part_names = LOSS_PARTS
    score_name = "mAP"
    metric_names = ("mAP", "mINP", "rank1", "color_accuracy", "type_accuracy")

    def __init__(
        self,
        config: Config,
        train: Split,
        evaluation: tuple[Split, Split] | None,
        device: Device,
        pre_ckpt_path: Path | None = None,
    ):
        pids = np.unique(train.frame["pid"].to_numpy())
        self.config = with_overrides(config, {"model.num_ids": len(pids)})
        self.device = device
        self.evaluation = evaluation
        self._pids = [int(pid) for pid in pids]
        self._train = train
        self._embedder: Embedder | None = None
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
            from mtn_core.convert.load import load_pretrained

            logger.info("%s", load_pretrained(self.network, pre_ckpt_path))
        self.forward = LossOnPixels(self.network, MultiTaskLoss(self.config.loss))

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
        }

    def evaluate(self, weights: dict[str, np.ndarray]) -> Evaluation | None:
        """Retrieval and attribute accuracy on query and gallery."""
        if self.evaluation is None:
            return None
        if self._embedder is None:
            self._embedder = Embedder(self.config.model, self.device)
        self._embedder.load(weights)
        result = embed_and_compare(self._embedder, *self.evaluation, self.config)
        return Evaluation(
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
    eval_root = eval_root or roots[0]
    training = load_training(roots, config)
    evaluation = None
    if config.train.eval_every:
        evaluation = load_evaluation(eval_root, config)
    if resume:
        config = read_resumed_config(out, config, ["model.num_ids"])
    elif device.is_main:
        claim_run_folder(out, overwrite=overwrite)
    task = MultiTaskTask(config, training, evaluation, device, pre_ckpt_path)
    if device.is_main and not resume:
        write_run_context(
            out,
            task.config,
            environment=describe_environment(**device.to_dict()),
            command="train",
            root=[str(root) for root in roots] if len(roots) > 1 else str(roots[0]),
            device_target=device.target,
            rank_size=device.rank_size,
            pre_ckpt_path=str(pre_ckpt_path) if pre_ckpt_path else None,
        )
    return fit(task, task.config, out, device, resume=resume, echo=echo, on_epoch=on_epoch)


def load_training(roots: Sequence[Path], config: Config) -> Split:
    """The training split of a root, or of several mixed; what the network needs is there.

    Raises:
        DataError: Labels, images or maps are missing.
        ConfigError: ``data.weights`` are not one a root.
    """
    splits = [load_split(root, "train") for root in roots]
    for split in splits:
        open_source(split, heatmaps=config.model.heatmaps, segments=config.model.segments)
        if config.model.keypoints and not split.has_keypoints and len(roots) == 1:
            logger.warning(
                "%s has no keypoints: the network gets %d constant inputs; "
                "--set model.keypoints=false leaves them out",
                split.root,
                3 * split.keypoints.shape[1],
            )
    weights = config.data.weights
    if len(splits) == 1:
        if weights is not None and len(weights) != 1:
            raise ConfigError(f"data.weights has {len(weights)} values for one --root")
        return splits[0]
    if weights is not None and len(weights) != len(splits):
        raise ConfigError(f"data.weights has {len(weights)} values for {len(splits)} roots")
    from mtn_core.data.mixing import mix_splits

    return mix_splits(splits, weights)
