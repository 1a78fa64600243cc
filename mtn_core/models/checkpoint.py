"""Checkpoints: MindSpore's own format, written whole, with what is needed to build the network.

Weights keep their natural names, so that ``mindspore.load_checkpoint`` reads them as ever. What
else a training needs stands behind a prefix: ``optimizer.``, ``ema.``, ``scaler.``, ``loss.``. A
JSON text (kind, model configuration, training ids, position) is stored as bytes under ``mtn.meta``.
"""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import mindspore as ms
import numpy as np
from mindspore import nn
from pydantic import BaseModel, ConfigDict, Field

from mtn_core.config import MAX_SEED, ModelConfig, Section, validate
from mtn_core.errors import (
    CheckpointError,
    ConfigError,
    MissingFileError,
    first_line,
    first_offenders,
)
from mtn_core.files import atomic_path, sha256_of, why_no_file

META_NAME = "mtn.meta"
STATE_PREFIXES = ("optimizer.", "ema.", "scaler.", "loss.")
MULTITASK = "multitask"  # kind of MultiTaskNet's checkpoints
_TITLES = {
    MULTITASK: "a MultiTaskNet",
    "backbone": "a bare DenseNet-121",
    "pose": "a PoseEstNet",
    "pose backbone": "a bare HRNet",
}
Schema = TypeVar("Schema", bound=Section)


class Facts(BaseModel):
    """What is read of a checkpoint's meta data; whatever else stands there is kept, and not read.

    Attributes:
        kind: ``multitask``, ``pose`` or ``backbone``; None in foreign files.
        model: Configuration of the network.
        pids: Vehicle identity of every identity class, in order.
        metric: Distance that the embeddings are compared by.
        recipe: That the weights were trained by.
        config_sha256: Of the whole configuration.
        seed: Of the training.
        steps_per_epoch: Of the training.
        data: Hashes of what was trained on, by what they are of.
        epoch: Complete epochs; this and what follows are where a resumed training goes on.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    kind: str | None = None
    model: dict[str, Any] | None = None
    pids: tuple[int, ...] | None = None
    metric: Literal["euclidean", "cosine", "covisible"] = "euclidean"
    recipe: str | None = None
    config_sha256: str | None = None
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    steps_per_epoch: int | None = None
    data: dict[str, str] | None = None
    epoch: int | None = Field(None, ge=0)
    step_in_epoch: int = Field(0, ge=0)
    step: int = Field(0, ge=0)
    skipped_steps: int = Field(0, ge=0)
    best_score: float | None = None
    best_epoch: int | None = None


@dataclasses.dataclass
class Checkpoint:
    """What a file holds.

    Attributes:
        weights: Network values by parameter name; the averaged ones (EMA) where there are any.
        state: Values behind the prefixes of ``STATE_PREFIXES``.
        raw_weights: Network values without averaging; what training goes on from.
        meta: Meta data as it stands in the file; empty in foreign files.
        facts: What of it is read.
    """

    path: Path
    weights: dict[str, np.ndarray]
    raw_weights: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    meta: dict[str, Any]
    facts: Facts

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the file."""
        return sha256_of(self.path)

    @property
    def model_config(self) -> ModelConfig:
        """Configuration of the MultiTaskNet that the weights belong to.

        Raises:
            CheckpointError: They belong to another network, or the file does not say.
        """
        config = self.read_model(MULTITASK, ModelConfig)
        pids = self.facts.pids
        if pids is not None and len(set(pids)) != config.num_ids:
            raise CheckpointError(
                f"{self.path} contradicts itself: {len(set(pids))} training ids for a network of "
                f"{config.num_ids} identity classes"
            )
        return config

    def read_model(self, kind: str, schema: type[Schema]) -> Schema:
        """Configuration of the network, which must be of one kind.

        Args:
            kind: ``multitask`` or ``pose``.
            schema: What its configuration must be.

        Raises:
            CheckpointError: It is another network, or the file does not say.
        """
        if self.facts.kind not in (kind, None):
            raise CheckpointError(
                f"{self.path} holds {_TITLES.get(self.facts.kind, self.facts.kind)}, not "
                f"{_TITLES[kind]}"
            )
        if self.facts.model is None:
            raise CheckpointError(
                f"{self.path} does not say which network it belongs to; "
                "it was not written by a training of this package. For weights to start from, use "
                "--pre_ckpt_path"
            )
        try:
            return validate(schema, self.facts.model)
        except ConfigError as error:
            raise CheckpointError(
                f"{self.path} holds a network that this version cannot build: {error}"
            ) from error


