"""Checkpoints: MindSpore's own format, written whole, with what is needed to build the network.

Weights keep their natural names, so that ``mindspore.load_checkpoint`` reads them as ever. What
else a training needs stands behind a prefix: ``optimizer.``, ``ema.``, ``scaler.``. A JSON text
(kind, model configuration, training ids, position) is stored as bytes under ``mtn.meta``.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from mtn_core.config import ModelConfig
from mtn_core.errors import CheckpointError, first_offenders
from mtn_core.files import atomic_path

META_NAME = "mtn.meta"
STATE_PREFIXES = ("optimizer.", "ema.", "scaler.")


@dataclasses.dataclass
class Checkpoint:
    """What a file holds.

    Attributes:
        weights: Network values by parameter name; the averaged ones (EMA) where there are any.
        state: Values behind the prefixes ``optimizer.``, ``ema.``, ``scaler.``.
        raw_weights: Network values without averaging; what training goes on from.
        meta: ``kind``, ``model``, ``pids``, ``epoch``, ``step`` ...; empty in foreign files.
    """

    path: Path
    weights: dict[str, np.ndarray]
    raw_weights: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def model_config(self) -> ModelConfig:
        """Configuration of the network.

        Raises:
            CheckpointError: The file does not say; it was not written by this package.
        """
        if "model" not in self.meta:
            raise CheckpointError(
                f"{self.path} does not say which network it belongs to; "
                "it was not written by `mtn train`. For weights to start from, use --pre_ckpt_path"
            )
        return ModelConfig.model_validate(self.meta["model"])


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
        temporary.unlink()
        ms.save_checkpoint(entries, str(temporary), crc_check=True)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this package, or the weights of any MindSpore checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is cut short or not a MindSpore checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    if path.suffix != ".ckpt":
        raise CheckpointError(
            f"{path} is not named .ckpt; a PyTorch or safetensors file goes through `mtn convert`"
        )
    try:
        loaded = ms.load_checkpoint(str(path), crc_check=True)
        values = {name: parameter.asnumpy() for name, parameter in loaded.items()}
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: cut short or damaged ({first_line})"
        ) from error
    if not values:
        raise CheckpointError(f"{path} holds no parameters")
    meta = json.loads(values.pop(META_NAME).tobytes()) if META_NAME in values else {}
    state = {name: values.pop(name) for name in list(values) if name.startswith(STATE_PREFIXES)}
    averaged = {n.removeprefix("ema."): v for n, v in state.items() if n.startswith("ema.")}
    return Checkpoint(path, {**values, **averaged}, values, state, meta)


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
        lines = [f"{source} does not fit the network:"]
        for title, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("other shape", reshaped),
        ):
            if names:
                lines.append(f"  {title}: {first_offenders(names)}")
        lines.append(
            "  check --heatmapaware, --segmentaware and the model section of the recipe; "
            "weights of another network to start from go to --pre_ckpt_path"
        )
        raise CheckpointError("\n".join(lines))
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(weights[name], parameter.dtype))


def create_network(checkpoint: Checkpoint) -> nn.Cell:
    """The MultiTaskNet that a checkpoint belongs to, with its weights, in evaluation mode."""
    from mtn_core.models.multitask import MultiTaskNet

    kind = checkpoint.meta.get("kind", "multitask")
    if kind != "multitask":
        raise CheckpointError(f"{checkpoint.path} holds a {kind} network, not a MultiTaskNet")
    network = MultiTaskNet(checkpoint.model_config)
    load_weights(network, checkpoint.weights, checkpoint.path)
    network.set_train(False)
    return network
