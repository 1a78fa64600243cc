"""Wheels: tyre, rim and spokes, on both sides."""

import numpy as np

from mtn_core.synthveri.marks import WheelStyle
from mtn_core.synthveri.materials import RUBBER
from mtn_core.synthveri.mesh import Mesh

_CORNERS = 16


def _ring(radius: float, count: int) -> np.ndarray:
    """(count, 2) points of a circle, counter-clockwise."""
    angle = 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _standing(points: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    """Stand (..., k, 2) outlines up on the left side, where forward is on the left hand."""
    return np.stack([x - points[..., 0], np.full(points.shape[:-1], y), z + points[..., 1]], -1)


def add_axle(
    mesh: Mesh,
    x: float,
    y: float,
    radius: float,
    style: WheelStyle,
    phase: float,
    parts: tuple[int, int],
    *,
    width: float = 0.20,
) -> None:
    """Add one axle's wheels.

    Args:
        mesh: Where to.
        x: Of the axle.
        y: Of the outer face of the left wheel.
        radius: Of the tyre.
        style: Rims.
        phase: Rotation of the wheel, radians.
        parts: Part of the tread, part of the outer face.
        width: Of the tyre.
    """
    tread, face = parts
    outer = _ring(radius, _CORNERS)
    near = _standing(outer, x, y - 0.01, radius)
    far = _standing(outer, x, y - width, radius)
    sides = np.stack([near, far, np.roll(far, -1, axis=0), np.roll(near, -1, axis=0)], axis=1)
    mesh.add(sides, RUBBER.scaled(0.8), tread, mirror=True)
    mesh.add(_standing(outer, x, y, radius), RUBBER, face, 6, mirror=True)
    rim = radius * style.share
    mesh.add(_standing(_ring(rim, _CORNERS), x, y, radius), style.rim, face, 7, mirror=True)
    if not style.spokes:
        for share, layer in ((0.80, 8), (0.35, 10)):
            disc = _standing(_ring(rim * share, 8 if layer > 8 else _CORNERS), x, y, radius)
            material = style.back if layer > 8 else style.rim.scaled(0.8)
            mesh.add(disc, material, face, layer, mirror=True)
        return
    back = _standing(_ring(rim * 0.90, _CORNERS), x, y, radius)
    mesh.add(back, style.back, face, 8, mirror=True)
    angle = phase + 2 * np.pi * np.arange(style.spokes) / style.spokes
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    aside = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * style.thick * rim
    tip, root = along * rim * 0.95, along * rim * 0.12
    bars = np.stack([root - aside, tip - 0.8 * aside, tip + 0.8 * aside, root + aside], axis=1)
    mesh.add(_standing(bars, x, y, radius), style.rim, face, 9, mirror=True)
    mesh.add(_standing(_ring(rim * 0.22, 8), x, y, radius), style.rim, face, 10, mirror=True)
