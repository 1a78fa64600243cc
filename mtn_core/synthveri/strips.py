"""Decals: strips of faces that lie on a shell, facing outwards whatever the order they are given.

All are for the left side where they are for one side; ``Mesh.add(mirror=True)`` makes the other.
"""

import numpy as np
from numpy.typing import ArrayLike

from mtn_core.synthveri.surfaces import Shell, grid_quads

REAR, FRONT = 0, 1


def side_strip(
    shell: Shell, xs: ArrayLike, low: ArrayLike, high: ArrayLike, *, rows: int = 1
) -> np.ndarray:
    """Faces on the left wall between two edges.

    Args:
        shell: Tub or cabin.
        xs: (n,) places along the car.
        low: Height of the lower edge, a number or (n,).
        high: Height of the upper edge.
        rows: Faces from low to high.

    Returns:
        (rows * (n - 1), 4, 3).
    """
    xs = np.asarray(xs, float)
    order = np.argsort(-xs)  # seen from the left, the front is on the left hand
    low = np.broadcast_to(low, xs.shape)[order]
    high = np.broadcast_to(high, xs.shape)[order]
    grid = []
    for share in np.linspace(0, 1, rows + 1):
        z = low + share * (high - low)
        grid.append(shell.side(np.stack([xs[order], z], axis=1)))
    return grid_quads(np.stack(grid))


def side_share_strip(shell: Shell, ends: tuple, t: ArrayLike, *, columns: int = 3) -> np.ndarray:
    """Faces on the left wall between two edges that may lean.

    Args:
        shell: Tub or cabin.
        ends: (rear, front), each (len(t),) shares of the wall's length (see ``side_at``).
        t: (m,) shares of the wall's height, rising.
        columns: Faces along.

    Returns:
        ((m - 1) * columns, 4, 3).
    """
    t = np.asarray(t, float)[:, None]
    rear, front = (np.broadcast_to(e, t.shape[:1])[:, None] for e in ends)
    share = np.linspace(1, 0, columns + 1)[None]
    return grid_quads(shell.side_at(rear + share * (front - rear), t))


def end_strip(
    shell: Shell, which: int, ws: ArrayLike, low: ArrayLike, high: ArrayLike, *, rows: int = 1
) -> np.ndarray:
    """Faces on the front or rear, between two edges given as shares of its height.

    Args:
        shell: Tub or cabin.
        which: ``REAR`` or ``FRONT``.
        ws: (n,) places across (see ``Shell.front``).
        low: Share of the lower edge, a number or (n,).
        high: Share of the upper edge.
        rows: Faces from low to high.

    Returns:
        (rows * (n - 1), 4, 3).
    """
    ws = np.asarray(ws, float)
    order = np.argsort(ws if which else -ws)
    low = np.broadcast_to(low, ws.shape)[order]
    high = np.broadcast_to(high, ws.shape)[order]
    surface = shell.front if which else shell.rear
    grid = []
    for share in np.linspace(0, 1, rows + 1):
        z = shell.end_height(which, low + share * (high - low), ws[order])
        grid.append(surface(np.stack([ws[order], z], axis=1)))
    return grid_quads(np.stack(grid))


def end_disc(
    shell: Shell, which: int, w: float, v: float, radius: float, corners: int = 8
) -> np.ndarray:
    """One round face on the front or rear; ``radius`` in metres."""
    surface = shell.front if which else shell.rear
    centre = surface([(w, float(shell.end_height(which, v, w)))])[0]
    aside = surface([(w + 0.05 * (1 if w >= 0 else -1), centre[2])])[0] - centre
    aside[2] = 0
    aside /= max(np.linalg.norm(aside), 1e-9)
    angle = 2 * np.pi * np.arange(corners) / corners
    up = np.array([0.0, 0.0, 1.0])
    turn = 1 if (aside[1] > 0) == bool(which) else -1
    points = centre + radius * (turn * np.cos(angle)[:, None] * aside + np.sin(angle)[:, None] * up)
    return points[None]


def top_strip(shell: Shell, xs: ArrayLike, left: ArrayLike, right: ArrayLike) -> np.ndarray:
    """Faces on the lid between two edges along the car.

    Args:
        shell: Tub or cabin.
        xs: (n,) places along the car, rising.
        left: y of the left edge, a number or (n,).
        right: y of the right edge.

    Returns:
        (n - 1, 4, 3).
    """
    xs = np.asarray(xs, float)
    left, right = np.broadcast_to(left, xs.shape), np.broadcast_to(right, xs.shape)
    edges = [shell.top(np.stack([xs, y], axis=1)) for y in (left, right)]
    return grid_quads(np.stack(edges, axis=1))


def block(x: tuple, y: tuple, z: tuple, *, taper: float = 0.0) -> np.ndarray:
    """The six faces of a box, (6, 4, 3); the top may be smaller by ``taper`` metres all round."""
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    taper = min(taper, 0.3 * (x1 - x0), 0.3 * (y1 - y0))
    a, b, c, d = (x1 - taper, x0 + taper, y1 - taper, y0 + taper)
    low = [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)]
    high = [(b, d, z1), (a, d, z1), (a, c, z1), (b, c, z1)]
    p = np.array(low + high, float)
    return p[
        [
            [3, 2, 1, 0],  # below
            [4, 5, 6, 7],  # above
            [0, 1, 5, 4],  # right
            [1, 2, 6, 5],  # front
            [2, 3, 7, 6],  # left
            [3, 0, 4, 7],  # rear
        ]
    ]
