"""Sheets of crops and batches with keypoints and pose maps drawn over them."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mtn_core.data.images import read_image
from mtn_core.data.split import Split
from mtn_core.vehicle import SEGMENT_MIN_CONFIDENCE, color_name, type_name
from mtn_core.viz.overlay import draw_keypoints

_CELL = 128  # pixels of a cell in a sheet
_GAP = 6


def choose_rows(split: Split, count: int, seed: int = 0) -> np.ndarray:
    """``count`` rows of as many different ids as there are, ``(count,)`` or fewer."""
    rng = np.random.default_rng(seed)
    pids = split.frame["pid"].to_numpy()
    order = rng.permutation(len(split))
    # The first image of every id in random order, then the second of every id, and so on.
    turn = pd.Series(pids[order]).groupby(pids[order]).cumcount().to_numpy()
    return order[np.argsort(turn, kind="stable")][:count]


def draw_sheet(
    ax: Axes,
    split: Split,
    rows: Sequence[int],
    *,
    columns: int = 8,
    keypoints: bool = True,
    captions: bool = True,
) -> Axes:
    """A sheet of crops with their keypoints: circles on the car's left side, triangles right.

    Args:
        ax: Where to draw.
        split: The crops' split.
        rows: Which crops.
        columns: Crops in a row of the sheet.
        keypoints: Draw the keypoints at confidence 0.5 or more.
        captions: Write id, camera, colour and type under each crop.
    """
    cells = [read_image(split.image_path(int(row))) for row in rows]
    boxes = draw_cells(ax, cells, columns, caption_lines=2 if captions else 0)
    for row, cell, extent in zip(rows, cells, boxes, strict=True):
        height, width = cell.shape[:2]
        if keypoints:
            draw_keypoints(ax, extent, split.keypoints[row], (width, height))
        if captions:
            label = split.frame.iloc[row]
            words = (color_name(label.color_id), type_name(label.type_id))
            known = " ".join(word for word in words if word != "unknown")
            draw_caption(ax, extent, f"vehicle {label.pid}, camera {label.camid or '?'}\n{known}")
    ax.set_title(f"{split.name}: {len(rows)} of {len(split)} crops")
    return ax


def draw_maps(
    ax: Axes,
    image: np.ndarray,
    maps: np.ndarray,
    *,
    segments: bool = False,
    title: str = "",
) -> Axes:
    """All pose maps of one image over it: heatmaps as light, segments as colours.

    Args:
        ax: Where to draw.
        image: ``(H, W, 3) uint8``.
        maps: ``(36, 64, 64)`` or ``(13, 64, 64) uint8``.
        segments: Give every map a colour of its own.
        title: Of the figure.
    """
    height, width = image.shape[:2]
    extent = (0, width, height, 0)
    ax.imshow(image, extent=extent)
    ax.imshow(_blend(maps, segments), extent=extent, interpolation="bilinear")
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def draw_batch(
    ax: Axes,
    batch: Mapping[str, np.ndarray],
    images_per_id: int,
    *,
    maps: str | None = None,
    pids: Sequence[int] | None = None,
    most_ids: int = 6,
) -> Axes:
    """A training batch as the network gets it: a row of the sheet for each vehicle.

    Args:
        ax: Where to draw.
        batch: From a loader.
        images_per_id: K.
        maps: ``heatmaps`` or ``segments`` to draw over the images.
        pids: Vehicle of each class index, for the captions.
        most_ids: Vehicles to show.
    """
    images = list(batch["image"][: most_ids * images_per_id])
    if maps is not None:
        weight = np.stack([_blend(m, maps == "segments") for m in batch[maps][: len(images)]])
        images = [_over(image, over) for image, over in zip(images, weight, strict=True)]
    boxes = draw_cells(ax, images, images_per_id, caption_lines=1)
    for position, extent in enumerate(boxes):
        points = batch["keypoints"][position].reshape(-1, 3) + 0.5
        draw_keypoints(ax, extent, points, (1, 1), min_confidence=SEGMENT_MIN_CONFIDENCE)
        index = int(batch["pid_index"][position])
        draw_caption(ax, extent, f"vehicle {pids[index] if pids is not None else index}")
    shown, count = (len(part) // images_per_id for part in (images, batch["image"]))
    what = f"with {maps}" if maps else "augmented"
    ax.set_title(f"{shown} of {count} vehicles x {images_per_id} images, {what}")
    return ax


def draw_pairs(ax: Axes, pairs: pd.DataFrame, splits: Mapping[str, Split], most: int = 6) -> Axes:
    """Near-duplicates from :func:`mtn_core.data.duplicates.find_near_duplicates`, side by side."""
    pairs = pairs.head(most)
    if pairs.empty:
        ax.text(0.5, 0.5, "no near-duplicates across splits", ha="center", transform=ax.transAxes)
        ax.set_axis_off()
        return ax
    cells, texts = [], []
    for pair in pairs.itertuples(index=False):
        for split, name, pid in (
            (pair.split_a, pair.name_a, pair.pid_a),
            (pair.split_b, pair.name_b, pair.pid_b),
        ):
            cells.append(read_image(splits[split].folder("image") / name))
            texts.append(f"{split}, vehicle {pid}\nr = {pair.correlation:.3f}")
    boxes = draw_cells(ax, cells, min(4, len(cells)), caption_lines=2)
    for extent, text in zip(boxes, texts, strict=True):
        draw_caption(ax, extent, text)
    ax.set_title(f"Most alike across splits: {len(pairs)} pairs, two cells each")
    return ax


def draw_cells(
    ax: Axes, images: Sequence[np.ndarray], columns: int, *, caption_lines: int
) -> list[tuple[float, float, float, float]]:
    """Draw images into a grid, each as large as its cell allows; returns their extents."""
    pitch_y = _CELL + _GAP + 15 * caption_lines
    rows = -(-len(images) // columns)
    boxes = []
    for number, image in enumerate(images):
        height, width = image.shape[:2]
        scale = _CELL / max(height, width)
        left = (number % columns) * (_CELL + _GAP) + (_CELL - width * scale) / 2
        top = -(number // columns) * pitch_y - (_CELL - height * scale) / 2
        extent = (left, left + width * scale, top - height * scale, top)
        ax.imshow(image, extent=extent, interpolation="antialiased", zorder=1)
        boxes.append(extent)
    ax.set_xlim(-_GAP, columns * (_CELL + _GAP))
    ax.set_ylim(-rows * pitch_y, _GAP)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return boxes


def draw_caption(ax: Axes, extent: tuple[float, float, float, float], text: str) -> None:
    """Write text under an image of :func:`draw_cells`."""
    left, right, bottom, _ = extent
    ax.text((left + right) / 2, bottom - 3, text, ha="center", va="top", fontsize=6.5)


def _blend(maps: np.ndarray, segments: bool) -> np.ndarray:
    """``(64, 64, 4)`` float RGBA of all maps together."""
    values = maps.astype(np.float32) / 255
    if not segments:
        strongest = values.max(axis=0)
        colors = mpl.colormaps["viridis"](strongest)
        colors[..., 3] = 0.75 * np.sqrt(strongest)
        return colors
    palette = mpl.colormaps["tab20"](np.arange(len(maps)))[:, :3]
    weight = values.sum(axis=0)
    mixed = np.einsum("khw,kc->hwc", values, palette) / np.maximum(weight, 1e-6)[..., None]
    mixed = mixed.clip(0, 1)  # rounding goes a little beyond
    return np.concatenate([mixed, 0.55 * np.minimum(weight, 1)[..., None]], axis=2)


def _over(image: np.ndarray, rgba: np.ndarray) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(image).convert("RGBA")
    layer = Image.fromarray(np.uint8(255 * rgba), "RGBA")
    layer = layer.resize(picture.size, Image.Resampling.BILINEAR)
    return np.asarray(Image.alpha_composite(picture, layer))[..., :3]
