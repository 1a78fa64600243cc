"""The road under the vehicle and what stands beside it, as a function of the place."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from mtn_core.synthveri.cameras import FRAME, Camera

LANE_WIDTH = 3.5
_TILE = 512
_GRAIN = 0.03  # metres a texel
_ROAD_EDGE = 1.5 * LANE_WIDTH + 0.5
_MOST_PIXELS = 45_000  # larger crops get their ground at a lower resolution, which a lens does too


@dataclass(frozen=True)
class Window:
    """A crop of a camera's frame.

    Attributes:
        left: Frame x of its left edge.
        top: Frame y of its upper edge.
        scale: Crop pixels a frame pixel, across and down.
        width: Pixels.
        height: Pixels.
    """

    left: float
    top: float
    scale: tuple[float, float]
    width: int
    height: int

    def place(self, pixels: np.ndarray) -> np.ndarray:
        """Frame pixels to pixels of the crop."""
        return (pixels - (self.left, self.top)) * self.scale

    def scaled(self, factor: float) -> "Window":
        """The same part of the frame with ``factor`` times the pixels."""
        width = max(round(self.width * factor), 1)
        height = max(round(self.height * factor), 1)
        across, down = self.scale
        scale = (across * width / self.width, down * height / self.height)
        return Window(self.left, self.top, scale, width, height)


@functools.lru_cache(maxsize=4)
def _tiles(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two tiles of smooth noise with zero mean and unit deviation, fine and coarse."""
    rng = np.random.default_rng([seed, 0x601])
    noise = rng.standard_normal((_TILE, _TILE)).astype(np.float32)
    fine = _blurred(noise, 0.7) + 0.6 * _blurred(noise.T.copy(), 2.0)
    coarse = _blurred(noise, 12) + 0.5 * _blurred(noise.T.copy(), 4)
    return fine / fine.std(), coarse / coarse.std()