def save_checkpoint(
    path: str | Path,
    weights: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    state: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write weights, training state and meta data, whole or not at all."""
    text = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    values = {**weights, **(state or {}), META_NAME: text.copy()}
    entries = [{"name": name, "data": ms.Tensor(value)} for name, value in values.items()]
    with atomic_path(path) as temporary:
        ms.save_checkpoint(entries, str(temporary), crc_check=True)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this package, or the weights of any MindSpore checkpoint.

    Raises:
        MissingFileError: There is no such file.
        CheckpointError: The file is cut short or not a MindSpore checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"checkpoint {path} is a folder; give a .ckpt file in it")
    if not path.is_file():
        raise MissingFileError(f"checkpoint {path} {why_no_file(path)}")
    if path.suffix != ".ckpt":
        raise CheckpointError(
            f"{path} is not named .ckpt; a PyTorch or safetensors file goes through `mtn convert`"
        )
    try:
        with _silence():
            loaded = ms.load_checkpoint(str(path), crc_check=True)
        values = {name: parameter.asnumpy() for name, parameter in loaded.items()}
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        # MindSpore's own words name a file prefix that nobody gave, or permissions.
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it is cut short, damaged, or another kind of "
            "file"
        ) from error
    if not values:
        raise CheckpointError(f"{path} holds no parameters")
    meta = _read_meta(values.pop(META_NAME), path) if META_NAME in values else {}
    try:
        facts = validate(Facts, meta)
    except ConfigError as error:
        raise CheckpointError(f"{path} has meta data that cannot be used: {error}") from error
    state = {name: values.pop(name) for name in list(values) if name.startswith(STATE_PREFIXES)}
    averaged = {n.removeprefix("ema."): v for n, v in state.items() if n.startswith("ema.")}
    return Checkpoint(path, {**values, **averaged}, values, state, meta, facts)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep MindSpore from printing what it raises, too."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _read_meta(data: np.ndarray, path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(data.tobytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} has meta data that is not JSON ({first_line(error)})"
        ) from error
    if not isinstance(meta, dict):
        raise CheckpointError(
            f"{path} has meta data that cannot be used: expected an object, "
            f"got {type(meta).__name__}"
        )
    return meta


def network_weights(network: nn.Cell) -> dict[str, np.ndarray]:
    """All parameters of a network, moving statistics included, by name."""
    return {name: p.asnumpy() for name, p in network.parameters_dict().items()}


def load_weights(network: nn.Cell, weights: Mapping[str, np.ndarray], source: object) -> None:
    """Put ``weights`` into ``network``; every parameter must match by name and shape.

    Args:
        network: Changed in place, and not at all when something does not fit.
        weights: Values by parameter name.
        source: Named in the error.

    Raises:
        CheckpointError: Lists what is missing, unexpected, or of another shape.
    """
    parameters = network.parameters_dict()
    missing = sorted(parameters.keys() - weights.keys())
    unexpected = sorted(weights.keys() - parameters.keys())
    reshaped = [
        f"{name}: network {tuple(parameters[name].shape)}, file {weights[name].shape}"
        for name in parameters
        if name in weights and tuple(parameters[name].shape) != weights[name].shape
    ]
    if missing or unexpected or reshaped:
        faults = []
        for title, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("other shape", reshaped),
        ):
            if names:
                faults.append(f"{title}: {first_offenders(names)}")
        raise CheckpointError(
            f"{source} does not fit the network: {'; '.join(faults)}. Check --heatmapaware, "
            "--segmentaware and the model section of the recipe; weights of another network to "
            "start from go to --pre_ckpt_path"
        )
    broken = [name for name in parameters if not np.isfinite(weights[name]).all()]
    if broken:
        raise CheckpointError(
            f"{source} has weights that are nan or infinite: {first_offenders(broken)}; did the "
            "training diverge?"
        )
    others = [name for name in parameters if weights[name].dtype.kind not in "fV"]  # V: bfloat16
    if others:
        raise CheckpointError(
            f"{source} has weights that are no floating-point numbers: {first_offenders(others)}"
        )
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(weights[name], parameter.dtype))


def create_network(checkpoint: Checkpoint) -> nn.Cell:
    """The MultiTaskNet that a checkpoint belongs to, with its weights, in evaluation mode.

    Raises:
        CheckpointError: It belongs to another network, or does not fit.
    """
    from mtn_core.models.multitask import MultiTaskNet

    network = MultiTaskNet(checkpoint.model_config)
    load_weights(network, checkpoint.weights, checkpoint.path)
    network.set_train(False)
    return network
