"""The one way to run a network over a split, whatever the network runs in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mtn_core.config import ModelConfig
from mtn_core.data.pipeline import EvalLoader
from mtn_core.data.source import Source
from mtn_core.errors import ConfigError
from mtn_core.progress import progress_bar
from mtn_core.results import Embeddings

MAP_KEYS = ("heatmaps", "segments")


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network says about a batch.

    Attributes:
        features: ``(N, D) float32`` identity embeddings.
        color_logits: ``(N, num_colors) float32``; None of a network without attribute heads.
        type_logits: ``(N, num_types) float32``; likewise.
    """

    features: np.ndarray
    color_logits: np.ndarray | None = None
    type_logits: np.ndarray | None = None


class Backend(Protocol):
    """A network that is ready to embed batches.

    Attributes:
        model: What it sees: ``image_size``, ``heatmaps``, ``segments``, ``keypoints``.
        metric: Distance that its embeddings are compared by.
        recipe: What it was trained by, or None.
        provenance: For ``results.json``: checkpoint and file hashes and the like.
        rank: This process, among ``rank_size`` that embed a split together.
        rank_size: Number of processes.
    """

    model: ModelConfig
    metric: str
    recipe: str | None
    provenance: Mapping[str, Any]
    rank: int
    rank_size: int

    def embed(self, batch: Mapping[str, np.ndarray]) -> Outputs:
        """Run on a loader's batch: uint8 pixels and maps at network size, keypoints."""

    def gather(self, values: np.ndarray) -> np.ndarray:
        """``(N, ...)`` of this rank to ``(rank_size * N, ...)`` of all, in the order of ranks."""


def used_maps(model: ModelConfig) -> list[str]:
    """``heatmaps`` and ``segments``, as far as the network sees them, in channel order."""
    return [key for key in MAP_KEYS if getattr(model, key)]


def embed_split(
    backend: Backend,
    source: Source,
    *,
    batch_size: int = 32,
    num_workers: int | None = None,
    shown: bool = True,
) -> Embeddings:
    """Embed every image of a split, in the split's order; with several ranks together.

    Args:
        backend: The network.
        source: The split, opened with the maps that the network sees.
        batch_size: Images at a time.
        num_workers: Decoding threads; by default as many as the machine has processors.
        shown: Whether a progress bar is shown on a terminal.

    Raises:
        DataError: An image or a map that the network needs cannot be read.
    """
    split = source.split
    parts: list[Outputs] = []
    rows: list[np.ndarray] = []
    with EvalLoader(
        source,
        model=backend.model,
        batch_size=batch_size,
        rank=backend.rank,
        rank_size=backend.rank_size,
        num_workers=num_workers,
    ) as loader:
        for batch in progress_bar(
            loader,
            description=f"embedding {split.name}",
            unit="batch",
            shown=shown and backend.rank == 0,
        ):
            parts.append(backend.embed(batch))
            rows.append(np.column_stack([batch["index"], batch["size"]]).astype(np.int32))
    labels = backend.gather(np.concatenate(rows))
    # Back into the split's order, without the rows that fill up the last batches.
    kept = np.flatnonzero(labels[:, 0] >= 0)
    order = kept[np.argsort(labels[kept, 0], kind="stable")]

    def join(values: Sequence[np.ndarray]) -> np.ndarray:
        return backend.gather(np.concatenate(values))[order]

    colors = [part.color_logits for part in parts if part.color_logits is not None]
    types = [part.type_logits for part in parts if part.type_logits is not None]
    return Embeddings.of_split(
        split,
        features=join([part.features for part in parts]),
        color_logits=join(colors) if colors else None,
        type_logits=join(types) if types else None,
        sizes=labels[order, 1:],
    )


def check_maps(
    model: ModelConfig, source: object, *, heatmaps: bool | None, segments: bool | None
) -> None:
    """Check what the caller believes the network sees.

    Args:
        model: What it does see.
        source: File that says so; named in the error.
        heatmaps: The caller's belief, or None.
        segments: Likewise.

    Raises:
        ConfigError: The network sees something else.
    """
    for flag, wanted, has in (
        ("heatmapaware", heatmaps, model.heatmaps),
        ("segmentaware", segments, model.segments),
    ):
        if wanted is not None and wanted != has:
            raise ConfigError(
                f"{source} was trained with --{flag} {has}, but --{flag} {wanted} was given; "
                f"the network has {model.in_channels} input channels. Leave the flag out to use "
                "what the file says"
            )
