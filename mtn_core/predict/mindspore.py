"""MultiTaskNet in MindSpore as a back end: from a checkpoint, or untrained."""

from collections.abc import Mapping
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mtn_core.config import Config, ModelConfig
from mtn_core.device import Device
from mtn_core.models.checkpoint import Checkpoint, load_weights
from mtn_core.models.multitask import MultiTaskNet
from mtn_core.models.preprocess import InputStack
from mtn_core.predict.backend import Outputs, used_maps
from mtn_core.predict.provenance import model_provenance


def batch_inputs(batch: Mapping[str, np.ndarray], model: ModelConfig) -> list[np.ndarray]:
    """A batch's pixels, maps in use and keypoints, in the order that the cells here take."""
    return [batch[key] for key in ("image", *used_maps(model), "keypoints")]


class BatchStack(nn.Cell):
    """The network's input stack of what :func:`batch_inputs` gives."""

    def __init__(self, model: ModelConfig):
        super().__init__(auto_prefix=False)
        self.stack = InputStack(model)
        self.use_heatmaps = model.heatmaps
        self.use_segments = model.segments

    def construct(self, *inputs):
        """``image [, heatmaps] [, segments], keypoints`` -> ``(N, in_channels, S, S)``."""
        heatmaps = inputs[1] if self.use_heatmaps else None
        segments = inputs[-2] if self.use_segments else None
        return self.stack(inputs[0], heatmaps, segments)


class NetworkOnPixels(nn.Cell):
    """The network behind its input stack: takes what :func:`batch_inputs` gives."""

    def __init__(self, network: MultiTaskNet):
        super().__init__(auto_prefix=False)
        self.network = network
        self.stack = BatchStack(network.config)

    def construct(self, *inputs):
        """``image [, heatmaps] [, segments], keypoints`` -> the network's four outputs."""
        return self.network(self.stack(*inputs), inputs[-1])


class MindSporeBackend:
    """A network in evaluation mode whose graph is compiled once, whatever weights it is given.

    Args:
        model: Configuration of the network.
        device: Device and rank; with several ranks each embeds its share and all get everything.
        metric: Distance that its embeddings are compared by.
        recipe: What it was trained by.
        provenance: For ``results.json``.
    """

    def __init__(
        self,
        model: ModelConfig,
        device: Device,
        *,
        metric: str = "euclidean",
        recipe: str | None = None,
        provenance: Mapping[str, Any] | None = None,
    ):
        self.model, self.metric, self.recipe = model, metric, recipe
        self.provenance: Mapping[str, Any] = provenance or {}
        self.rank, self.rank_size = device.rank, device.rank_size
        self.network = MultiTaskNet(model)
        self._cell = NetworkOnPixels(self.network)
        self._cell.set_train(False)
        self._gather = ops.AllGather() if device.rank_size > 1 else None

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint, device: Device) -> "MindSporeBackend":
        """The network that a checkpoint belongs to, with its weights.

        Raises:
            CheckpointError: It is not one of MultiTaskNet, or does not fit.
        """
        facts = checkpoint.facts
        backend = cls(
            checkpoint.model_config,
            device,
            metric=facts.metric,
            recipe=facts.recipe,
            provenance=model_provenance(
                checkpoint.model_config,
                checkpoint_sha256=checkpoint.sha256,
                config_sha256=facts.config_sha256,
                recipe=facts.recipe,
                epoch=facts.epoch,
                seed=facts.seed,
            ),
        )
        backend.load(checkpoint.weights, checkpoint.path)
        return backend

    def load(self, weights: Mapping[str, np.ndarray], source: object = "the weights") -> None:
        """Use these weights from now on.

        Raises:
            CheckpointError: They do not fit.
        """
        load_weights(self.network, weights, source)

    def embed(self, batch: Mapping[str, np.ndarray]) -> Outputs:
        """See :class:`mtn_core.predict.backend.Backend`."""
        tensors = [ms.Tensor(np.ascontiguousarray(a)) for a in batch_inputs(batch, self.model)]
        _, color, type_, embedding = self._cell(*tensors)
        if not self.model.attributes:  # such a network gives zeros, which name no class
            return Outputs(embedding.asnumpy())
        return Outputs(embedding.asnumpy(), color.asnumpy(), type_.asnumpy())

    def gather(self, values: np.ndarray) -> np.ndarray:
        """See :class:`mtn_core.predict.backend.Backend`."""
        if self._gather is None:
            return values
        return self._gather(ms.Tensor(np.ascontiguousarray(values))).asnumpy()


def untrained_backend(config: Config, device: Device) -> MindSporeBackend:
    """The network of a configuration as it is before training, as a baseline.

    Args:
        config: With ``model.num_ids`` known, such as the resolved configuration of a run.
        device: From :func:`mtn_core.device.setup_device`.
    """
    ms.set_seed(config.train.seed)
    return MindSporeBackend(config.model, device, metric=config.eval.metric, recipe=config.recipe)
