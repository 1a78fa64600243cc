"""What an exported model takes and gives, in ``model.json`` and inside every ONNX file.

Whoever runs the model reads sizes, class counts and names here; none of them is a constant of the
code that runs it.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mtn_core.config import ModelConfig
from mtn_core.errors import DataError, MissingFileError
from mtn_core.files import sha256_of, why_no_file, write_text
from mtn_core.vehicle import KEYPOINT_NAMES, NUM_KEYPOINTS, NUM_SEGMENTS, SEGMENT_NAMES

MODEL_JSON = "model.json"
METADATA_KEY = "mtn_model"
IMAGE, HEATMAPS, SEGMENTS, KEYPOINTS = "image", "heatmaps", "segments", "keypoints"
OUTPUT_NAMES = ("id_logits", "color_logits", "type_logits", "embedding")
BATCH = "N"
_EMBEDDING_WIDTHS = range(1, 1_000_001)  # far more than a network has
# What belongs to the folder of files, not to the model inside one of them.
_OF_FOLDER = {"files", "parity", "accuracy"}
_Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TensorSpec(_Part):
    """One input or output: ``N`` in ``shape`` is the free batch size."""

    shape: tuple[int | str, ...]
    dtype: str
    content: str


class FileSpec(_Part):
    """One exported file.

    ``inputs`` is ``stack`` where the client normalises, ``pixels`` where the model does.
    """

    format: Literal["MINDIR", "ONNX", "AIR"]
    precision: Literal["float32", "float16", "int8"] = "float32"
    inputs: Literal["stack", "pixels"] = "stack"
    sha256: str
    bytes: int


class ModelSpec(_Part):
    """Everything that a client needs to know.

    Attributes:
        name: Stem of the files.
        network: What the network sees and how it is built.
        inputs: Inputs of the files that take the normalised stack.
        pixel_inputs: Inputs of the files that take uint8 pixels and maps.
        outputs: Outputs of every file, in order.
        channels: Names of the stack's channels, in order.
        pids: Vehicle identity of every column of ``id_logits``.
        pids_sha256: Hash of ``pids``, to tell whether two models share their identities.
        metric: Distance that the embedding was trained and evaluated for.
        opset: ONNX operator set of the float32 file.
        commit: Git commit of the code that exported it.
        files: Exported files by name.
        parity: Largest differences to the training network, by file and output.
        accuracy: ``mAP`` and ``rank1`` by file, where they were measured.
    """

    format: Literal["mtn-model/1"] = "mtn-model/1"
    name: str
    network: ModelConfig
    inputs: dict[str, TensorSpec]
    pixel_inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    channels: tuple[str, ...]
    image_mean: tuple[float, float, float]
    image_std: tuple[_Positive, _Positive, _Positive]
    map_mean: float
    map_std: _Positive
    map_size: int = Field(ge=1, le=4096)
    color_names: tuple[str, ...]
    type_names: tuple[str, ...]
    pids: tuple[int, ...]
    pids_sha256: str
    metric: Literal["euclidean", "cosine", "covisible"]
    opset: int | None = None
    checkpoint_sha256: str
    config_sha256: str | None = None
    recipe: str | None = None
    epoch: int | None = None
    seed: int | None = None
    commit: str | None = None
    versions: dict[str, str | None] = {}
    files: dict[str, FileSpec] = {}
    parity: dict[str, dict[str, float]] = {}
    accuracy: dict[str, dict[str, float | None]] = {}

    @model_validator(mode="after")
    def _fits_its_network(self) -> "ModelSpec":
        """Whoever runs the model makes arrays of these shapes, and trusts the hash of the ids."""
        if self.pids_sha256 != hash_of_pids(self.pids):
            raise ValueError("pids: these are not those whose hash is pids_sha256")
        for part, shapes in _shapes(self.network, self.map_size).items():
            tensors = getattr(self, part)
            if list(tensors) != list(shapes):
                raise ValueError(f"{part}: expected {', '.join(shapes)}; got {', '.join(tensors)}")
            for name, expected in shapes.items():
                got = tensors[name].shape
                free = expected is None and len(got) == 2 and got[1] in _EMBEDDING_WIDTHS
                if got != expected and not free:
                    wanted = expected or (BATCH, f"1 to {_EMBEDDING_WIDTHS[-1]}")
                    raise ValueError(f"{part}.{name}.shape: expected {wanted}; got {got}")
        return self

    def width(self, output: str) -> int:
        """Number of values an image has in ``output``."""
        return int(self.outputs[output].shape[-1])

    @property
    def stack_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of one image of the stack."""
        channels, height, width = (int(n) for n in self.inputs[IMAGE].shape[1:])
        return channels, height, width

    @property
    def keypoint_values(self) -> int:
        """Length of one image's keypoint vector."""
        return int(self.inputs[KEYPOINTS].shape[-1])

    def to_metadata(self) -> dict[str, str]:
        """Key-value texts for an ONNX or MINDIR file; the whole under ``mtn_model``."""
        plain = {
            "image_size": self.network.image_size,
            "channel_order": ",".join(self.channels),
            "image_mean": list(self.image_mean),
            "image_std": list(self.image_std),
            "map_mean": self.map_mean,
            "map_std": self.map_std,
            "color_names": ",".join(self.color_names),
            "type_names": ",".join(self.type_names),
            "pids_sha256": self.pids_sha256,
            "outputs": ",".join(self.outputs),
            "commit": self.commit or "unknown",
        }
        whole = self.model_dump_json(exclude=_OF_FOLDER)
        return {**{key: str(value) for key, value in plain.items()}, METADATA_KEY: whole}

    def write(self, folder: Path) -> None:
        """Write ``model.json`` into a folder."""
        write_text(folder / MODEL_JSON, self.model_dump_json(indent=2) + "\n")


