"""PoseEstNet as a training task, and the training that commands and notebooks call."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from mtn_core.device import Device
from mtn_core.engine.shell import train_into_run
from mtn_core.engine.task import Batch, Score
from mtn_core.engine.train import Progress
from mtn_core.errors import ConfigError, DataError
from mtn_core.pose.config import KIND, PoseConfig
from mtn_core.pose.convert import load_pretrained_pose
from mtn_core.pose.loader import PoseTrainLoader
from mtn_core.pose.loss import POSE_LOSS_PARTS, PoseLoss
from mtn_core.pose.metrics import measure_errors
from mtn_core.pose.network import PoseEstNet
from mtn_core.pose.predict import NetworkPredictor, PoseOnPixels, predict_keypoints
from mtn_core.pose.sources import PoseSet, fingerprints
from mtn_core.vehicle import NUM_KEYPOINTS

SCORE_THRESHOLD = 0.1
logger = logging.getLogger(__name__)


class _LossOnPixels(nn.Cell):
    def __init__(self, network: PoseEstNet, loss: PoseLoss):
        super().__init__(auto_prefix=False)
        self.heatmaps = PoseOnPixels(network)
        self.loss = loss

    def construct(self, image, target):
        return self.loss(self.heatmaps(image), target)


class PoseTask:
    """PoseEstNet, its loss, its batches and its PCK, for the training loop.

    Args:
        config: Resolved configuration.
        train: Training sets.
        evaluation: Images whose PCK is measured, or None to train without evaluation.
        device: Device and rank.
        pre_ckpt_path: Weights to start from; a head for other keypoints is left out.

    Raises:
        ConfigError: The network is not one for vehicles.
    """

    kind = KIND
    part_names = POSE_LOSS_PARTS
    score_name = f"pck@{SCORE_THRESHOLD:g}"
    metric_names = (score_name, f"{score_name}_hidden", "visibility_accuracy")

    def __init__(
        self,
        config: PoseConfig,
        train: Sequence[PoseSet],
        evaluation: PoseSet | None,
        device: Device,
        pre_ckpt_path: Path | None = None,
    ):
        if config.model.num_keypoints != NUM_KEYPOINTS:
            raise ConfigError(
                f"model.num_keypoints must be {NUM_KEYPOINTS} to train on vehicles, "
                f"got {config.model.num_keypoints}"
            )
        self.config = config
        self._train = list(train)
        self.evaluation = evaluation
        self.device = device
        self._predictor: NetworkPredictor | None = None
        self.loader = PoseTrainLoader(train, config, device.rank, device.rank_size)
        ms.set_seed(config.train.seed)
        self.network = PoseEstNet(config.model)
        if pre_ckpt_path is not None:
            logger.info("%s", load_pretrained_pose(self.network, pre_ckpt_path))
        loss = PoseLoss(config.loss, config.model.heatmap_size)
        self.forward = _LossOnPixels(self.network, loss)

    def inputs(self, batch: Batch) -> Sequence[np.ndarray]:
        """Pixels, then the targets' four numbers a keypoint."""
        return [batch["image"], batch["target"]]

    def image_names(self, batch: Batch) -> list[str]:
        """Files of a batch."""
        return [self.loader.name_of(int(row)) for row in batch["index"]]

    def backbone_parameters(self) -> list[ms.Parameter]:
        """Everything but the head."""
        head = {p.name for p in self.network.final_layer.trainable_params()}
        return [p for p in self.network.trainable_params() if p.name not in head]

    def meta(self) -> dict[str, Any]:
        """Shape of the network and what its peaks mean."""
        return {
            "model": self.config.model.model_dump(mode="json"),
            "loss": self.config.loss.model_dump(mode="json"),
            "recipe": self.config.recipe,
            "data": fingerprints(self._train),
        }

    def evaluate(self, weights: dict[str, np.ndarray]) -> Score | None:
        """PCK of the evaluation images."""
        if self.evaluation is None:
            return None
        if self._predictor is None:
            self._predictor = NetworkPredictor(self.config.model)
        self._predictor.load(weights)
        options = self.config.eval
        found = predict_keypoints(
            self._predictor,
            self.evaluation,
            batch_size=options.batch_size,
            flip_test=options.flip_test,
            refine=options.refine,
            description="PCK" if self.device.is_main else None,
            rank=self.device.rank,
            rank_size=self.device.rank_size,
        )
        errors = measure_errors(found.keypoints, self.evaluation.keypoints, found.sizes)
        score = errors.pck(SCORE_THRESHOLD)
        values = (score, errors.pck(SCORE_THRESHOLD, errors.hidden), errors.visibility_accuracy())
        return Score(score, dict(zip(self.metric_names, values, strict=True)))


def train_pose(
    config: PoseConfig,
    train: Sequence[PoseSet],
    out: Path,
    device: Device,
    *,
    evaluation: PoseSet | None = None,
    pre_ckpt_path: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], None] | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> Progress:
    """Train PoseEstNet into a run folder.

    Args:
        config: Recipe with overrides.
        train: Training sets; several are mixed with ``data.weights``.
        out: Run folder.
        device: From :func:`mtn_core.device.setup_device`.
        evaluation: Images whose PCK chooses the best epoch.
        pre_ckpt_path: Weights to start from.
        resume: Go on with the run in ``out``.
        overwrite: Write into a folder that already holds a run.
        echo: Receives the loss line at the end of every epoch.
        on_epoch: Called after every epoch.

    Raises:
        DataError: The data is not what the run needs; nothing was written then.
        RunFolderError: ``out`` holds a run, or has none to resume.
        CheckpointError: Weights that do not fit.
    """
    if not train:
        raise DataError("no training images: give --root, or --annotations with --images")
    return train_into_run(
        lambda config: PoseTask(config, train, evaluation, device, pre_ckpt_path),
        config,
        out,
        device,
        roots=[pose_set.place or pose_set.label for pose_set in train],
        pre_ckpt_path=pre_ckpt_path,
        resume=resume,
        overwrite=overwrite,
        echo=echo,
        on_epoch=on_epoch,
    )
