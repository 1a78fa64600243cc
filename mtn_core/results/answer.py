"""The answer of a search: candidates, nearest first, cut at a threshold that was measured."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from mtn_core.results.threshold import Threshold

LIKELY, BEYOND = "likely", "beyond the threshold"
HIT_COLUMNS = (
    *("rank", "distance", "likely", "camera", "time", "track", "vehicle", "color"),
    *("color_confidence", "type", "type_confidence", "name"),
)
_SHOWN = ("rank", "distance", "camera", "time", "vehicle", "color", "type", "name")


@dataclass(frozen=True)
class Asked:
    """What was searched for: one crop, or several of one track.

    Attributes:
        images: Files, or other names.
        camera: That took them; None if not known.
        color: What the network takes the vehicle's colour for; None without such a head.
        color_confidence: 0..1.
        type: What it takes the type for.
        type_confidence: 0..1.
        pose: Whose keypoints the network saw: ``labels``, ``PoseEstNet``, ``none`` though it was
            made for some, or None of a network that sees no pose.
    """

    images: tuple[str, ...]
    camera: str | None = None
    color: str | None = None
    color_confidence: float | None = None
    type: str | None = None
    type_confidence: float | None = None
    pose: str | None = None

    def describe(self) -> str:
        """One line for a person."""
        first = self.images[0] if self.images else "embedding"
        more = f" and {len(self.images) - 1} more of its track" if len(self.images) > 1 else ""
        said = [
            with_confidence(getattr(self, key), getattr(self, f"{key}_confidence"))
            for key in ("color", "type")
            if getattr(self, key) is not None
        ]
        looks = f"predicted {', '.join(said)}" if said else "no colour or type predicted"
        camera = f"camera {self.camera}" if self.camera else "camera not known"
        pose = {"none": "; without its pose, for which the network was made"}.get(self.pose or "")
        return f"{first}{more}: {looks}; {camera}{pose or ''}"


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The gallery images nearest to a crop.

    Attributes:
        asked: What was searched for.
        run: The run folder or the gallery.
        metric: ``euclidean`` or ``cosine``.
        exact: Whether all images that were not left out were compared.
        num_gallery: Images in the gallery.
        num_compared: Images that filters and what was left out have kept.
        threshold: None: nothing cuts the list.
        hits: A row per answer, nearest first: :data:`HIT_COLUMNS`. Colour and type are the label
            where the gallery has one, then without confidence, else what the network predicts.
            Answers from a run have ``pid``, ``camid`` and ``row`` (in its gallery), too.
        left_out: What was not compared, and why, for a person.
        recall: Share of the exact answers that an index finds, measured on a sample; None of an
            exact search.
    """

    asked: Asked
    run: str
    metric: str
    exact: bool
    num_gallery: int
    num_compared: int
    threshold: Threshold | None
    hits: pd.DataFrame
    left_out: Sequence[str] = ()
    recall: float | None = None

    @property
    def image(self) -> str:
        """What was searched for, the first of several crops."""
        return self.asked.images[0] if self.asked.images else "embedding"

    @property
    def likely(self) -> pd.DataFrame:
        """The hits below the threshold; all where there is none."""
        return self.hits if self.threshold is None else self.hits[self.hits["likely"]]

    @property
    def sightings(self) -> pd.DataFrame:
        """The likely hits by vehicle and camera, nearest first.

        Columns: vehicle, camera, num_images, first, last (times), distance, name (of the nearest).
        """
        groups = self.likely.groupby(["vehicle", "camera"], sort=False, dropna=False)
        return groups.agg(
            num_images=("name", "size"),
            first=("time", "min"),
            last=("time", "max"),
            distance=("distance", "first"),
            name=("name", "first"),
        ).reset_index()

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values: image, asked, run, metric, exact, threshold and a list of hits."""
        hits = self.hits.drop(columns="row", errors="ignore")
        hits = hits.assign(time=[None if pd.isna(t) else t.isoformat() for t in hits["time"]])
        return {
            "image": self.image,
            "query": asdict(self.asked),
            "run": self.run,
            "metric": self.metric,
            "exact": self.exact,
            "recall": self.recall,
            "num_gallery": self.num_gallery,
            "num_compared": self.num_compared,
            "left_out": list(self.left_out),
            "threshold": None if self.threshold is None else asdict(self.threshold),
            "hits": json.loads(hits.to_json(orient="records", double_precision=15)),
        }

    def format_table(self) -> str:
        """Tables for a terminal, with lines on what was searched for, and in what."""
        lines = [self.asked.describe()]
        if not len(self.hits):
            lines.append("nothing is left to compare with")
        elif self.threshold is None:
            lines += ["", "candidates; no threshold is known that would cut the list"]
            lines.append(_format_hits(self.hits))
        else:
            lines += ["", f"{LIKELY}: {self.threshold.describe()}"]
            lines.append(_format_hits(self.likely) if len(self.likely) else self.none_likely)
            others = self.hits[~self.hits["likely"]]
            if len(others):
                lines += ["", BEYOND, _format_hits(others)]
        lines += ["", *(f"left out: {text}" for text in self.left_out)]
        lines.append(
            f"{self.image} against {self.num_compared} gallery images of {self.run} "
            f"({self.metric} distance, {self.how}), {self.num_gallery} in all"
        )
        return "\n".join(lines)

    @property
    def none_likely(self) -> str:
        """What it means that no candidate is likely."""
        return (
            "none: the vehicle was not seen elsewhere, or the network does not know it again "
            "at such a distance"
        )

    @property
    def how(self) -> str:
        """How the images were compared."""
        if self.exact:
            return "all compared"
        measured = ", recall not measured" if self.recall is None else ""
        if self.recall is not None:
            measured = f", recall {self.recall:.3f} on a sample"
        return f"nearest cells of an index compared{measured}"


def make_hits(rows: Sequence[Mapping[str, Any]], threshold: Threshold | None) -> pd.DataFrame:
    """The frame of hits, ranked and cut.

    Args:
        rows: Nearest first, with the :data:`HIT_COLUMNS` but for ``rank`` and ``likely``.
        threshold: Cuts them.
    """
    extra = [key for key in (rows[0] if rows else ()) if key not in HIT_COLUMNS]
    hits = pd.DataFrame(list(rows), columns=[*HIT_COLUMNS[1:2], *HIT_COLUMNS[3:], *extra])
    hits["distance"] = hits["distance"].astype(float)
    hits["time"] = pd.to_datetime(hits["time"])
    hits.insert(0, "rank", range(1, len(hits) + 1))
    limit = math.inf if threshold is None else threshold.distance
    hits.insert(2, "likely", hits["distance"] < limit)
    return hits


def with_confidence(name: Any, confidence: float | None) -> str:
    """``red 0.93``; a label has no confidence, and what is not known is a dash."""
    if name is None or pd.isna(name):
        return "–"
    if confidence is None or math.isnan(confidence):
        return str(name)
    return f"{name} {confidence:.2f}"


def _format_hits(hits: pd.DataFrame) -> str:
    shown = hits[list(_SHOWN)].copy()
    for key in ("color", "type"):
        shown[key] = [
            with_confidence(*pair)
            for pair in zip(hits[key], hits[f"{key}_confidence"], strict=True)
        ]
    shown["time"] = ["" if pd.isna(t) else t.isoformat(" ", "seconds") for t in hits["time"]]
    for key in ("camera", "vehicle"):
        shown[key] = ["?" if pd.isna(v) or v == "" else str(v) for v in hits[key]]
    if hits["time"].isna().all():
        shown = shown.drop(columns="time")
    return shown.to_string(index=False, float_format="{:.4f}".format)