def _shapes(
    network: ModelConfig, map_size: int
) -> dict[str, dict[str, tuple[int | str, ...] | None]]:
    """Shapes of a network's inputs and outputs; None where it has a choice."""
    size, maps = network.image_size, (map_size, map_size)
    keypoints = (BATCH, 3 * NUM_KEYPOINTS)
    used = {HEATMAPS: network.heatmaps, SEGMENTS: network.segments}
    counts = {HEATMAPS: NUM_KEYPOINTS, SEGMENTS: NUM_SEGMENTS}
    pixels = {key: (BATCH, counts[key], *maps) for key, value in used.items() if value}
    logits = (network.num_ids, network.num_colors, network.num_types)
    return {
        "inputs": {IMAGE: (BATCH, network.in_channels, size, size), KEYPOINTS: keypoints},
        "pixel_inputs": {IMAGE: (BATCH, size, size, 3), **pixels, KEYPOINTS: keypoints},
        "outputs": {
            **{name: (BATCH, n) for name, n in zip(OUTPUT_NAMES[:-1], logits, strict=True)},
            OUTPUT_NAMES[-1]: None,
        },
    }


def hash_of_pids(pids: Sequence[int]) -> str:
    """Hex SHA-256 of an id map."""
    return hashlib.sha256(json.dumps(list(pids)).encode()).hexdigest()


def channel_names(network: ModelConfig) -> tuple[str, ...]:
    """Names of the stack's channels: RGB, then heatmaps, then segments."""
    names = ["red", "green", "blue"]
    if network.heatmaps:
        names += [f"heatmap_{name}" for name in KEYPOINT_NAMES]
    if network.segments:
        names += [f"segment_{name}" for name in SEGMENT_NAMES]
    return tuple(names)


def parse_spec(text: str | bytes, source: object) -> ModelSpec:
    """Read a spec from JSON text.

    Raises:
        DataError: It is not one.
    """
    try:
        return ModelSpec.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        what = problem["msg"].removeprefix("Value error, ")
        raise DataError(
            f"{source} does not describe an exported model: {where}{': ' if where else ''}{what}; "
            "export the checkpoint again with `mtn export`"
        ) from error


def read_spec(path: Path) -> ModelSpec:
    """Read a ``model.json``.

    Raises:
        MissingFileError: No such file.
        DataError: It is not one.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} {why_no_file(path)}; `mtn export` writes it")
    return parse_spec(path.read_bytes(), path)


def find_spec_file(model_path: Path) -> Path:
    """``model.json`` beside a model file.

    Raises:
        MissingFileError: The model file or its ``model.json`` is missing.
        DataError: A folder.
    """
    if model_path.is_dir():
        raise DataError(f"{model_path} is a folder; give the model file in it")
    if not model_path.is_file():
        raise MissingFileError(
            f"model file {model_path} {why_no_file(model_path)}; `mtn export` writes one"
        )
    path = model_path.parent / MODEL_JSON
    if not path.is_file():
        raise MissingFileError(
            f"{path} is missing; `mtn export` writes it beside the model file, keep them together"
        )
    return path


def load_spec(model_path: str | Path) -> ModelSpec:
    """Read ``model.json`` beside a model file, or itself, and check the file against it.

    Raises:
        MissingFileError: The model file or its ``model.json`` is missing.
        DataError: ``model.json`` is of another model, or the file is damaged.
    """
    model_path = Path(model_path)
    path = model_path if model_path.name == MODEL_JSON else find_spec_file(model_path)
    spec = read_spec(path)
    if path != model_path:
        check_file(model_path, spec, path)
    return spec


def check_file(model_path: Path, spec: ModelSpec, source: object) -> None:
    """Check that a file is the one of its name in ``spec``.

    Raises:
        DataError: It is not named there, cut short, or changed.
    """
    known = spec.files.get(model_path.name)
    if known is None:
        raise DataError(
            f"{model_path.name} is not among the files of {source}: "
            f"{', '.join(spec.files) or 'it names none'}; give one of these, or export again"
        )
    size = model_path.stat().st_size
    if size != known.bytes:
        raise DataError(
            f"{model_path} has {size} bytes, {source} says {known.bytes}: it is cut short or of "
            "another export; copy it again or run `mtn export`"
        )
    if sha256_of(model_path) != known.sha256:
        raise DataError(
            f"{model_path} is not the file that {source} describes (its SHA-256 differs); "
            "copy both again from one export"
        )
