"""Other traffic, poles and leaves, and how much of the vehicle they hide."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from mtn_core.synthveri.assembly import Vehicle, create_vehicle
from mtn_core.synthveri.cameras import View
from mtn_core.synthveri.fleet import create_fleet
from mtn_core.synthveri.ground import LANE_WIDTH, Window
from mtn_core.synthveri.light import expose
from mtn_core.synthveri.render import paint_vehicle

_NUM_TRAFFIC = 12
_MOST_HIDDEN = 0.35  # share of the keypoints that other things may cover


@dataclass(frozen=True, eq=False)
class Neighbour:
    """Another vehicle near the one that the picture is of."""

    vehicle: Vehicle
    view: View
    in_front: bool


@functools.lru_cache(maxsize=2 * _NUM_TRAFFIC)
def _traffic(seed: int, number: int) -> Vehicle:
    """A vehicle that is no identity of the data set."""
    return create_vehicle(create_fleet(_NUM_TRAFFIC, seed + 0x7AFF1C)[number])


def find_neighbour(
    vehicle: Vehicle, view: View, window: Window, seed: int, rng: np.random.Generator
) -> Neighbour | None:
    """Perhaps put another vehicle into the scene, where it does not hide too much."""
    if rng.random() > 0.45:
        return None
    other = _traffic(seed, int(rng.integers(_NUM_TRAFFIC)))
    half = np.ptp(vehicle.outline[:, 0]) / 2 + np.ptp(other.outline[:, 0]) / 2
    ahead = float(rng.choice([-1, 1])) * (half + rng.uniform(1.0, 4.0))
    aside = 0.0
    if rng.random() < 0.6:
        ahead = rng.uniform(-0.9, 0.9) * half
        aside = float(rng.choice([-1, 1])) * (LANE_WIDTH + rng.uniform(-0.3, 0.4))
    c, s = np.cos(view.heading), np.sin(view.heading)
    ahead += vehicle.middle - other.middle
    place = np.array(view.position) + ahead * np.array([c, s]) + aside * np.array([-s, c])
    other_view = View(view.camera, (float(place[0]), float(place[1])), view.heading)
    if (other_view.project(other.outline)[1] < 3.0).any():
        return None
    hull = _hull(other, other_view, window)
    low, high = hull.min(axis=0), hull.max(axis=0)
    if (high < 0).any() or (low > (window.width, window.height)).any():
        return None
    middle = np.array([[vehicle.middle, 0, 0], [vehicle.middle + ahead, aside, 0]])
    near, far = np.linalg.norm(view.eye - middle, axis=1)
    in_front = bool(far < near)
    if in_front:
        pixels = window.place(view.project(vehicle.keypoints)[0]).astype(np.float32)
        outline = cv2.convexHull(hull.astype(np.float32))
        hidden = [cv2.pointPolygonTest(outline, tuple(map(float, p)), False) >= 0 for p in pixels]
        if np.mean(hidden) > _MOST_HIDDEN:
            return None
    return Neighbour(other, other_view, in_front)


def _hull(vehicle: Vehicle, view: View, window: Window) -> np.ndarray:
    return window.place(view.project(vehicle.outline)[0])


def paint_neighbour(
    canvas: np.ndarray, neighbour: Neighbour, window: Window, gain: float, mask: np.ndarray | None
) -> None:
    """Paint the other vehicle; where it is in front, mark in ``mask`` what it hides."""
    vehicle, view = neighbour.vehicle, neighbour.view
    paint_vehicle(canvas, vehicle.faces, vehicle.ranks(view.eye), view, window=window, gain=gain)
    if mask is not None:
        for group in vehicle.shadow:
            pixels = window.place(view.project(group)[0]).astype(np.float32)
            cv2.fillConvexPoly(mask, np.rint(cv2.convexHull(pixels)).astype(np.int32), (255,))


def paint_obstacles(
    canvas: np.ndarray,
    mask: np.ndarray,
    vehicle: Vehicle,
    view: View,
    window: Window,
    gain: float,
    rng: np.random.Generator,
) -> None:
    """Perhaps paint a pole or leaves in front of the vehicle; ``mask`` gets what they hide."""
    kind = rng.random()
    if kind < 0.10:
        _paint_pole(canvas, mask, vehicle, view, window, gain, rng)
    elif kind < 0.20:
        _paint_leaves(canvas, mask, view, gain, rng)


def _paint_pole(
    canvas: np.ndarray,
    mask: np.ndarray,
    vehicle: Vehicle,
    view: View,
    window: Window,
    gain: float,
    rng: np.random.Generator,
) -> None:
    toward = view.eye - [vehicle.middle, 0, 0]
    toward[2] = 0
    toward /= np.linalg.norm(toward)
    aside = np.array([-toward[1], toward[0], 0.0])
    foot = np.array([vehicle.middle, 0, 0]) + rng.uniform(2.5, 3.5) * toward
    foot += rng.uniform(-1.6, 1.6) * aside
    radius = rng.uniform(0.03, 0.09)
    tone = np.float32(rng.uniform(0.08, 0.4)) * np.array([1.0, 0.98, 0.95], np.float32)
    top = view.eye[2] - 0.5
    for low, high, factor in ((-1.0, -0.3, 0.6), (-0.3, 0.5, 1.0), (0.5, 1.0, 0.75)):
        corners = np.array(
            [
                foot + low * radius * aside,
                foot + high * radius * aside,
                foot + high * radius * aside + [0, 0, top],
                foot + low * radius * aside + [0, 0, top],
            ]
        )
        pixels, depth = view.project(corners)
        if (depth < 0.5).any():
            return
        pixels = np.rint(window.place(pixels)).clip(-20_000, 20_000).astype(np.int32)
        colour = expose(tone * np.float32(factor), view.camera, gain).tolist()
        cv2.fillConvexPoly(canvas, pixels, colour)
        cv2.fillConvexPoly(mask, pixels, (255,))


def _paint_leaves(
    canvas: np.ndarray, mask: np.ndarray, view: View, gain: float, rng: np.random.Generator
) -> None:
    height, width = canvas.shape[:2]
    side = int(rng.integers(4))
    centre = np.array([(0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.0)][side])
    centre = (centre + rng.normal(0, 0.12, 2)) * (width, height)
    count = int(rng.integers(25, 90))
    spread = rng.uniform(0.10, 0.20) * np.array([width, height])
    places = centre + rng.normal(0, 1, (count, 2)) * spread
    size = rng.uniform(0.012, 0.03) * max(width, height)
    angles = rng.uniform(0, np.pi, count)
    tones = rng.uniform(0.3, 1.6, count)
    green = np.array([0.05, 0.09, 0.025], np.float32)
    leaf = np.array([(-1.0, 0.0), (-0.2, 0.42), (1.0, 0.0), (-0.2, -0.42)])
    for place, angle, tone in zip(places, angles, tones, strict=True):
        c, s = np.cos(angle), np.sin(angle)
        outline = np.rint(place + size * leaf @ np.array([[c, s], [-s, c]])).astype(np.int32)
        colour = expose(np.float32(tone) * green, view.camera, gain)
        cv2.fillConvexPoly(canvas, outline, colour.tolist())
        cv2.fillConvexPoly(mask, outline, (255,))
