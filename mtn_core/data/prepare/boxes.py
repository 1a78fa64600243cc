"""Boxes that people drew over frames, as CVAT and COCO write them: cut out as crops."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from mtn_core.data.images import read_image
from mtn_core.data.layout import IMAGE_SUFFIXES
from mtn_core.data.prepare.sources import FIELDS
from mtn_core.errors import ConfigError, DataError, first_line, first_offenders
from mtn_core.files import why_no_file
from mtn_core.progress import progress_bar

ID_NAMES = ("pid", "vehicle_id", "vehicleid", "track_id", "id")
_CLASS_NAMES = {"camera": "camid", "cam": "camid", "color": "color_id", "colour": "color_id"}
_CLASS_NAMES |= {"type": "type_id", "vehicle_type": "type_id"}
_SMALLEST = 8  # pixels of a side; less is no crop to compare
_QUALITY = 95
_NOT_ITS_FORM = (ET.ParseError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Box:
    """A box of one frame.

    Attributes:
        frame: Name of the frame's image.
        corners: Left, top, right and bottom in pixels.
        fields: What is said about it, by the names of
            :data:`mtn_core.data.prepare.sources.FIELDS`.
    """

    frame: str
    corners: tuple[float, float, float, float]
    fields: Mapping[str, str]


def read_boxes(path: Path) -> list[Box]:
    """Read CVAT's XML (images or video) or COCO's JSON.

    The vehicle is an attribute ``pid``, ``vehicle_id`` or ``track_id``, else CVAT's track. Camera,
    colour, type and split are attributes of these names, where there are any.

    Raises:
        DataError: Neither of the two, or boxes without a vehicle.
    """
    if not path.is_file():
        raise DataError(f"{path} {why_no_file(path)}")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason})") from error
    try:
        if text.lstrip().startswith("<"):
            boxes = _from_cvat(ET.fromstring(text))
        else:
            boxes = _from_coco(json.loads(text))
    except _NOT_ITS_FORM as error:
        raise DataError(
            f"{path} is neither CVAT's XML nor COCO's JSON: {type(error).__name__} "
            f"{first_line(error)[:100]}"
        ) from error
    if not boxes:
        raise DataError(f"{path} has no boxes")
    nameless = [f"a box of {box.frame}" for box in boxes if not box.fields.get("pid")]
    if nameless:
        raise DataError(
            f"{path}: every box needs a vehicle, as an attribute {', '.join(ID_NAMES[:-1])} or as "
            f"a track: {first_offenders(nameless)}"
        )
    return boxes


def cut_boxes(
    boxes: Sequence[Box], frames: Path, folder: Path, *, margin: float, progress: bool
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Cut boxes out of their frames, with a margin around them.

    Args:
        boxes: From :func:`read_boxes`.
        frames: Folder with the frames.
        folder: Gets the crops.
        margin: Added on every side, as a share of the box's width and height, as far as the frame
            goes.
        progress: Show a progress bar where there is a terminal.

    Returns:
        As :func:`mtn_core.data.prepare.sources.rows_by_name`, of the crops in ``folder``.

    Raises:
        ConfigError: A margin that is not 0..1.
    """
    if not 0 <= margin <= 1:
        raise ConfigError(f"--margin must be 0..1, a share of the box; got {margin}")
    rows, bad = [], {}
    by_frame: dict[str, list[Box]] = {}
    for box in boxes:
        by_frame.setdefault(box.frame, []).append(box)
    number = 0
    for frame, mine in progress_bar(
        list(by_frame.items()), description="cut boxes", unit="frame", shown=progress
    ):
        path = _frame_path(frames, frame)
        if path is None:
            bad[frame] = f"does not exist in {frames}"
            continue
        try:
            pixels = read_image(path)
        except DataError as error:
            bad[frame] = str(error).removeprefix(f"{path} ")
            continue
        for box in mine:
            number += 1
            place = _inside(box, pixels.shape[1], pixels.shape[0], margin)
            name = f"{number:08d}.jpg"
            if place is None:
                bad[f"{frame}, box {number}"] = f"is smaller than {_SMALLEST} pixels in the frame"
                continue
            left, top, right, bottom = place
            crop = Image.fromarray(pixels[top:bottom, left:right])
            crop.save(folder / name, "JPEG", quality=_QUALITY, subsampling=0)
            rows.append({"name": name, **box.fields})
    if not rows:
        raise DataError(f"no box can be cut out of the frames in {frames}: {_first(bad)}")
    return pd.DataFrame(rows).fillna(""), bad


def _first(bad: Mapping[str, str]) -> str:
    return first_offenders([f"{name} {why}" for name, why in bad.items()])


def _frame_path(frames: Path, name: str) -> Path | None:
    """A frame below the folder; of a video's frame numbers, the image that ends in that number."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    if (frames / name).is_file():
        return frames / name
    if name.isdigit():
        for suffix in IMAGE_SUFFIXES:
            for width in range(len(name), 11):
                for prefix in ("", "frame_", "frame"):
                    path = frames / f"{prefix}{int(name):0{width}d}{suffix}"
                    if path.is_file():
                        return path
    return None


def _inside(box: Box, width: int, height: int, margin: float) -> tuple[int, int, int, int] | None:
    left, top, right, bottom = box.corners
    if not (left < right and top < bottom):
        return None
    across, down = margin * (right - left), margin * (bottom - top)
    place = (
        max(0, round(left - across)),
        max(0, round(top - down)),
        min(width, round(right + across)),
        min(height, round(bottom + down)),
    )
    return place if place[2] - place[0] >= _SMALLEST <= place[3] - place[1] else None


def _fields(given: Mapping[str, Any], fallback: str = "") -> dict[str, str]:
    texts = {str(k).strip().lower(): str(v).strip() for k, v in given.items() if v is not None}
    pid = next((texts[name] for name in ID_NAMES if texts.get(name)), fallback)
    renamed = {_CLASS_NAMES.get(key, key): value for key, value in texts.items()}
    return {k: v for k, v in renamed.items() if k in FIELDS and k != "pid"} | {"pid": pid}


def _from_cvat(root: ET.Element) -> list[Box]:
    boxes = []
    for image in root.iter("image"):
        for box in image.findall("box"):
            boxes.append(Box(image.attrib["name"], _corners(box), _fields(_attributes(box))))
    for track in root.iter("track"):
        for box in track.findall("box"):
            if box.get("outside") == "1":
                continue
            fields = _fields(_attributes(box), track.get("id", ""))
            fields["track"] = track.get("id", "")
            boxes.append(Box(box.attrib["frame"], _corners(box), fields))
    return boxes


def _attributes(box: ET.Element) -> dict[str, str]:
    return {a.attrib["name"]: (a.text or "") for a in box.findall("attribute")}


def _corners(box: ET.Element) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(box.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
    return left, top, right, bottom


def _from_coco(value: Mapping[str, Any]) -> list[Box]:
    frames = {image["id"]: str(image["file_name"]) for image in value["images"]}
    boxes = []
    for annotation in value["annotations"]:
        left, top, width, height = map(float, annotation["bbox"])
        extra = {k: annotation.get(k) for k in ("pid", "vehicle_id", "track_id", "camid", "camera")}
        fields = _fields(extra | dict(annotation.get("attributes") or {}))
        corners = left, top, left + width, top + height
        boxes.append(Box(frames[annotation["image_id"]], corners, fields))
    return boxes
