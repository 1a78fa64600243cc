"""What a gallery holds, for people and programs."""

from collections import Counter
from typing import Any

from mtn_core.gallery.store import Gallery

_SHOWN = 12


def describe(gallery: Gallery) -> dict[str, Any]:
    """Plain values: the info, its count, cameras with their numbers, first and last time, bytes."""
    info = gallery.info
    cameras, times = gallery.backend.overview()
    return {
        "gallery": str(gallery.path),
        "count": info.count,
        **info.to_json_dict(),
        "cameras": dict(sorted(cameras.items(), key=lambda item: (-item[1], item[0]))),
        "first": times[0] and times[0].isoformat(),
        "last": times[1] and times[1].isoformat(),
        "bytes": sum(f.stat().st_size for f in gallery.path.rglob("*") if f.is_file()),
    }


def format_text(values: dict[str, Any]) -> str:
    """The same for a terminal."""
    needs = values["input"]
    sees = [name for name in ("heatmaps", "segments", "keypoints") if needs[name]]
    cameras: Counter[str] = Counter(values["cameras"])
    shown = ", ".join(f"{name or 'unknown'}: {n}" for name, n in cameras.most_common(_SHOWN))
    more = f" and {len(cameras) - _SHOWN} more" if len(cameras) > _SHOWN else ""
    pose = f"pose by {needs['pose_sha256'][:12]}" if needs["pose_sha256"] else "without a pose"
    threshold = values["threshold"]
    lines = {
        "gallery": values["gallery"],
        "sightings": f"{values['count']} ({values['bytes'] / 1e6:.1f} MB)",
        "model": f"{values['model_name']}, checkpoint {values['model_sha256'][:12]}",
        "input": f"{needs['image_size']} pixels{''.join(', ' + s for s in sees)}, {pose}",
        "embedding": f"{values['dimension']} values, {values['metric']} distance",
        "threshold": "not known" if threshold is None else f"{threshold:g}",
        "images": values["images"] or "none",
        "cameras": f"{shown}{more}" if cameras else "none",
        "time": f"{values['first']} to {values['last']}" if values["first"] else "not known",
    }
    return "\n".join(f"{name + ':':<11}{value}" for name, value in lines.items())
