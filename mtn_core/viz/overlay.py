"""Drawing keypoints and attention maps over crops."""

from collections.abc import Callable, Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from mtn_core.results import Embeddings
from mtn_core.vehicle import NUM_KEYPOINTS, SEGMENT_MIN_CONFIDENCE
from mtn_core.viz.style import OKABE_ITO

Extent = tuple[float, float, float, float]
LEFT_COLOR, RIGHT_COLOR = OKABE_ITO["sky"], OKABE_ITO["orange"]


def draw_keypoints(
    ax: Axes,
    extent: Extent,
    keypoints: np.ndarray,
    size: tuple[int, int],
    *,
    min_confidence: float = SEGMENT_MIN_CONFIDENCE,
) -> Axes:
    """Draw the keypoints of one crop: circles for the left side, triangles for the right.

    Args:
        ax: Where the crop is drawn.
        extent: ``(left, right, bottom, top)`` of the crop in ``ax``.
        keypoints: ``(36, 3)``: x, y in pixels of the crop, confidence.
        size: Width and height of the crop in pixels.
        min_confidence: Less certain keypoints are left out.
    """
    left, right, bottom, top = extent
    width, height = size
    half = NUM_KEYPOINTS // 2
    for side, marker, color in (
        (slice(0, half), "o", LEFT_COLOR),
        (slice(half, None), "^", RIGHT_COLOR),
    ):
        x, y, confidence = keypoints[side].T
        seen = confidence >= max(min_confidence, 1e-6)
        ax.scatter(
            left + x[seen] / width * (right - left),
            top - y[seen] / height * (top - bottom),
            s=7,
            marker=marker,
            color=color,
            edgecolors="black",
            linewidths=0.3,
            zorder=2,
        )
    return ax


def draw_attention(ax: Axes, extent: Extent, attention: np.ndarray, *, alpha: float = 0.5) -> Axes:
    """Draw an attention map over one crop.

    Args:
        ax: Where the crop is drawn.
        extent: ``(left, right, bottom, top)`` of the crop in ``ax``.
        attention: ``(h, w)``, any scale; stretched to its own smallest and largest value.
        alpha: Opacity where attention is strongest.
    """
    strength = scale_attention(attention)
    ax.imshow(
        strength,
        extent=extent,
        cmap="viridis",
        vmin=0,
        vmax=1,
        alpha=alpha * (0.3 + 0.7 * strength),
        interpolation="bilinear",
        zorder=1.5,
    )
    return ax


def keypoint_overlay(query: Embeddings, gallery: Embeddings) -> Callable[..., None]:
    """An overlay for rank lists that draws the keypoints of each crop."""
    splits = {"query": query, "gallery": gallery}

    def overlay(ax: Axes, extent: Extent, split: str, row: int) -> None:
        data = splits[split]
        width, height = data.sizes[row]
        draw_keypoints(ax, extent, data.keypoints[row], (int(width), int(height)))

    return overlay


def attention_overlay(
    query_maps: Mapping[int, np.ndarray], gallery_maps: Mapping[int, np.ndarray]
) -> Callable[..., None]:
    """An overlay for rank lists that draws attention maps, by row of the split, where there are."""
    splits = {"query": query_maps, "gallery": gallery_maps}

    def overlay(ax: Axes, extent: Extent, split: str, row: int) -> None:
        if row in splits[split]:
            draw_attention(ax, extent, splits[split][row])

    return overlay


def blend_attention(
    image: Image.Image, attention: np.ndarray, *, alpha: float = 0.5
) -> Image.Image:
    """Blend an attention map into a picture, for reports.

    Args:
        image: The crop.
        attention: ``(h, w)``, any scale.
        alpha: Opacity where attention is strongest.

    Returns:
        An RGB picture of the same size.
    """
    grey = Image.fromarray(np.uint8(255 * scale_attention(attention)))
    strength = np.asarray(grey.resize(image.size, Image.Resampling.BILINEAR)) / 255.0
    colors = mpl.colormaps["viridis"](strength)[..., :3] * 255
    weight = (alpha * (0.3 + 0.7 * strength))[..., None]
    pixels = np.asarray(image.convert("RGB"), dtype=float)
    return Image.fromarray(np.uint8(np.rint(pixels * (1 - weight) + colors * weight)))


def scale_attention(attention: np.ndarray) -> np.ndarray:
    """``(h, w)`` float64 in 0..1; a map without any contrast becomes zero.

    Raises:
        ValueError: Not a two-dimensional map of finite numbers.
    """
    attention = np.asarray(attention, dtype=np.float64)
    if attention.ndim != 2 or not np.isfinite(attention).all():
        raise ValueError(f"`attention` must be a finite (h, w) map; got shape {attention.shape}")
    low, high = attention.min(), attention.max()
    return np.zeros_like(attention) if high - low < 1e-12 else (attention - low) / (high - low)
