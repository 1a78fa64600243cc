"""Where in a crop an embedding comes from: class-activation maps of the identity feature.

A map is the feature map weighted with the slope of a score at each position. For average pooling
that is exactly the share of each position in the score (Zhou et al., 2016); for other poolings it
is HiResCAM (Draelos and Carin, 2020). The score is half the squared length of the embedding, or
its inner product with another embedding, which shows what makes two images alike. Of embeddings
with parts it is the global vector's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mtn_core.config import ModelConfig
from mtn_core.data.layout import GALLERY
from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.source import open_source
from mtn_core.data.split import Split, load_split
from mtn_core.errors import DataError
from mtn_core.models.checkpoint import Checkpoint, load_weights
from mtn_core.models.multitask import MultiTaskNet
from mtn_core.predict.mindspore import BatchStack, batch_inputs
from mtn_core.results import RetrievalResult
from mtn_core.results.attention import AttentionMaps
from mtn_core.results.ranking import Ranker, select_queries
from mtn_core.runs import RunFolder


class _Features(nn.Cell):
    """The feature maps before pooling."""

    def __init__(self, network: MultiTaskNet):
        super().__init__(auto_prefix=False)
        self.network = network
        self.stack = BatchStack(network.config)

    def construct(self, *inputs):
        """``image [, heatmaps] [, segments], keypoints`` -> ``(N, 1024, h, w)``."""
        network = self.network
        return network.backbone(network.backbone_input(self.stack(*inputs)))


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
        *,
        towards: np.ndarray | None = None,
    ) -> dict[int, np.ndarray]:
        """Attention maps of some images.

        Args:
            split: Split of the images.
            rows: Rows of the split.
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
        source = open_source(
            split.take(rows), heatmaps=self.model.heatmaps, segments=self.model.segments
        )
        maps: dict[int, np.ndarray] = {}
        if towards is not None and self.model.pools_parts:
            towards = np.atleast_2d(towards)[:, : self.network.fc_id.out_channels]
        with EvalLoader(source, model=self.model, batch_size=self.batch_size) as loader:
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


def write_run_attention(
    run_dir: str | Path,
    checkpoint: Checkpoint,
    *,
    num_queries: int = 6,
    top_k: int = 10,
    root: str | Path | None = None,
) -> Path:
    """Compute the maps of the worst and best rank lists of a run and keep them beside its results.

    Args:
        run_dir: Run folder with results.
        checkpoint: The one that made its embeddings.
        num_queries: So many of the worst queries, and as many of the best.
        top_k: Images of a rank list.
        root: Data root instead of the one that the run names.

    Returns:
        The path of ``attention.npz``.

    Raises:
        DataError: The run names no data root, or its images are not those of the data.
    """
    result = RetrievalResult.load(run_dir)
    roots = [Path(root)] if root is not None else RunFolder(run_dir).data_roots()
    if not roots:
        raise DataError(f"{run_dir} does not say where its images lie; give --root")
    ranker = Ranker(
        result.query, result.gallery, metric=result.protocol["metric"], rule=result.rule
    )
    chosen = [
        row
        for how in ("worst", "best")
        for row in select_queries(result.per_query, how, num_queries)
    ]
    query_rows = list(dict.fromkeys(chosen))
    lists = [ranker.rank(row, top_k=top_k) for row in query_rows]
    shown = [entry for one in lists for entry in one.entries]
    shown += [one.first_match for one in lists if one.first_match is not None]
    gallery_rows = sorted({entry.row for entry in shown})
    mapper = AttentionMapper(checkpoint.model_config)
    mapper.load(checkpoint.weights, checkpoint.path)
    maps = []
    for name, embeddings, rows in (
        ("query", result.query, query_rows),
        (GALLERY, result.gallery, gallery_rows),
    ):
        split = load_split(roots[0], name)
        if split.frame["name"].tolist() != embeddings.names.tolist():
            raise DataError(
                f"the {name} images below {roots[0]} are not those of {run_dir}; "
                "give the data root of the evaluation with --root"
            )
        maps.append(mapper.compute(split, rows))
    return AttentionMaps(*maps).save(run_dir)