def _blurred(noise: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a tile so that its edges still meet."""
    pad = int(4 * sigma) + 1
    wide = cv2.copyMakeBorder(noise, pad, pad, pad, pad, cv2.BORDER_WRAP)
    blurred = cv2.GaussianBlur(wide, (0, 0), sigma)[pad:-pad, pad:-pad]
    return blurred / blurred.std()


def _texture(tile: np.ndarray, u: np.ndarray, v: np.ndarray, scale: float = 1.0) -> np.ndarray:
    factor = np.float32(scale / _GRAIN)
    return cv2.remap(tile, u * factor, v * factor, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _float32(rgb: tuple[float, float, float]) -> np.ndarray:
    return np.array(rgb, np.float32)


def scenery(camera: Camera, window: Window) -> np.ndarray:
    """Linear light that road and roadside give back, for light 1.

    Args:
        camera: Whose road it is.
        window: The crop.

    Returns:
        (height, width, 3) float32.
    """
    pixels = window.width * window.height
    if pixels > _MOST_PIXELS:
        small = window.scaled(np.sqrt(_MOST_PIXELS / pixels))
        return cv2.resize(_colour(camera, small), (window.width, window.height))
    return _colour(camera, window)


def _colour(camera: Camera, window: Window) -> np.ndarray:
    points = _ground_points(camera, window)
    rng = np.random.default_rng(camera.surface)
    along, across = points
    fine, coarse = _tiles(camera.surface % 4)
    shift = rng.uniform(0, 15, 2).astype(np.float32)
    u, v = along + shift[0], across + shift[1]
    grain = _texture(fine, u, v)
    stain = _texture(coarse, u * np.float32(0.3), v, 0.5)
    base, rough = np.float32(rng.uniform(0.10, 0.24)), np.float32(rng.uniform(0.02, 0.06))
    tint = (1 + rng.normal(0, 0.03, 3)).astype(np.float32)
    value = base * (1 + rough * grain + np.float32(0.07) * stain)
    # Tyres darken the two tracks of a lane.
    lane = np.mod(across + np.float32(0.5 * LANE_WIDTH), LANE_WIDTH) - np.float32(0.5 * LANE_WIDTH)
    wear = (np.abs(lane) - np.float32(0.8)) / np.float32(0.3)
    value *= 1 - np.float32(0.10) * np.exp(-wear * wear)
    colour = value[..., None] * tint
    _paint_lines(colour, along, across, grain, rng)
    _paint_roadside(colour, camera, along, across, grain, stain)
    _paint_uprights(colour, camera, points, (fine, coarse), rng)
    return np.maximum(colour, 0.002)


def _ground_points(camera: Camera, window: Window) -> np.ndarray:
    """(2, height, width) float32: metres along and across (to the left of) the middle lane.

    The origin is where the camera looks.
    """
    width, height, scale = window.width, window.height, window.scale
    u = (np.arange(width, dtype=np.float32) + 0.5) / scale[0] + window.left - 0.5 * FRAME[0]
    v = (np.arange(height, dtype=np.float32) + 0.5) / scale[1] + window.top - 0.5 * FRAME[1]
    u, v = u / camera.focal, v / camera.focal
    axes = camera.axes
    fall = -(axes[1, 2] * v + axes[2, 2])  # how fast the ray of each row sinks
    reach = camera.height / np.maximum(fall, 0.02)
    x = reach[:, None] * u[None, :]
    y = (reach * (axes[1, 1] * v + axes[2, 1]) - camera.look_at)[:, None]
    c, s = np.cos(camera.road), np.sin(camera.road)
    return np.stack([c * x + s * y, c * y - s * x]).astype(np.float32)


def _paint_lines(
    colour: np.ndarray,
    along: np.ndarray,
    across: np.ndarray,
    grain: np.ndarray,
    rng: np.random.Generator,
) -> None:
    paint = rng.uniform(0.45, 0.7)
    yellow = rng.random() < 0.4
    period, dash = rng.uniform(5, 9), rng.uniform(0.4, 0.6)
    arrow = rng.uniform(-6, 6)
    for middle, solid in ((-1.5, True), (-0.5, False), (0.5, False), (1.5, True)):
        offset = across - np.float32(middle * LANE_WIDTH)
        line = np.abs(offset) < 0.075
        if not solid:
            line &= np.mod(along, np.float32(period)) < dash * period
        _cover(colour, line, paint, (1.0, 0.72, 0.2) if yellow and middle == 0.5 else None, grain)
    straight = (np.abs(across) < 0.09) & (np.abs(along - np.float32(arrow)) < 1.6)
    head = along - np.float32(arrow + 1.6)
    straight |= (head > 0) & (head < 0.9) & (np.abs(across) < 0.35 * (0.9 - head) / 0.9)
    _cover(colour, straight, paint, None, grain)


def _cover(
    colour: np.ndarray,
    where: np.ndarray,
    paint: float,
    hue: tuple[float, float, float] | None,
    grain: np.ndarray,
) -> None:
    if where.any():
        worn = (paint * (1 + 0.2 * grain[where]))[:, None] * _float32(hue or (1.0, 1.0, 0.97))
        colour[where] = 0.25 * colour[where] + 0.75 * worn


_ROADSIDE = {
    "grass": ((0.055, 0.085, 0.028), 0.22),
    "paving": ((0.26, 0.24, 0.22), 0.06),
    "hedge": ((0.09, 0.075, 0.055), 0.15),
    "wall": ((0.22, 0.215, 0.205), 0.05),
}


def _paint_roadside(
    colour: np.ndarray,
    camera: Camera,
    along: np.ndarray,
    across: np.ndarray,
    grain: np.ndarray,
    stain: np.ndarray,
) -> None:
    edge = np.abs(across) - np.float32(_ROAD_EDGE)
    beside = edge > 0
    if not beside.any():
        return
    hue, rough = _ROADSIDE[camera.setting]
    value = np.maximum(1 + rough * (grain + stain), 0.1)[..., None] * _float32(hue)
    if camera.setting in ("paving", "wall"):
        joint = (np.mod(along, 0.6) < 0.03) | (np.mod(across, 0.6) < 0.03)
        value[joint] *= 0.75
    colour[beside] = value[beside]
    kerb = beside & (edge < 0.18)
    colour[kerb] = 0.34 * (1 + 0.08 * grain[kerb])[:, None]


# Distance beyond the kerb and height of what stands there, metres.
_UPRIGHTS = {"grass": (0.6, 0.8), "paving": (2.6, 5.0), "hedge": (0.7, 1.3), "wall": (0.2, 1.0)}


def _paint_uprights(
    colour: np.ndarray,
    camera: Camera,
    points: np.ndarray,
    tiles: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> None:
    """Guard rail, house front, hedge or barrier on the far side of the road.

    A pixel shows it where its ray meets the upright plane before the ground.
    """
    eye = -camera.look_at * np.array([np.sin(camera.road), np.cos(camera.road)])
    distance, height = _UPRIGHTS[camera.setting]
    tone = rng.uniform(0.7, 1.3)
    for side in (-1, 1):
        plane = side * (_ROAD_EDGE + distance)
        if side * (plane - eye[1]) <= 0.5:
            continue  # the camera stands beyond it
        behind = side * (points[1] - plane) > 0
        if not behind.any():
            continue
        along, across = points[0][behind], points[1][behind]
        share = (plane - eye[1]) / (across - eye[1])
        z = camera.height * (1 - share)
        x = eye[0] + (along - eye[0]) * share
        colour[behind] = _upright(camera.setting, x, z, height, colour[behind], tiles, tone)


def _upright(
    setting: str,
    x: np.ndarray,
    z: np.ndarray,
    height: float,
    beyond: np.ndarray,
    tiles: tuple[np.ndarray, np.ndarray],
    tone: float,
) -> np.ndarray:
    fine, coarse = tiles
    x, z = x.astype(np.float32)[None], z.astype(np.float32)[None]
    grain, blotch = _texture(fine, x, z, 0.6)[0], _texture(coarse, x, z, 1.5)[0]
    x, z = x[0], z[0]
    if setting == "hedge":
        top = height + 0.12 * blotch
        leaf = np.maximum(0.45 + 0.35 * grain + 0.3 * blotch, 0.06) * tone
        leaf *= 0.5 + 0.6 * np.clip(z / height, 0, 1)
        return np.where((z < top)[:, None], leaf[:, None] * _float32((0.07, 0.12, 0.035)), beyond)
    if setting == "grass":
        metal = 0.35 * (0.7 + 0.3 * np.sin(z * 40)) * (1 + 0.05 * blotch)
        band = (z > 0.45) & (z < height)
        post = (np.mod(x, 2.0) < 0.10) & (z < height)
        return np.where((band | post)[:, None], metal[:, None] * _float32((1, 1, 1.02)), beyond)
    if setting == "wall":
        stone = 0.30 * tone * (1 + 0.05 * grain + 0.10 * blotch)
        stone = stone * np.where(np.mod(x, 3.0) < 0.05, 0.6, 1.0) * (0.75 + 0.3 * z)
        return np.where((z < height)[:, None], stone[:, None] * _float32((1, 0.98, 0.94)), beyond)
    front = 0.24 * tone * (1 + 0.03 * grain + 0.04 * blotch)
    pane = (np.mod(x, 2.4) > 0.5) & (np.mod(z, 3.0) > 0.5) & (np.mod(z, 3.0) < 2.5)
    shown = np.where(pane, 0.05 + 0.02 * blotch, front)
    return np.where((z < height)[:, None], shown[:, None] * _float32((1.0, 0.95, 0.88)), beyond)
