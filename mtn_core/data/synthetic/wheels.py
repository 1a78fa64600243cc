"""Wheels: tyre, rim and spokes, on both sides."""

import numpy as np

from mtn_core.data.synthetic.mesh import Material, Mesh

RUBBER = Material((0.018, 0.018, 0.019), 0.02, 0.2)
DARK = Material((0.008, 0.008, 0.008))


def _ring(radius: float, count: int, phase: float = 0.0) -> np.ndarray:
    """(count, 2) points of a circle, counter-clockwise."""
    angle = phase + 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _standing(points: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    """Put (n, k, 2) outlines on the left side; seen from the left, forward is to the left."""
    return np.stack([x - points[..., 0], np.full(points.shape[:-1], y), z + points[..., 1]], -1)


def add_wheel(
    mesh: Mesh,
    x: float,
    y: float,
    radius: float,
    style: dict,
    phase: float,
    parts: tuple[int, int],
    width: float = 0.20,
) -> None:
    """Add one axle's wheels.

    Args:
        mesh: Where to.
        x: Of the axle.
        y: Of the outer face of the left wheel.
        radius: Of the tyre.
        style: ``spokes`` (0 is a closed disc), ``rim`` and ``back`` materials, ``share`` of the
            radius that the rim takes, ``thick`` width of a spoke.
        phase: Rotation of the wheel, radians.
        parts: Part of the tread, part of the outer face.
        width: Of the tyre.
    """
    tread, face = parts
    count = 16
    outer = _ring(radius, count)
    near = _standing(outer, x, y - 0.01, radius)
    far = _standing(outer, x, y - width, radius)
    sides = np.stack([near, far, np.roll(far, -1, axis=0), np.roll(near, -1, axis=0)], axis=1)
    mesh.add(sides, RUBBER.scaled(0.8), tread, mirror=True)
    mesh.add(_standing(outer, x, y, radius), RUBBER, face, 6, mirror=True)
    rim = radius * style["share"]
    mesh.add(_standing(_ring(rim, count), x, y, radius), style["rim"], face, 7, mirror=True)
    spokes = style["spokes"]
    if spokes:
        back = _standing(_ring(rim * 0.9, count), x, y, radius)
        mesh.add(back, style["back"], face, 8, mirror=True)
        angle = phase + 2 * np.pi * np.arange(spokes) / spokes
        along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        aside = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * style["thick"] * rim
        tip, root = along * rim * 0.95, along * rim * 0.15
        bars = np.stack([root - 0.7 * aside, tip - aside, tip + aside, root + 0.7 * aside], axis=1)
        mesh.add(_standing(bars, x, y, radius), style["rim"], face, 9, mirror=True)
        mesh.add(_standing(_ring(rim * 0.2, 8), x, y, radius), style["rim"], face, 10, mirror=True)
    else:
        mesh.add(_standing(_ring(rim * 0.35, 8), x, y, radius), style["back"], face, 8, mirror=True)
