"""A model that is ready to embed crops, with the pose it needs: an ONNX export or a checkpoint."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtn_core.config import ModelConfig
from mtn_core.data.pose_maps import draw_segments
from mtn_core.data.transforms import (
    keypoint_vector,
    transform_image,
    transform_keypoints,
    used_segments,
)
from mtn_core.errors import ConfigError, DataError
from mtn_core.files import sha256_of
from mtn_core.gallery.records import GalleryInfo, ModelInput
from mtn_core.metrics.covisible import COVISIBLE, global_part
from mtn_core.pose.decode import decode_heatmaps, to_maps
from mtn_core.pose.transforms import transform_crop
from mtn_core.predict.backend import Backend
from mtn_core.predict.crop import batch_without_pose
from mtn_core.vehicle import COLOR_NAMES, MAP_SIZE, TYPE_NAMES

if TYPE_CHECKING:
    from mtn_core.pose.predict import Predictor

MODEL_SUFFIXES = (".onnx", ".ckpt")


@dataclass(frozen=True, eq=False)
class Embedded:
    """What the model says of crops.

    Attributes:
        features: ``(N, D) float32`` embeddings as the model gives them.
        colors: ``(N,)`` names of the likeliest colours; None without such a head.
        color_probabilities: ``(N, num_colors) float32``, likewise.
        types: ``(N,)`` names of the likeliest types.
        type_probabilities: ``(N, num_types) float32``.
        keypoints: ``(N, 36, 3) float32``: x and y as fractions of width and height, confidence;
            None without a PoseEstNet.
    """

    features: np.ndarray
    colors: tuple[str, ...] | None = None
    color_probabilities: np.ndarray | None = None
    types: tuple[str, ...] | None = None
    type_probabilities: np.ndarray | None = None
    keypoints: np.ndarray | None = None

    @property
    def color_confidences(self) -> np.ndarray | None:
        """``(N,)``: probability of the named colour."""
        return None if self.color_probabilities is None else self.color_probabilities.max(axis=1)

    @property
    def type_confidences(self) -> np.ndarray | None:
        """``(N,)``: probability of the named type."""
        return None if self.type_probabilities is None else self.type_probabilities.max(axis=1)


class Embedder:
    """Embeds crops of which nothing is known but their pixels.

    Args:
        backend: The network.
        name: Its file's name, for people.
        predictor: PoseEstNet, or None.
        pose_sha256: Of its checkpoint.
        color_names: Names of the colour classes; VeRi's by default, where there are as many.
        type_names: Likewise.
        batch_size: Crops a run of the network.

    Attributes:
        model: What the network sees.
        sha256: Of the checkpoint that holds the weights, or did before its export.
        metric: Distance that the embeddings are compared by.
        input: How crops are prepared.
    """

    def __init__(
        self,
        backend: Backend,
        name: str,
        *,
        predictor: "Predictor | None" = None,
        pose_sha256: str | None = None,
        color_names: Sequence[str] | None = None,
        type_names: Sequence[str] | None = None,
        batch_size: int = 32,
    ):
        self._backend, self.name, self._predictor = backend, name, predictor
        self._batch_size, self._full_seen = batch_size, False
        self.model: ModelConfig = backend.model
        # A store compares whole rows: of embeddings with parts it keeps the global vectors.
        self._has_parts = backend.metric == COVISIBLE
        self.metric = "cosine" if self._has_parts else backend.metric
        self.pose_sha256 = pose_sha256
        self.sha256 = str(backend.provenance["checkpoint_sha256"])
        attributes = self.model.attributes
        self.color_names = _names(color_names, COLOR_NAMES, self.model.num_colors, attributes)
        self.type_names = _names(type_names, TYPE_NAMES, self.model.num_types, attributes)
        self.input = ModelInput(
            self.model.image_size,
            heatmaps=self.model.heatmaps,
            segments=self.model.segments,
            keypoints=self.model.keypoints,
            pose_sha256=pose_sha256,
        )

    @property
    def backend(self) -> Backend:
        """The network."""
        return self._backend

    @property
    def needs_pose(self) -> bool:
        """Whether the network was trained with a pose."""
        return self.input.needs_pose

    @cached_property
    def dimension(self) -> int:
        """Width of an embedding."""
        spec = getattr(self._backend, "spec", None)
        if spec is not None and not self._has_parts:
            return int(spec.width("embedding"))
        grey = np.full((8, 8, 3), 128, np.uint8)
        return self.embed([grey]).features.shape[1]

    def new_info(self, images: Path | None, threshold: float | None = None) -> GalleryInfo:
        """What a gallery of this model's embeddings says of itself.

        Args:
            images: Folder that names of crops will be relative to.
            threshold: Distance below which two crops are taken for one vehicle.
        """
        return GalleryInfo(
            model_sha256=self.sha256,
            model_name=self.name,
            metric=self.metric,
            dimension=self.dimension,
            input=self.input,
            color_names=self.color_names,
            type_names=self.type_names,
            threshold=threshold,
            images=None if images is None else str(images.absolute()),
        )

    def embed(self, images: Sequence[np.ndarray]) -> Embedded:
        """Embed crops.

        Args:
            images: ``(H, W, 3) uint8`` RGB each, at least one.
        """
        parts = []
        for start in range(0, len(images), self._batch_size):
            part = list(images[start : start + self._batch_size])
            count = len(part)
            self._full_seen |= count == self._batch_size
            if self._full_seen:  # MindSpore would compile another graph for another number
                part += part[-1:] * (self._batch_size - count)
            parts.append(_first(self._embed_batch(part), count))
        return _joined(parts)

    def _embed_batch(self, images: Sequence[np.ndarray]) -> Embedded:
        keypoints = None if self._predictor is None else self._find_pose(images)
        outputs = self._backend.embed(self._batch(images, keypoints))
        colors, color_probabilities = _classes(outputs.color_logits, self.color_names)
        types, type_probabilities = _classes(outputs.type_logits, self.type_names)
        features = np.asarray(outputs.features, np.float32)
        if self._has_parts:
            features = global_part(features)
        if not np.isfinite(features).all():
            raise DataError(f"{self.name} gives embeddings that are not finite; is it trained?")
        fractions = None
        if keypoints is not None:
            found, _ = keypoints
            fractions = np.stack(
                [
                    transform_keypoints(points, image.shape[1], image.shape[0])
                    for points, image in zip(found, images, strict=True)
                ]
            )
        return Embedded(
            features,
            colors=colors,
            color_probabilities=color_probabilities,
            types=types,
            type_probabilities=type_probabilities,
            keypoints=fractions,
        )

    def _find_pose(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints in pixels of the crops, and heatmaps."""
        predictor = self._predictor
        assert predictor is not None
        crops = np.stack([transform_crop(image, predictor.image_size) for image in images])
        heatmaps = predictor(crops)
        sizes = np.array([image.shape[1::-1] for image in images])
        return decode_heatmaps(heatmaps, sizes), heatmaps

    def _batch(
        self, images: Sequence[np.ndarray], pose: tuple[np.ndarray, np.ndarray] | None
    ) -> Mapping[str, np.ndarray]:
        """What a loader's batch would be of the same crops after `mtn trans`."""
        if pose is None:
            rows = [batch_without_pose(image, self.model) for image in images]
            return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
        keypoints, heatmaps = pose
        sizes = np.array([image.shape[1::-1] for image in images])
        size = self.model.image_size
        batch = {
            "image": np.stack([transform_image(image, size) for image in images]),
            "keypoints": np.stack(
                [
                    keypoint_vector(transform_keypoints(points, width, height))
                    for points, (width, height) in zip(keypoints, sizes.tolist(), strict=True)
                ]
            ),
        }
        if self.model.heatmaps:
            batch["heatmaps"] = to_maps(heatmaps, MAP_SIZE)
        if self.model.segments:
            segments = draw_segments(keypoints, sizes)
            for row, points in enumerate(keypoints):
                segments[row, ~used_segments(points)] = 0
            batch["segments"] = segments
        return batch


