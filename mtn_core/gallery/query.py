"""What is searched for: a crop, or several of one track, embedded as the gallery's crops were."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mtn_core.data.images import decode_image, read_bytes
from mtn_core.data.labels import camera_of
from mtn_core.data.split import Split, find_labelled
from mtn_core.errors import ConfigError, DataError, MissingFileError
from mtn_core.gallery.embedder import Embedded, Embedder
from mtn_core.gallery.records import camera_name
from mtn_core.metrics.attributes import softmax
from mtn_core.predict.crop import CropEmbedder
from mtn_core.results.answer import Asked

LABELS, POSE_EST_NET, NONE = "labels", "PoseEstNet", "none"


@dataclass(frozen=True, eq=False)
class Query:
    """One question to a gallery.

    Attributes:
        features: ``(D,) float32``, the mean of its crops' embeddings.
        asked: What is known of it, for the answer.
        image_sha256: Of the files.
        cameras: That took the crops, as far as known.
        labelled: Rows of a data set that the crops are, for those that are some.
    """

    features: np.ndarray
    asked: Asked
    image_sha256: tuple[str, ...]
    cameras: tuple[str, ...] = ()
    labelled: tuple[Split, ...] = ()

    def taken_by(self, cameras: Sequence[str | None]) -> "Query":
        """The same query with the cameras that took it; where none is known it stays."""
        known = tuple(dict.fromkeys(name for name in cameras if name))
        if not known:
            return self
        return replace(self, cameras=known, asked=replace(self.asked, camera=", ".join(known)))


def query_of_pixels(
    embedder: Embedder, images: Sequence[np.ndarray], names: Sequence[str], hashes: Sequence[str]
) -> Query:
    """A query of decoded crops of which nothing is known but their pixels.

    Args:
        embedder: Of the gallery's model.
        images: ``(H, W, 3) uint8`` RGB each, at least one.
        names: For people.
        hashes: Hex SHA-256 of the files.
    """
    pose = _pose_of(embedder)
    query = _joined(embedder, [embedder.embed(images)], names, hashes, pose)
    return query.taken_by([_camera_of(name) for name in names])


def query_of_files(embedder: Embedder, paths: Sequence[Path]) -> Query:
    """A query for a store: of files, of which nothing but their pixels counts.

    Raises:
        MissingFileError: One is not there.
        DataError: One cannot be decoded.
    """
    data = [_read(path) for path in paths]
    images = [decode_image(content, path) for content, path in zip(data, paths, strict=True)]
    return query_of_pixels(embedder, images, [str(path) for path in paths], _hashes(data))


def query_for_run(embedder: Embedder, paths: Sequence[Path], *, without_pose: bool) -> Query:
    """A query for a run: crops of a labelled data set are embedded as in its evaluation.

    Args:
        embedder: Of the run's network; with PoseEstNet for crops that have no label.
        paths: Files of crops.
        without_pose: Show the network no pose of crops without a label, though it was made for one.

    Raises:
        ConfigError: A crop has no pose, but the network needs one.
        MissingFileError: A file is not there.
        DataError: One cannot be decoded.
    """
    data = [_read(path) for path in paths]
    labelled = [find_labelled(path) for path in paths]
    bare = [path for path, label in zip(paths, labelled, strict=True) if label is None]
    if bare and _pose_of(embedder) == NONE and not without_pose:
        raise ConfigError(
            f"{bare[0]} has no label with keypoints, but {embedder.name} was trained with a pose: "
            "give the PoseEstNet that finds it with --pose_onnx FILE or --pose_ckpt FILE (`mtn "
            "train-pose` makes one), or --without_pose for a worse answer without"
        )
    parts, cameras = [], []
    for path, content, label in zip(paths, data, labelled, strict=True):
        if label is None:
            parts.append(embedder.embed([decode_image(content, path)]))
            cameras.append(_camera_of(path.name))
        else:
            outputs = CropEmbedder(embedder.backend).outputs_of(label)
            heads = [
                None if v is None else softmax(v)
                for v in (outputs.color_logits, outputs.type_logits)
            ]
            parts.append(
                Embedded(
                    outputs.features, color_probabilities=heads[0], type_probabilities=heads[1]
                )
            )
            cameras.append(str(label.frame["camid"].iloc[0] or "") or None)
    pose = _pose_of(embedder) if bare else (LABELS if embedder.needs_pose else None)
    query = _joined(embedder, parts, [str(path) for path in paths], _hashes(data), pose)
    query = replace(query, labelled=tuple(label for label in labelled if label is not None))
    return query.taken_by(cameras)


def _joined(
    embedder: Embedder,
    parts: Sequence[Embedded],
    names: Sequence[str],
    hashes: Sequence[str],
    pose: str | None,
) -> Query:
    """The mean of embeddings and of probabilities; for the cosine, of embeddings of one length."""
    features = np.concatenate([part.features for part in parts])
    if not np.isfinite(features).all():
        raise DataError(f"{embedder.name} gives embeddings that are not finite; is it trained?")
    if embedder.metric == "cosine":
        length = np.linalg.norm(features, axis=1, keepdims=True)
        features = np.divide(features, length, out=np.zeros_like(features), where=length > 0)
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    said: dict[str, str | float] = {}
    for kind, classes in (("color", embedder.color_names), ("type", embedder.type_names)):
        found = [getattr(part, f"{kind}_probabilities") for part in parts]
        if classes and all(probabilities is not None for probabilities in found):
            average = np.concatenate(found).mean(axis=0)
            said[kind] = classes[int(average.argmax())]
            said[f"{kind}_confidence"] = float(average.max())
    asked = Asked(tuple(names), pose=pose, **said)  # type: ignore[arg-type]
    return Query(mean, asked, tuple(hashes))


def _pose_of(embedder: Embedder) -> str | None:
    """Where the network's pose of a crop without a label comes from."""
    if not embedder.needs_pose:
        return None
    return NONE if embedder.pose_sha256 is None else POSE_EST_NET


def _camera_of(name: str) -> str | None:
    number = camera_of(Path(name).name)
    return camera_name(number) if number else None


def _read(path: Path) -> bytes:
    if not path.exists():
        raise MissingFileError(f"image {path} does not exist")
    return read_bytes(path)


def _hashes(data: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(hashlib.sha256(content).hexdigest() for content in data)
