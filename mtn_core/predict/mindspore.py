"""Embeddings and attribute logits of a split."""

from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import nn, ops
from tqdm.auto import tqdm

from mtn_core.config import DataConfig, ModelConfig
from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.split import Split
from mtn_core.device import Device
from mtn_core.models.checkpoint import load_weights
from mtn_core.models.multitask import MultiTaskNet
from mtn_core.models.preprocess import InputStack
from mtn_core.results import Embeddings

MAP_KEYS = ("heatmaps", "segments")


def batch_inputs(batch: Mapping[str, np.ndarray], model: ModelConfig) -> list[np.ndarray]:
    """A batch's pixels, maps in use and keypoints, in the order that the cells here take."""
    used = [key for key in MAP_KEYS if getattr(model, key)]
    return [batch[key] for key in ("image", *used, "keypoints")]


class NetworkOnPixels(nn.Cell):
    """The network behind its input stack: takes what :func:`batch_inputs` gives."""

    def __init__(self, network: MultiTaskNet):
        super().__init__(auto_prefix=False)
        self.network = network
        self.stack = InputStack(network.config)
        self.use_heatmaps = network.config.heatmaps
        self.use_segments = network.config.segments

    def construct(self, *inputs):
        """``image [, heatmaps] [, segments], keypoints`` -> the network's four outputs."""
        heatmaps = inputs[1] if self.use_heatmaps else None
        segments = inputs[-2] if self.use_segments else None
        return self.network(self.stack(inputs[0], heatmaps, segments), inputs[-1])


class Embedder:
    """A network in evaluation mode whose graph is compiled once, whatever weights it is given.

    Args:
        model: Configuration of the network.
        device: Device and rank; with several ranks each embeds its share and all get everything.
    """

    def __init__(self, model: ModelConfig, device: Device):
        self.model = model
        self.device = device
        self.network = MultiTaskNet(model)
        self._cell = NetworkOnPixels(self.network)
        self._cell.set_train(False)
        self._gather = ops.AllGather() if device.rank_size > 1 else None

    def load(self, weights: Mapping[str, np.ndarray], source: object = "the weights") -> None:
        """Use these weights from now on.

        Raises:
            CheckpointError: They do not fit.
        """
        load_weights(self.network, weights, source)

    def embed(
        self, split: Split, data: DataConfig, batch_size: int, *, progress: bool = True
    ) -> Embeddings:
        """Embed every image of a split, in the split's order.

        Raises:
            DataError: An image or a map that the network needs cannot be read.
        """
        outputs: list[np.ndarray] = []
        rows: list[np.ndarray] = []
        with EvalLoader(
            split,
            data=data,
            model=self.model,
            batch_size=batch_size,
            rank=self.device.rank,
            rank_size=self.device.rank_size,
        ) as loader:
            bar = tqdm(
                loader,
                desc=f"embedding {split.name}",
                unit="batch",
                disable=None if progress and self.device.is_main else True,
                leave=False,
            )
            for batch in bar:
                tensors = [ms.Tensor.from_numpy(a) for a in batch_inputs(batch, self.model)]
                _, color, type_, embedding = self._cell(*tensors)
                parts = [t.asnumpy() for t in (embedding, color, type_)]
                outputs.append(np.concatenate(parts, axis=1))
                rows.append(np.column_stack([batch["index"], batch["size"]]).astype(np.int32))
        values, labels = np.concatenate(outputs), np.concatenate(rows)
        if self._gather is not None:
            values = self._gather(ms.Tensor(values)).asnumpy()
            labels = self._gather(ms.Tensor(labels)).asnumpy()
        # Back into the split's order, without the rows that fill up the last batches.
        kept = labels[:, 0] >= 0
        order = np.argsort(labels[kept, 0], kind="stable")
        return self._to_embeddings(split, values[kept][order], labels[kept][order, 1:])

    def _to_embeddings(self, split: Split, values: np.ndarray, sizes: np.ndarray) -> Embeddings:
        colors = self.model.num_colors
        width = values.shape[1] - colors - self.model.num_types
        features, color, type_ = np.split(values, [width, width + colors], axis=1)
        # A network without attribute heads gives zeros, which name no class.
        attributes = self.model.attributes
        return Embeddings.of_split(
            split,
            features=features,
            color_logits=color if attributes else None,
            type_logits=type_ if attributes else None,
            sizes=sizes,
        )
