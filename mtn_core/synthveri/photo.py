"""Takes one picture: places the vehicle, paints ground, shadow and vehicle, then the sensor."""

from dataclasses import dataclass

import cv2
import numpy as np

from mtn_core.synthveri.assembly import Vehicle
from mtn_core.synthveri.cameras import Camera, View
from mtn_core.synthveri.ground import LANE_WIDTH, Window, scenery
from mtn_core.synthveri.light import expose, ground_light
from mtn_core.synthveri.obstacles import find_neighbour, paint_neighbour, paint_obstacles
from mtn_core.synthveri.plan import Shot
from mtn_core.synthveri.render import paint_vehicle
from mtn_core.synthveri.visibility import keypoint_confidence, keypoint_visibility

MIN_WIDTH, MAX_WIDTH = 90, 550
_FINE_WIDTH = 640  # crops are painted at about this width and then shrunk, but never more than
_FINEST = 2.0  # this many times their size


@dataclass(frozen=True, eq=False)
class Photo:
    """A crop and its label.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        keypoints: (36, 3) float32, pixels of the crop and confidence.
        quality: JPEG quality of the camera.
    """

    image: np.ndarray
    keypoints: np.ndarray
    quality: int


def take_photo(vehicle: Vehicle, shot: Shot, camera: Camera, seed: int) -> Photo:
    """Take the picture of a shot; the same shot gives the same bytes."""
    track = np.random.default_rng([seed, shot.pid, shot.camid])
    rng = np.random.default_rng([seed, shot.pid, shot.camid, shot.frame])
    view = _place(vehicle, shot, camera, track, rng)
    gain = float(np.exp(track.normal(0, 0.22)))
    window = _frame(vehicle, view, rng)
    fine = window.scaled(np.clip(_FINE_WIDTH / window.width, 1.25, _FINEST))
    neighbour = find_neighbour(vehicle, view, window, seed, rng)

    light = scenery(camera, window) * ground_light(view).astype(np.float32)
    light *= _shadow(vehicle, view, window)[..., None]
    ground = expose(light, camera, gain).clip(0, 255).astype(np.uint8)
    canvas = cv2.resize(ground, (fine.width, fine.height))
    mask = np.zeros(canvas.shape[:2], np.uint8)
    if neighbour and not neighbour.in_front:
        paint_neighbour(canvas, neighbour, fine, gain, None)
    paint_vehicle(canvas, vehicle.faces, vehicle.ranks(view.eye), view, window=fine, gain=gain)
    if neighbour and neighbour.in_front:
        paint_neighbour(canvas, neighbour, fine, gain, mask)
    paint_obstacles(canvas, mask, vehicle, view, fine, gain, rng)

    size = (window.width, window.height)
    image = _sense(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), camera, rng)
    pixels = window.place(view.project(vehicle.keypoints)[0])
    inside = ((pixels >= 0) & (pixels <= size)).all(axis=1)
    visible = keypoint_visibility(vehicle.keypoints, vehicle.solid, view)
    hidden = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    column, row = pixels.astype(int).clip(0, np.array(size) - 1).T
    confidence = keypoint_confidence(visible, hidden[row, column] / 255, inside, rng)
    keypoints = np.column_stack([pixels, confidence]).astype(np.float32)
    return Photo(image, keypoints, camera.quality)


def _place(
    vehicle: Vehicle,
    shot: Shot,
    camera: Camera,
    track: np.random.Generator,
    rng: np.random.Generator,
) -> View:
    lane = int(track.choice([0, 0, -1, 1]))
    against = lane == 1
    heading = camera.road + (np.pi if against else 0.0) + track.normal(0, 0.08)
    along = -shot.step if against else shot.step
    across = lane * LANE_WIDTH + track.normal(0, 0.25)
    c, s = np.cos(camera.road), np.sin(camera.road)
    place = np.array([0.0, camera.look_at])
    place += along * np.array([c, s]) + across * np.array([-s, c])
    # A long vehicle keeps its distance, so that none of it is under the camera.
    length = np.ptp(vehicle.outline[:, 0])
    place[1] = max(place[1], 0.8 * camera.look_at, 4.0 + 0.6 * length)
    place -= vehicle.middle * np.array([np.cos(heading), np.sin(heading)])
    return View(camera, (float(place[0]), float(place[1])), heading + rng.normal(0, 0.015))


def _frame(vehicle: Vehicle, view: View, rng: np.random.Generator) -> Window:
    """A crop cut close round the vehicle; now and then it cuts into it."""
    pixels, _ = view.project(vehicle.outline)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    extent = high - low
    margin = rng.uniform(0.01, 0.07, 4)
    if rng.random() < 0.12:
        margin[rng.integers(4)] = -rng.uniform(0.05, 0.18)
    low = low - margin[:2] * extent
    high = high + margin[2:] * extent
    extent = high - low
    scale = float(np.clip(extent[0], MIN_WIDTH, MAX_WIDTH)) / extent[0]
    width, height = np.rint(extent * scale).astype(int)
    width, height = max(int(width), MIN_WIDTH), max(int(height), 48)
    return Window(low[0], low[1], (width / extent[0], height / extent[1]), width, height)


def _shadow(vehicle: Vehicle, view: View, window: Window) -> np.ndarray:
    """(height, width) float32: what is left of the light on the ground."""
    small = window.scaled(min(1.0, 160 / window.width))
    mask = np.full((small.height, small.width), 255, np.uint8)
    sun, strength = view.sun, view.camera.sunlight
    share = strength * sun[2] / (0.66 + strength * sun[2])
    for points in vehicle.shadow:
        cast = points - points[:, 2:] / sun[2] * sun
        _darken(mask, view, cast, small, round(255 * (1 - 0.9 * share)))
    base = vehicle.shadow[0]
    for grow, value in ((1.06, 0.55), (0.98, 0.22)):
        middle = np.array([vehicle.middle, 0, 0])
        under = (base * [1, 1, 0] - middle) * grow + middle
        _darken(mask, view, under, small, round(255 * value * (1 - 0.5 * share)))
    soft = cv2.GaussianBlur(mask, (0, 0), 0.6 + 0.012 * small.width)
    full = cv2.resize(soft, (window.width, window.height))
    return full.astype(np.float32) / 255


def _darken(mask: np.ndarray, view: View, points: np.ndarray, window: Window, value: int) -> None:
    pixels = window.place(view.project(points)[0]).astype(np.float32)
    shade = np.full_like(mask, 255)
    cv2.fillConvexPoly(shade, np.rint(cv2.convexHull(pixels)).astype(np.int32), (value,))
    np.minimum(mask, shade, out=mask)


def _sense(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Blur, lost detail and noise of the sensor."""
    height, width = image.shape[:2]
    if camera.detail < 0.95:
        small = (max(round(width * camera.detail), 24), max(round(height * camera.detail), 24))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    image = cv2.GaussianBlur(image, (0, 0), camera.blur)
    noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(camera.noise)
    # Codecs leave little of the finest noise.
    grain = cv2.blur(noise, (2, 2))
    return cv2.add(image, cv2.merge([grain] * 3), dtype=cv2.CV_8U)
