"""Where in a crop an embedding comes from: class-activation maps of the identity feature.

A map is the feature map weighted with the slope of a score at each position. For average pooling
that is exactly the share of each position in the score (Zhou et al., 2016); for other poolings it
is HiResCAM (Draelos and Carin, 2020). The score is half the squared length of the embedding, or
its inner product with another embedding, which shows what makes two images alike.
"""

from collections.abc import Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mtn_core.config import DataConfig, ModelConfig
from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.veri import Split
from mtn_core.engine.checkpoint import load_weights
from mtn_core.engine.embed import batch_inputs
from mtn_core.errors import DataError
from mtn_core.models.multitask import MultiTaskNet
from mtn_core.models.preprocess import InputStack


class _Features(nn.Cell):
    """The feature maps before pooling."""

    def __init__(self, network: MultiTaskNet):
        super().__init__(auto_prefix=False)
        self.backbone = network.backbone
        self.stack = InputStack(network.config)
        self.use_heatmaps = network.config.heatmaps
        self.use_segments = network.config.segments

    def construct(self, *inputs):
        """``image [, heatmaps] [, segments], keypoints`` -> ``(N, 1024, h, w)``."""
        heatmaps = inputs[1] if self.use_heatmaps else None
        segments = inputs[-2] if self.use_segments else None
        return self.backbone(self.stack(inputs[0], heatmaps, segments))


class _Score(nn.Cell):
    """From feature maps to the sum over the batch of the score; also gives the embeddings."""

    def __init__(self, network: MultiTaskNet):
        super().__init__(auto_prefix=False)
        self.pool = network.pool
        self.fc_id = network.fc_id
        self.neck = network.neck
        self.leaky_relu = network.leaky_relu
        self.use_keypoints = network.use_keypoints
        self.use_neck = network.use_neck

    def construct(self, features, keypoints, towards):
        """``(N, 1024, h, w), (N, 108), (N, D)`` -> score, embeddings."""
        pooled = features.mean((2, 3)) if self.pool is None else self.pool(features)
        if self.use_keypoints:
            pooled = ops.cat((pooled, keypoints), axis=1)
        embedding = self.leaky_relu(self.fc_id(pooled))
        if self.use_neck:
            embedding = self.neck(embedding)
        return (embedding * towards).sum(), embedding


class AttentionMapper:
    """A network that shows where its embeddings come from; its graphs are compiled once.

    Args:
        model: Configuration of the network.
        batch_size: Crops at a time.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016;
        Draelos and Carin, "Use HiResCAM instead of Grad-CAM", 2020, eq. 4.
    """

    def __init__(self, model: ModelConfig, *, batch_size: int = 16):
        self.model = model
        self.batch_size = batch_size
        self.network = MultiTaskNet(model)
        self._features = _Features(self.network)
        self._score = _Score(self.network)
        for cell in (self.network, self._features, self._score):
            cell.set_train(False)
        self._slope = ms.value_and_grad(self._score, grad_position=0, has_aux=True)

    def load(self, weights: Mapping[str, np.ndarray], source: object = "the weights") -> None:
        """Use these weights from now on.

        Raises:
            CheckpointError: They do not fit.
        """
        load_weights(self.network, weights, source)

    def compute(
        self,
        split: Split,
        rows: Sequence[int],
        data: DataConfig,
        *,
        towards: np.ndarray | None = None,
    ) -> dict[int, np.ndarray]:
        """Attention maps of some images.

        Args:
            split: Split of the images.
            rows: Rows of the split.
            data: Settings of the data pipeline.
            towards: ``(D,)`` or ``(len(rows), D)`` embedding to be alike to; by default each
                image's own.

        Returns:
            ``(h, w)`` float32 maps by row, at least 0; h and w are the size of the network's last
            feature map, and a map covers the whole crop.

        Raises:
            DataError: No such row, or an image that cannot be read.
        """
        rows = [int(row) for row in rows]
        outside = [row for row in rows if not 0 <= row < len(split)]
        if outside:
            raise DataError(f"no row {outside[0]} in split {split.name} of {len(split)} images")
        if not rows:
            return {}
        part = Split(
            split.root,
            split.name,
            split.frame.iloc[rows].reset_index(drop=True),
            np.ascontiguousarray(split.keypoints[rows]),
        )
        maps: dict[int, np.ndarray] = {}
        with EvalLoader(part, data=data, model=self.model, batch_size=self.batch_size) as loader:
            for batch in loader:
                index = batch["index"]
                target = None if towards is None else np.atleast_2d(towards)
                if target is not None:
                    target = target[np.maximum(index, 0) if len(target) > 1 else 0 * index]
                for position, heat in zip(index, self._maps_of(batch, target), strict=True):
                    if position >= 0:
                        maps[rows[position]] = heat
        return maps

    def _maps_of(self, batch: Mapping[str, np.ndarray], target: np.ndarray | None) -> np.ndarray:
        tensors = [ms.Tensor.from_numpy(array) for array in batch_inputs(batch, self.model)]
        features = self._features(*tensors)
        keypoints = tensors[-1]
        if target is None:
            width = self.network.fc_id.out_channels
            zero = ms.Tensor(np.zeros((len(features), width), np.float32))
            target = self._score(features, keypoints, zero)[1]
        else:
            target = ms.Tensor(np.ascontiguousarray(target, dtype=np.float32))
        _, slope = self._slope(features, keypoints, target)
        heat = (slope.asnumpy() * features.asnumpy()).sum(axis=1)
        return np.maximum(heat, 0)
