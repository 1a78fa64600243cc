"""Heatmaps of crops from a MindSpore network, and the keypoints found in them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mtn_core.errors import CheckpointError
from mtn_core.models.checkpoint import Checkpoint, load_weights
from mtn_core.pose.config import KIND, PoseModelConfig
from mtn_core.pose.decode import decode_heatmaps, merge_flipped
from mtn_core.pose.loader import CropLoader
from mtn_core.pose.network import PoseEstNet, PoseInput
from mtn_core.pose.sources import PoseSet
from mtn_core.progress import progress_bar
from mtn_core.vehicle import NUM_KEYPOINTS


class Predictor(Protocol):
    """Something that gives heatmaps for crops at network size.

    Attributes:
        image_size: Side S of the input.
        heatmap_size: Side M of the heatmaps.
    """

    image_size: int
    heatmap_size: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``(N, S, S, 3) uint8`` RGB -> ``(N, 36, M, M) float32``."""


class PoseOnPixels(nn.Cell):
    """The network behind the normalisation of its input."""

    def __init__(self, network: PoseEstNet):
        super().__init__(auto_prefix=False)
        self.pixels = PoseInput()
        self.network = network

    def construct(self, image: ms.Tensor) -> ms.Tensor:
        """``(N, S, S, 3)`` uint8 -> ``(N, K, M, M)`` float32."""
        return self.network(self.pixels(image))


class NetworkPredictor:
    """A network in evaluation mode whose graph is compiled once, whatever weights it is given."""

    def __init__(self, config: PoseModelConfig):
        self.config = config
        self.image_size = config.image_size
        self.heatmap_size = config.heatmap_size
        self.network = PoseEstNet(config)
        self._cell = PoseOnPixels(self.network)
        self._cell.set_train(False)

    def load(self, weights: Mapping[str, np.ndarray], source: object = "the weights") -> None:
        """Use these weights from now on.

        Raises:
            CheckpointError: They do not fit.
        """
        load_weights(self.network, weights, source)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``(N, S, S, 3) uint8`` RGB -> ``(N, 36, M, M) float32``."""
        return self._cell(ms.Tensor.from_numpy(np.ascontiguousarray(image))).asnumpy()


@dataclass(frozen=True, eq=False)
class PosePredictions:
    """Keypoints that were found.

    Attributes:
        keypoints: ``(N, 36, 3) float32``: x, y in pixels of the crop, confidence 0..1.
        sizes: ``(N, 2) int32`` width and height of the crops.
    """

    keypoints: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.keypoints)


def pose_model_config(checkpoint: Checkpoint, num_keypoints: int) -> PoseModelConfig:
    """Configuration of the PoseEstNet that a checkpoint holds.

    Raises:
        CheckpointError: It holds another network, or one for another number of keypoints.
    """
    config = checkpoint.read_model(KIND, PoseModelConfig)
    if config.num_keypoints != num_keypoints:
        raise CheckpointError(
            f"{checkpoint.path} predicts {config.num_keypoints} keypoints, "
            f"a vehicle here has {num_keypoints}; train it on vehicles with `mtn train-pose`"
        )
    return config


def load_predictor(checkpoint: Checkpoint) -> NetworkPredictor:
    """The PoseEstNet of a checkpoint, ready to predict.

    Raises:
        CheckpointError: It is not of a PoseEstNet for vehicles.
    """
    predictor = NetworkPredictor(pose_model_config(checkpoint, NUM_KEYPOINTS))
    predictor.load(checkpoint.weights, checkpoint.path)
    return predictor


def iterate_heatmaps(
    predictor: Predictor,
    loader: CropLoader,
    *,
    flip_test: bool,
    description: str | None = None,
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray | None]]:
    """Yield ``(batch, heatmaps, merged)``, without the rows that fill up the last batch.

    Args:
        predictor: Gives heatmaps.
        loader: Gives crops.
        flip_test: Predict the mirrored crops too; ``merged`` is the mean then, else None.
        description: Of the progress bar; none without it.
    """
    bar = progress_bar(
        total=len(loader.pose_set),
        description=description or "",
        unit="image",
        shown=description is not None,
    )
    try:
        for batch in loader:
            kept = batch["index"] >= 0
            heatmaps = predictor(batch["image"])
            merged = None
            if flip_test:
                merged = merge_flipped(heatmaps, predictor(batch["image"][:, :, ::-1]))[kept]
            yield {name: values[kept] for name, values in batch.items()}, heatmaps[kept], merged
            bar.update(int(kept.sum()))
    finally:
        bar.close()
        loader.close()


def predict_keypoints(
    predictor: Predictor,
    pose_set: PoseSet,
    *,
    batch_size: int = 32,
    flip_test: bool = False,
    refine: bool = True,
    description: str | None = None,
    rank: int = 0,
    rank_size: int = 1,
) -> PosePredictions:
    """Predict the keypoints of every image of a set, in its order.

    Args:
        predictor: Gives heatmaps.
        pose_set: The images.
        batch_size: Images a prediction.
        flip_test: Average with the prediction of the mirrored crops.
        refine: Quarter-pixel refinement.
        description: Of the progress bar; none without it.
        rank: This rank; each predicts its share, and all get everything.
        rank_size: Number of ranks.

    Raises:
        DataError: An image cannot be read.
    """
    rows = np.arange(len(pose_set))[rank::rank_size]
    loader = CropLoader(pose_set, predictor.image_size, batch_size, rows=rows)
    # Every rank brings as many rows to the exchange; those of index -1 are dropped behind it.
    share = -(-len(pose_set) // rank_size)
    labels = np.full((share, 3), -1, np.int32)
    keypoints = np.zeros((share, NUM_KEYPOINTS, 3), np.float32)
    done = 0
    for batch, heatmaps, merged in iterate_heatmaps(
        predictor, loader, flip_test=flip_test, description=description
    ):
        maps = heatmaps if merged is None else merged
        end = done + len(maps)
        keypoints[done:end] = decode_heatmaps(maps, batch["size"], refine=refine)
        labels[done:end] = np.column_stack([batch["index"], batch["size"]])
        done = end
    if rank_size > 1:
        gather = ops.AllGather()
        labels = gather(ms.Tensor(labels)).asnumpy()
        keypoints = gather(ms.Tensor(keypoints)).asnumpy()
    order = np.argsort(labels[:, 0], kind="stable")[np.count_nonzero(labels[:, 0] < 0) :]
    return PosePredictions(keypoints[order], labels[order, 1:])
