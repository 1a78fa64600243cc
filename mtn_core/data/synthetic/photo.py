"""Takes one picture: places the vehicle, paints ground, shadow and vehicle, then the sensor."""

from dataclasses import dataclass

import cv2
import numpy as np

from mtn_core.data.synthetic.assembly import Vehicle
from mtn_core.data.synthetic.cameras import Camera, View
from mtn_core.data.synthetic.ground import LANE_WIDTH, ground_colour, ground_points
from mtn_core.data.synthetic.light import expose, ground_light
from mtn_core.data.synthetic.plan import Shot
from mtn_core.data.synthetic.render import paint_vehicle
from mtn_core.data.synthetic.visibility import keypoint_confidence, keypoint_visibility

MIN_WIDTH, MAX_WIDTH = 90, 550


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
    gain = float(np.exp(track.normal(0, 0.12)))
    left, top, scale, width, height = _frame(vehicle, view, rng)
    fine = 2 if width < 320 else 1.5
    size = (round(width * fine), round(height * fine))
    fine = size[0] / width
    light = ground_colour(camera, ground_points(camera, left, top, scale, (width, height)))
    light *= ground_light(view).astype(np.float32)
    light *= _shadow(vehicle, view, left, top, scale, (width, height))[..., None]
    ground = expose(light, camera, gain)
    canvas = cv2.resize(ground.clip(0, 255).astype(np.uint8), size)
    ranks = vehicle.ranks(view.eye)
    paint_vehicle(
        canvas, vehicle.faces, ranks, view,
        origin=(left, top), scale=scale * fine, gain=gain,
    )  # fmt: skip
    image = _sense(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), camera, rng)
    pixels, _ = view.project(vehicle.keypoints)
    pixels = (pixels - (left, top)) * scale
    inside = ((pixels >= 0) & (pixels <= (width, height))).all(axis=1)
    visible = keypoint_visibility(vehicle.keypoints, vehicle.solid, view)
    confidence = keypoint_confidence(visible, np.zeros(36), inside, rng)
    keypoints = np.column_stack([pixels, confidence]).astype(np.float32)
    return Photo(image, keypoints, camera.quality)


def _place(vehicle, shot, camera, track, rng) -> View:
    lane = int(track.choice([0, 0, -1, 1]))
    against = lane == 1
    heading = camera.road + (np.pi if against else 0.0) + track.normal(0, 0.06)
    along = -shot.step if against else shot.step
    across = lane * LANE_WIDTH + track.normal(0, 0.25)
    c, s = np.cos(camera.road), np.sin(camera.road)
    place = np.array([0.0, camera.look_at])
    place += along * np.array([c, s]) + across * np.array([-s, c])
    place[1] = max(place[1], 0.75 * camera.look_at, 6.0)
    place -= vehicle.middle * np.array([np.cos(heading), np.sin(heading)])
    return View(camera, (float(place[0]), float(place[1])), heading + rng.normal(0, 0.01))


def _frame(vehicle, view, rng):
    pixels, _ = view.project(vehicle.outline)
    ground = vehicle.outline * [1, 1, 0]
    pixels = np.concatenate([pixels, view.project(ground)[0]])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    extent = high - low
    margin = rng.uniform(0.01, 0.07, 4)
    if rng.random() < 0.12:
        margin[rng.integers(4)] = -rng.uniform(0.05, 0.18)
    low = low - margin[:2] * extent
    high = high + margin[2:] * extent
    extent = high - low
    width = float(np.clip(extent[0], MIN_WIDTH, MAX_WIDTH))
    scale = width / extent[0]
    return low[0], low[1], scale, max(round(width), MIN_WIDTH), max(round(extent[1] * scale), 48)


def _shadow(vehicle, view, left, top, scale, size) -> np.ndarray:
    mask = np.full(size[::-1], 255, np.uint8)
    sun = view.sun
    strength = view.camera.sunlight
    share = strength * sun[2] / (0.66 + strength * sun[2])
    for points in vehicle.shadow:
        cast = points - points[:, 2:] / sun[2] * sun
        _fill(mask, view, cast, left, top, scale, round(255 * (1 - 0.85 * share)))
        under = points[points[:, 2] < points[:, 2].min() + 0.3] * [1.02, 1.06, 0]
        _fill(mask, view, under, left, top, scale, round(70 * (1 - 0.6 * share)))
    return cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.015 * size[0])).astype(np.float32) / 255


def _fill(mask, view, points, left, top, scale, value) -> None:
    pixels, _ = view.project(points)
    pixels = ((pixels - (left, top)) * scale).astype(np.float32)
    hull = cv2.convexHull(pixels)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), value)


def _sense(image, camera, rng) -> np.ndarray:
    height, width = image.shape[:2]
    if camera.detail < 0.95:
        small = (max(round(width * camera.detail), 24), max(round(height * camera.detail), 24))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    image = cv2.GaussianBlur(image, (0, 0), camera.blur)
    noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(camera.noise)
    return np.clip(image + noise[..., None], 0, 255).astype(np.uint8)
