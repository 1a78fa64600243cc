"""How a data set's authors have retrieval measured on it; the figures of papers follow these rules.

A root in the VeRi layout without a word about it is measured by VeRi's rule. Another rule travels
with the data, see :mod:`mtn_core.data.protocol`.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mtn_core.metrics.labels import separate_unknown_cameras

_IGNORED = {
    "same_camera": "gallery rows with the query's vehicle and camera, and its own image",
    "same_image": "the query's own image",
}


class Images(Protocol):
    """The part of a split's embeddings that a rule looks at."""

    @property
    def names(self) -> np.ndarray:
        """``(N,)`` str."""

    @property
    def camids(self) -> np.ndarray:
        """``(N,)`` int64, 0 unknown."""


class EvaluationProtocol(BaseModel):
    """The rule by which query and gallery are compared.

    Attributes:
        name: Whose rule it is, and of which part of the data.
        ignored: ``same_camera``: gallery rows of the query's vehicle and camera, and its own image,
            stand in no ranking (VeRi, Market-1501). ``same_image``: only its own image.
        ap_ranks: Only the nearest this many rows count in average precision, as the AI City
            Challenge has it; None counts all.
        draws: Above 0: query and gallery are one pool of which one image of each vehicle, drawn at
            random, is the gallery, and this is done so many times (VehicleID). What lies on disk is
            the first draw.
        seed: Of the draws.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("VeRi", min_length=1, max_length=200)
    ignored: Literal["same_camera", "same_image"] = "same_camera"
    ap_ranks: int | None = Field(None, ge=1, le=1_000_000)
    draws: int = Field(0, ge=0, le=1000)
    seed: int = Field(0, ge=0, lt=2**32)

    @property
    def ignored_text(self) -> str:
        """Which gallery rows are ignored, in words."""
        return _IGNORED[self.ignored]

    def to_text(self) -> str:
        """The rule as one sentence."""
        parts = [f"ignored: {self.ignored_text}"]
        if self.ap_ranks:
            parts.append(f"average precision over the nearest {self.ap_ranks}")
        if self.draws:
            parts.append(
                f"one gallery image of each vehicle, {self.draws} draws with seed {self.seed}"
            )
        return f"{self.name} ({'; '.join(parts)})"

    def separate_cameras(self, query: Images, gallery: Images) -> tuple[np.ndarray, np.ndarray]:
        """Cameras that make the metrics ignore what this rule ignores.

        Returns:
            ``(q_camids, g_camids)`` int64, see
            :func:`mtn_core.metrics.labels.separate_unknown_cameras`.
        """
        known = self.ignored == "same_camera"
        cameras = [s.camids if known else np.zeros_like(s.camids) for s in (query, gallery)]
        return separate_unknown_cameras(query.names, cameras[0], gallery.names, cameras[1])

    def to_dict(self) -> dict[str, Any]:
        """For ``results.json``; what does not differ from VeRi's rule is left out."""
        found: dict[str, Any] = {"name": self.name, "ignored": self.ignored_text}
        for key in ("ap_ranks", "draws"):
            if getattr(self, key):
                found[key] = getattr(self, key)
        return found | ({"seed": self.seed} if self.draws else {})

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "EvaluationProtocol":
        """The rule of a saved result; other keys are not read."""
        texts = {text: key for key, text in _IGNORED.items()}
        values = {k: saved[k] for k in ("name", "ap_ranks", "draws", "seed") if k in saved}
        return cls(ignored=texts.get(str(saved.get("ignored")), "same_camera"), **values)


VERI = EvaluationProtocol()
