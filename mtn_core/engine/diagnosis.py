"""What to look at when a training breaks down: the batch and the largest activations."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from mtn_core.files import write_json


@dataclasses.dataclass(frozen=True)
class Activation:
    """Output of one cell: its largest finite magnitude and how many values are not finite."""

    cell: str
    largest: float
    num_not_finite: int


def trace_activations(forward: nn.Cell, inputs: Sequence[np.ndarray]) -> list[Activation]:
    """Run ``forward`` cell by cell and look at every output, in the order of execution."""
    seen: list[Activation] = []

    def watch(name: str):
        def hook(cell, cell_inputs, output):
            tensors = output if isinstance(output, tuple) else (output,)
            values = [t.asnumpy().astype(np.float64).ravel() for t in tensors]
            flat = np.concatenate(values) if values else np.zeros(0)
            finite = np.isfinite(flat)
            largest = float(np.abs(flat[finite]).max()) if finite.any() else 0.0
            seen.append(Activation(name, largest, int((~finite).sum())))

        return hook

    mode = ms.get_context("mode")
    # Hooks are called only where cells run one by one.
    ms.set_context(mode=ms.PYNATIVE_MODE)
    handles = [
        cell.register_forward_hook(watch(name)) for name, cell in forward.cells_and_names() if name
    ]
    try:
        forward(*(ms.Tensor.from_numpy(np.ascontiguousarray(a)) for a in inputs))
    finally:
        for handle in handles:
            handle.remove()
        ms.set_context(mode=mode)
    return seen


def save_diagnosis(
    path: Path,
    *,
    step: int,
    epoch: int,
    image_names: Sequence[str],
    loss: float,
    parts: dict[str, float],
    activations: Sequence[Activation],
    num_largest: int = 20,
) -> None:
    """Write ``path`` (JSON): where it happened, on which images, and which cells stand out."""
    largest = sorted(activations, key=lambda a: a.largest, reverse=True)[:num_largest]
    broken = [a.cell for a in activations if a.num_not_finite]
    write_json(
        path,
        {
            "epoch": epoch,
            "step": step,
            # JSON has no nan; the text says which kind it was.
            "loss": str(loss),
            "parts": {name: str(value) for name, value in parts.items()},
            "images": list(image_names),
            "first_cell_not_finite": broken[0] if broken else None,
            "largest_activations": [dataclasses.asdict(a) for a in largest],
        },
    )
