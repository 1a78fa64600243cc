"""The road under the vehicle, as a function of the place on the ground."""

import functools

import cv2
import numpy as np

from mtn_core.data.synthetic.cameras import FRAME, Camera

LANE_WIDTH = 3.5
_TILE = 512
_GRAIN = 0.03  # metres a texel


@functools.lru_cache(maxsize=4)
def _tiles(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two tiles of smooth noise with zero mean and unit deviation, fine and coarse."""
    rng = np.random.default_rng([seed, 0x601])
    noise = rng.standard_normal((_TILE, _TILE)).astype(np.float32)
    fine = _blurred(noise, 0.7) + _blurred(noise.T.copy(), 2.5)
    coarse = _blurred(noise, 12) + 0.5 * _blurred(noise.T.copy(), 4)
    return fine / fine.std(), coarse / coarse.std()


def _blurred(noise: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a tile so that its edges still meet."""
    pad = int(4 * sigma) + 1
    wide = cv2.copyMakeBorder(noise, pad, pad, pad, pad, cv2.BORDER_WRAP)
    blurred = cv2.GaussianBlur(wide, (0, 0), sigma)[pad:-pad, pad:-pad]
    return blurred / blurred.std()


def ground_points(camera: Camera, left: float, top: float, scale: float, size) -> np.ndarray:
    """Where the pixels of a crop see the ground.

    Args:
        camera: The camera.
        left: Frame x of the crop's left edge.
        top: Frame y of the crop's upper edge.
        scale: Crop pixels a frame pixel.
        size: (width, height) of the crop in pixels.

    Returns:
        (2, height, width) float32, metres along the lane and across it (to the left), with the
        origin where the camera looks.
    """
    width, height = size
    u = (left + (np.arange(width, dtype=np.float32) + 0.5) / scale - 0.5 * FRAME[0]) / camera.focal
    v = (top + (np.arange(height, dtype=np.float32) + 0.5) / scale - 0.5 * FRAME[1]) / camera.focal
    axes = camera.axes.astype(np.float32)
    fall = -(axes[1, 2] * v + axes[2, 2])  # how fast the ray of each row sinks
    reach = camera.height / np.maximum(fall, 0.02)
    x = reach[:, None] * u[None, :]
    y = (reach * (axes[1, 1] * v + axes[2, 1]))[:, None] - np.float32(camera.look_at)
    c, s = np.float32(np.cos(camera.road)), np.float32(np.sin(camera.road))
    return np.stack([c * x + s * y, c * y - s * x])


def ground_colour(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Linear light that the ground gives back.

    Args:
        camera: Whose road it is.
        points: (2, height, width) from ``ground_points``.

    Returns:
        (height, width, 3) float32.
    """
    along, across = points
    rng = np.random.default_rng(camera.surface)
    fine, coarse = _tiles(camera.surface % 4)
    shift = rng.uniform(0, _TILE, 2).astype(np.float32)
    u, v = along / np.float32(_GRAIN) + shift[0], across / np.float32(_GRAIN) + shift[1]
    grain = cv2.remap(fine, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    stain = cv2.remap(
        coarse, u * np.float32(0.2), v * np.float32(0.5), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
    base = rng.uniform(0.10, 0.24)
    tint = 1 + rng.normal(0, 0.03, 3).astype(np.float32)
    value = base * (1 + 0.10 * grain + 0.10 * stain)
    # Tyres darken the two tracks of a lane.
    lane = np.mod(across + np.float32(0.5 * LANE_WIDTH), LANE_WIDTH) - np.float32(0.5 * LANE_WIDTH)
    value *= 1 - 0.12 * np.exp(-np.square((np.abs(lane) - 0.8) / 0.3))
    colour = value[..., None] * tint
    _paint_lines(colour, camera, along, across, grain, rng)
    _paint_roadside(colour, camera, along, across, grain, stain, rng)
    return np.maximum(colour, 0.0)


def _paint_lines(colour, camera, along, across, grain, rng) -> None:
    paint = rng.uniform(0.45, 0.7)
    yellow = rng.random() < 0.4
    period, dash = rng.uniform(5, 9), rng.uniform(0.4, 0.6)
    for middle, solid in ((-1.5, True), (-0.5, False), (0.5, False), (1.5, True)):
        offset = across - np.float32(middle * LANE_WIDTH)
        line = np.abs(offset) < 0.075
        if not solid:
            line &= np.mod(along, period) < dash * period
        if not line.any():
            continue
        hue = np.array([1.0, 0.75, 0.2] if yellow and middle == 0.5 else [1.0, 1.0, 0.97])
        worn = (paint * (1 + 0.25 * grain[line]))[:, None] * hue
        colour[line] = 0.25 * colour[line] + 0.75 * worn


_ROADSIDE = {
    "grass": ((0.07, 0.12, 0.03), 0.35),
    "paving": ((0.30, 0.27, 0.24), 0.08),
    "hedge": ((0.03, 0.07, 0.02), 0.5),
    "wall": ((0.33, 0.32, 0.30), 0.06),
}


def _paint_roadside(colour, camera, along, across, grain, stain, rng) -> None:
    edge = np.abs(across) - np.float32(1.5 * LANE_WIDTH + 0.5)
    beside = edge > 0
    if not beside.any():
        return
    hue, rough = _ROADSIDE[camera.setting]
    value = np.maximum(1 + rough * (grain + stain), 0.1)[..., None] * np.float32(hue)
    if camera.setting in ("paving", "wall"):
        joint = (np.mod(along, 0.6) < 0.03) | (np.mod(across, 0.6) < 0.03)
        value[joint] *= 0.7
    colour[beside] = value[beside]
    kerb = beside & (edge < 0.18)
    colour[kerb] = 0.38 * (1 + 0.1 * grain[kerb])[:, None]
