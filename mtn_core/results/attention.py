"""Attention maps of a run, as the engine writes them and figures and reports read them.

The maps are arrays in a file: drawing them needs no network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtn_core.errors import DataError
from mtn_core.files import write_npz
from mtn_core.results.embeddings import load_arrays
from mtn_core.runs import RunFolder


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Maps of some images of a run.

    Attributes:
        query: ``(h, w)`` maps by query row, any scale, at least 0; each covers its whole crop.
        gallery: Likewise by gallery row.
    """

    query: Mapping[int, np.ndarray]
    gallery: Mapping[int, np.ndarray]

    def save(self, run_dir: str | Path) -> Path:
        """Write ``attention.npz`` into a run folder, whole or not at all."""
        arrays = {}
        for name, maps in (("query", self.query), ("gallery", self.gallery)):
            rows = sorted(maps)
            arrays[f"{name}_rows"] = np.array(rows, dtype=np.int64)
            stacked = [np.asarray(maps[row], dtype=np.float32) for row in rows]
            arrays[f"{name}_maps"] = np.stack(stacked) if rows else np.zeros((0, 1, 1), np.float32)
        path = RunFolder(run_dir).attention
        write_npz(path, arrays, compressed=True)
        return path

    @classmethod
    def load(cls, run_dir: str | Path) -> "AttentionMaps | None":
        """Read the maps of a run folder; None where it has none.

        Raises:
            DataError: The file cannot be read.
        """
        path = RunFolder(run_dir).attention
        if not path.is_file():
            return None
        names = [f"{split}_{what}" for split in ("query", "gallery") for what in ("rows", "maps")]
        try:
            arrays = load_arrays(path, names)
            maps = [
                dict(zip(arrays[f"{n}_rows"].tolist(), arrays[f"{n}_maps"], strict=True))
                for n in ("query", "gallery")
            ]
        except (DataError, ValueError, TypeError) as error:
            raise DataError(f"{path} is not a file of attention maps: {error}") from error
        return cls(*maps)