def _first(embedded: Embedded, count: int) -> Embedded:
    values: dict[str, Any] = {f.name: getattr(embedded, f.name) for f in fields(Embedded)}
    cut: dict[str, Any] = {k: None if v is None else v[:count] for k, v in values.items()}
    return Embedded(**cut)


def _joined(parts: Sequence[Embedded]) -> Embedded:
    joined: dict[str, Any] = {}
    for name in (field.name for field in fields(Embedded)):
        values = [getattr(part, name) for part in parts]
        if values[0] is None:
            joined[name] = None
        elif isinstance(values[0], tuple):
            joined[name] = tuple(text for value in values for text in value)
        else:
            joined[name] = np.concatenate(values)
    return Embedded(**joined)


def load_embedder(
    model: str | Path,
    pose: str | Path | None = None,
    *,
    without_pose: bool = False,
    device_target: str = "CPU",
    device_id: int = 0,
    num_threads: int | None = None,
    batch_size: int = 32,
) -> Embedder:
    """Load a model, and the PoseEstNet that it needs.

    Args:
        model: ``.onnx`` file of `mtn export`, for which MindSpore is not needed, or a checkpoint.
        pose: The same of a PoseEstNet; None for a network that needs none.
        without_pose: Show a network that was trained with a pose none, in spite of a worse answer.
        device_target: CPU, GPU or Ascend.
        device_id: Of the device.
        num_threads: CPU threads of onnxruntime; by default its choice.
        batch_size: Crops a run of the network.

    Raises:
        ConfigError: The network needs a pose and gets none, or the other way round; or it is a
            checkpoint, and pymilvus is loaded already.
        MissingFileError: A file is not there.
        DataError: A file is not such a model.
        CheckpointError: Likewise.
    """
    model, pose = Path(model), None if pose is None else Path(pose)
    options: dict[str, Any] = {"device_target": device_target, "device_id": device_id}
    color_names = type_names = None
    if model.suffix == ".onnx":
        from mtn_core.predict.onnx import OnnxModel

        onnx = OnnxModel(model, **options, num_threads=num_threads)
        color_names, type_names = onnx.spec.color_names, onnx.spec.type_names
        backend: Backend = onnx
    else:
        _refuse_late_mindspore(model)
        from mtn_core.device import setup_device
        from mtn_core.models.checkpoint import load_checkpoint
        from mtn_core.predict.mindspore import MindSporeBackend

        device = setup_device(device_target, device_id)
        backend = MindSporeBackend.of_checkpoint(load_checkpoint(model), device)
    _check_pose(backend.model, model, pose, without_pose=without_pose)
    predictor, pose_sha256 = None, None
    if pose is not None:
        predictor, pose_sha256 = _load_predictor(pose, options, num_threads)
    return Embedder(
        backend,
        model.name,
        predictor=predictor,
        pose_sha256=pose_sha256,
        color_names=color_names,
        type_names=type_names,
        batch_size=batch_size,
    )


