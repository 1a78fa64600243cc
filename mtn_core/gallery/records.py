"""What a gallery says of itself, what is put into it, what is asked of it, what it answers."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mtn_core.errors import DataError, first_offenders
from mtn_core.metrics.distance import METRICS, check_finite
from mtn_core.vehicle import NUM_KEYPOINTS

_ID_LENGTH = 16


@dataclass(frozen=True)
class ModelInput:
    """How a crop is prepared for the model; another preparation gives other embeddings.

    Attributes:
        image_size: Side that crops are stretched to.
        heatmaps: Whether the network sees the 36 keypoint heatmaps.
        segments: Whether it sees the 13 surface segments.
        keypoints: Whether it sees the keypoints' places.
        pose_sha256: Of the PoseEstNet that finds them; None: embedded without a pose.
    """

    image_size: int
    heatmaps: bool = False
    segments: bool = False
    keypoints: bool = False
    pose_sha256: str | None = None

    @property
    def needs_pose(self) -> bool:
        """Whether the network was made for a crop's pose."""
        return self.heatmaps or self.segments or self.keypoints


@dataclass(frozen=True)
class GalleryInfo:
    """What embeddings a gallery holds.

    Attributes:
        model_sha256: Of the checkpoint; an export has that of the checkpoint it was made of.
        model_name: For people.
        metric: ``euclidean`` or ``cosine``; embeddings for the latter have unit length.
        dimension: Width of an embedding.
        input: How crops are prepared.
        color_names: Classes that the model tells apart; none without such a head.
        type_names: Likewise.
        threshold: Distance below which two crops are taken for one vehicle; None if not known.
        images: Folder that names of crops are relative to; None if there are no images.
        count: Sightings that it holds.
    """

    model_sha256: str
    model_name: str
    metric: str
    dimension: int
    input: ModelInput
    color_names: tuple[str, ...] = ()
    type_names: tuple[str, ...] = ()
    threshold: float | None = None
    images: str | None = None
    count: int = 0

    def __post_init__(self):
        if self.metric not in METRICS:
            raise DataError(f"`metric` must be one of {', '.join(METRICS)}; got {self.metric!r}")
        if not 1 <= self.dimension <= 65_536:
            raise DataError(f"`dimension` must be 1 to 65536; got {self.dimension}")
        if self.threshold is not None and not 0 < self.threshold < math.inf:
            raise DataError(f"`threshold` must be above 0 and finite; got {self.threshold}")

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values, without the count, which the store itself tells."""
        values = dataclasses.asdict(self)
        del values["count"]
        return values

    @classmethod
    def from_json_dict(cls, values: dict[str, Any]) -> "GalleryInfo":
        """The reverse; a TypeError where something is missing or unknown."""
        values = dict(values)
        values["input"] = ModelInput(**values["input"])
        for key in ("color_names", "type_names"):
            values[key] = tuple(values[key])
        return cls(**values)


@dataclass(frozen=True)
class Filter:
    """Which sightings are meant; every field narrows, an empty one does not.

    Attributes:
        camera: Any of these.
        not_camera: None of these.
        after: At this moment or later; sightings without a time are left out.
        before: Earlier than this; likewise.
        color: Predicted colour, any of these names.
        type: Predicted type, any of these names.
        vehicle: Known identity, any of these.
        track: Any of these.
        not_image: Hex SHA-256 of images that are left out.
    """

    camera: tuple[str, ...] = ()
    not_camera: tuple[str, ...] = ()
    after: datetime | None = None
    before: datetime | None = None
    color: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    vehicle: tuple[str, ...] = ()
    track: tuple[str, ...] = ()
    not_image: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("after", "before"):
            object.__setattr__(self, name, gallery_time(getattr(self, name)))
        for name in ("camera", "not_camera"):
            names = tuple(camera_name(value) or "" for value in getattr(self, name))
            object.__setattr__(self, name, names)

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in dataclasses.fields(self))


@dataclass(frozen=True)
class Sighting:
    """A crop in the gallery.

    Attributes:
        id: First 16 hex digits of ``image_sha256``.
        name: Path of the crop relative to the gallery's image folder.
        camera: Name of the camera; empty if not known.
        time: By the gallery's clock, without a zone; see :func:`gallery_time`.
        track: Of one camera's tracker.
        vehicle: Identity, where it is known.
        color: Predicted.
        color_confidence: 0..1.
        type: Predicted.
        type_confidence: 0..1.
        distance: To what was searched for; nan where nothing was.
        image_sha256: Hex SHA-256 of the file.
    """

    id: str
    name: str
    camera: str
    time: datetime | None
    track: str | None
    vehicle: str | None
    color: str | None
    color_confidence: float | None
    type: str | None
    type_confidence: float | None
    distance: float
    image_sha256: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops to be added.

    Attributes:
        model_sha256: What embedded them.
        pose_sha256: What found their pose.
        names: ``(N,)`` paths relative to the gallery's image folder.
        image_sha256: ``(N,)`` hex SHA-256 of the files.
        features: ``(N, D) float32``.
        cameras: ``(N,)``; None or empty is not known.
        times: ``(N,)``.
        tracks: ``(N,)``.
        vehicles: ``(N,)``.
        colors: ``(N,)`` names.
        color_confidences: ``(N,)`` 0..1.
        types: ``(N,)`` names.
        type_confidences: ``(N,)`` 0..1.
        keypoints: ``(N, 36, 3) float32``: x and y as fractions of width and height, confidence.

    Raises:
        DataError: Fields of other lengths, features that are not finite, names that leave a folder.
    """

    model_sha256: str
    names: Sequence[str]
    image_sha256: Sequence[str]
    features: np.ndarray
    pose_sha256: str | None = None
    cameras: Sequence[str | None] | None = None
    times: Sequence[datetime | None] | None = None
    tracks: Sequence[str | None] | None = None
    vehicles: Sequence[str | None] | None = None
    colors: Sequence[str | None] | None = None
    color_confidences: Sequence[float] | np.ndarray | None = None
    types: Sequence[str | None] | None = None
    type_confidences: Sequence[float] | np.ndarray | None = None
    keypoints: np.ndarray | None = None

    def __post_init__(self):
        features = np.asarray(self.features, np.float32)
        object.__setattr__(self, "features", features)
        if features.ndim != 2 or len(features) != len(self.names):
            raise DataError(
                f"`features` must be ({len(self.names)}, width); got shape {features.shape}"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not isinstance(value, str) and len(value) != len(self):
                raise DataError(
                    f"`{field.name}` must have {len(self)} values, one a crop; got {len(value)}"
                )
        if self.keypoints is not None and self.keypoints.shape[1:] != (NUM_KEYPOINTS, 3):
            raise DataError(
                f"`keypoints` must be (N, {NUM_KEYPOINTS}, 3); got {self.keypoints.shape}"
            )
        if len(self):
            check_finite("features", features)
        outside = [name for name in self.names if not is_inside(name)]
        if outside:
            raise DataError(
                f"names must be paths inside the image folder; got {first_offenders(outside)}"
            )
        bad = [text for text in self.image_sha256 if not _is_sha256(text)]
        if bad:
            raise DataError(f"`image_sha256` must be 64 hex digits; got {first_offenders(bad)}")

    def __len__(self) -> int:
        return len(self.names)


def gallery_time(value: datetime | None) -> datetime | None:
    """A moment by the gallery's clock: one with a zone becomes UTC, one without stays as it is."""
    if value is None or value.tzinfo is None:
        return value
    return value.astimezone(UTC).replace(tzinfo=None)


def camera_name(text: object) -> str | None:
    """A camera as the gallery calls it: ``002`` is camera ``2``, an unknown one is None."""
    name = "" if text is None else str(text).strip()
    if name.isascii() and name.isdigit():
        name = name.lstrip("0") or "0"
    return name or None


def short_id(image_sha256: str) -> str:
    """The id of a sighting."""
    return image_sha256[:_ID_LENGTH]


def is_inside(name: str) -> bool:
    """Whether a name is a plain relative path that never goes up."""
    parts = name.split("/")
    return bool(name) and "\0" not in name and not any(part in ("", ".", "..") for part in parts)


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
