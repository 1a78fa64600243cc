"""What the training loop needs to know of the thing that is trained."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import mindspore as ms
import numpy as np
from mindspore import nn

from mtn_core.config import Recipe

Batch = dict[str, np.ndarray]


class Loader(Protocol):
    """Batches of an epoch, the same ones whenever the epoch is asked for again."""

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose the epoch, from 0, and the first step of it."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...

    def close(self) -> None:
        """Stop the workers."""


@dataclasses.dataclass(frozen=True)
class Score:
    """Result of an evaluation during training: what chooses ``best``, and what to log."""

    score: float
    metrics: dict[str, float]


class TrainTask(Protocol):
    """A network, its loss, its data and its evaluation."""

    @property
    def config(self) -> Recipe:
        """Resolved, with what the data settled."""

    @property
    def kind(self) -> str:
        """Stored in checkpoints: ``multitask``, ``pose``."""

    @property
    def network(self) -> nn.Cell:
        """The cell whose weights are trained and saved."""

    @property
    def forward(self) -> nn.Cell:
        """Cell from a batch's tensors to ``(loss, parts)``."""

    @property
    def part_names(self) -> Sequence[str]:
        """Names of ``parts``, columns of ``train.csv``."""

    @property
    def score_name(self) -> str:
        """What ``Score.score`` is."""

    @property
    def metric_names(self) -> Sequence[str]:
        """Keys of ``Score.metrics``, columns of ``validation.csv``."""

    @property
    def loader(self) -> Loader:
        """Training batches."""

    def inputs(self, batch: Batch) -> Sequence[np.ndarray]:
        """A batch's arrays in the order that ``forward`` takes."""

    def image_names(self, batch: Batch) -> list[str]:
        """File names of a batch, for error messages."""

    def backbone_parameters(self) -> list[ms.Parameter]:
        """What a frozen warm-up leaves alone."""

    def meta(self) -> dict[str, Any]:
        """What a checkpoint must say for the network to be built from it."""

    def evaluate(self, weights: dict[str, np.ndarray]) -> Score | None:
        """Score weights on the evaluation data; None where there is none."""