def _refuse_late_mindspore(model: Path) -> None:
    """MindSpore must be imported before the protobuf that pymilvus brings."""
    if "pymilvus" in sys.modules and "mindspore" not in sys.modules:
        raise ConfigError(
            f"{model} needs MindSpore, which cannot be loaded once a Milvus server was asked: load "
            "the model before the gallery, or give its ONNX file (`mtn export`)"
        )


def _check_pose(network: ModelConfig, model: Path, pose: Path | None, *, without_pose: bool):
    used = [key for key in ("heatmaps", "segments", "keypoints") if getattr(network, key)]
    if used and pose is None and not without_pose:
        raise ConfigError(
            f"{model} was trained with {', '.join(used)}, so a crop needs its pose: give the "
            "PoseEstNet with --pose_onnx FILE or --pose_ckpt FILE (`mtn train-pose` makes one, "
            "`mtn export` its ONNX file), or --without_pose for a worse answer without"
        )
    if pose is not None and not used:
        raise ConfigError(f"{model} sees no pose; leave {pose} out")
    if pose is not None and without_pose:
        raise ConfigError(f"--without_pose and {pose} exclude each other; leave one of them out")


def _load_predictor(
    pose: Path, options: dict, num_threads: int | None
) -> "tuple[Predictor, str | None]":
    if pose.suffix == ".onnx":
        from mtn_core.pose.onnx_predictor import OnnxPredictor

        onnx = OnnxPredictor(pose, **options, num_threads=num_threads)
        return onnx, str(onnx.spec.get("checkpoint_sha256") or sha256_of(pose))
    from mtn_core.device import setup_device
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.pose.predict import load_predictor

    setup_device(options["device_target"], options["device_id"])
    checkpoint = load_checkpoint(pose)
    return load_predictor(checkpoint), checkpoint.sha256


def _names(
    given: Sequence[str] | None, veri: Sequence[str], count: int, attributes: bool
) -> tuple[str, ...]:
    if not attributes:
        return ()
    if given is not None:
        return tuple(given)
    return tuple(veri) if len(veri) == count else tuple(f"class {i + 1}" for i in range(count))


def _classes(
    logits: np.ndarray | None, names: Sequence[str]
) -> tuple[tuple[str, ...] | None, np.ndarray | None]:
    if logits is None:
        return None, None
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float32)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return tuple(names[i] for i in probabilities.argmax(axis=1).tolist()), probabilities
