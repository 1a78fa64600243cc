"""What the network says about the images of a split, beside what is true; one file on disk."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mtn_core.errors import DataError, MissingFileError, first_line
from mtn_core.files import write_npz
from mtn_core.metrics.attributes import predict_ids
from mtn_core.metrics.distance import check_finite
from mtn_core.vehicle import NUM_KEYPOINTS

if TYPE_CHECKING:
    from mtn_core.data.split import Split

_IDS = ("pids", "camids", "color_ids", "type_ids")


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What the network says about the images of one split, beside what is true.

    Attributes:
        split: ``query`` or ``test`` (the gallery).
        names: ``(N,)`` str, image file names.
        pids: ``(N,)`` int64 vehicle identities.
        camids: ``(N,)`` int64, 0 unknown.
        color_ids: ``(N,)`` int64 true colours from 1, -1 unknown.
        type_ids: ``(N,)`` int64 true types from 1, -1 unknown.
        features: ``(N, D)`` float32 identity embeddings.
        color_logits: ``(N, num_colors)`` float32; zeros where the network has no such head.
        type_logits: ``(N, num_types)`` float32; likewise.
        keypoints: ``(N, 36, 3)`` float32, x and y in pixels of the crop, and confidence.
        sizes: ``(N, 2)`` int32, width and height of the crop in pixels.

    Raises:
        DataError: Arrays of different lengths, or features that are not finite.
    """

    split: str
    names: np.ndarray
    pids: np.ndarray
    camids: np.ndarray
    color_ids: np.ndarray
    type_ids: np.ndarray
    features: np.ndarray
    color_logits: np.ndarray
    type_logits: np.ndarray
    keypoints: np.ndarray
    sizes: np.ndarray

    def __post_init__(self):
        count = len(self.names)
        tails = {"keypoints": (NUM_KEYPOINTS, 3), "sizes": (2,)} | dict.fromkeys(_IDS, ())
        types = {"names": np.str_, "sizes": np.int32} | dict.fromkeys(_IDS, np.int64)
        for name in (f.name for f in fields(self) if f.name != "split"):
            array = np.asarray(getattr(self, name), types.get(name, np.float32))
            object.__setattr__(self, name, array)
            tail = tails.get(name, array.shape[1:])
            matrix = name in ("features", "color_logits", "type_logits")
            if array.shape != (count, *tail) or (matrix and array.ndim != 2):
                wanted = ", ".join(str(n) for n in (count, *(("width",) if matrix else tail)))
                raise DataError(
                    f"`{name}` of the {self.split} embeddings must have shape ({wanted}); "
                    f"got {array.shape}"
                )
        check_finite(f"features of the {self.split} split", self.features)

    @classmethod
    def of_split(
        cls,
        split: "Split",
        *,
        features: np.ndarray,
        color_logits: np.ndarray | None,
        type_logits: np.ndarray | None,
        sizes: np.ndarray,
    ) -> "Embeddings":
        """Join a network's outputs with the labels of the split they belong to.

        Args:
            split: Names, ids and keypoints, in the order of the outputs.
            features: ``(N, D)`` float32.
            color_logits: ``(N, C)`` float32, or None of a network without attribute heads.
            type_logits: Likewise.
            sizes: ``(N, 2)`` int32 width and height of the crops.
        """
        frame = split.frame
        none = np.zeros((len(frame), 0), np.float32)
        return cls(
            split=split.name,
            names=frame["name"].to_numpy(str),
            pids=frame["pid"].to_numpy(),
            camids=frame["camid"].to_numpy(),
            color_ids=frame["color_id"].to_numpy(),
            type_ids=frame["type_id"].to_numpy(),
            features=features,
            color_logits=none if color_logits is None else color_logits,
            type_logits=none if type_logits is None else type_logits,
            keypoints=split.keypoints,
            sizes=sizes,
        )

    def __len__(self) -> int:
        return len(self.names)

    def save(self, path: str | Path) -> None:
        """Write everything to one ``.npz`` file, whole or not at all."""
        write_npz(path, {f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> "Embeddings":
        """Read a file that :meth:`save` wrote.

        Raises:
            MissingFileError: No such file.
            DataError: Not such a file.
        """
        arrays = load_arrays(path, [f.name for f in fields(cls)])
        try:
            split = str(arrays.pop("split"))
            return cls(split=split, **arrays)
        except (DataError, ValueError, TypeError) as error:
            raise DataError(f"{path} is not usable: {error}") from error

    @property
    def color_predictions(self) -> np.ndarray:
        """``(N,)`` int64 predicted colours from 1, -1 without a colour head."""
        return predict_ids(self.color_logits)

    @property
    def type_predictions(self) -> np.ndarray:
        """``(N,)`` int64 predicted types from 1, -1 without a type head."""
        return predict_ids(self.type_logits)


def load_arrays(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read some arrays of an ``.npz`` file; pickled objects are refused.

    Args:
        path: File that this package wrote.
        names: Arrays that it must hold.

    Raises:
        MissingFileError: No such file.
        DataError: Not such a file, or it lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except FileNotFoundError:
        raise MissingFileError(
            f"{path} does not exist; `mtn eval` writes it into the run folder"
        ) from None
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is not a file of embeddings ({first_line(error)}); evaluate again"
        ) from None
