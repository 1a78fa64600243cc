"""Curved bodies: a shell of rings around the car, and decals that lie on it.

The car's own frame, in metres: x forward with 0 at the rear axle, y to the driver's left, z up
with 0 on the ground.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

ACROSS = np.linspace(1.0, -1.0, 9)  # left to right: where front, rear and top are sampled


@dataclass(frozen=True)
class Ring:
    """One level of a shell.

    Attributes:
        t: Height, 0 at the lower edge, 1 at the upper.
        half_width: Half the width amidships, metres.
        x_rear: Where the side has curved fully into the rear, metres.
        x_front: The same at the front.
        bulge_rear: How far the middle of the rear stands out beyond ``x_rear``.
        bulge_front: The same at the front.
    """

    t: float
    half_width: float
    x_rear: float
    x_front: float
    bulge_rear: float = 0.06
    bulge_front: float = 0.10


class Shell:
    """A closed wall of rings with a lid, symmetric in y.

    Attributes:
        left: (levels, rows, 3) points of the left side, rear to front, bottom to top.
        bulge: (2, levels) rear and front bulge.
        crown: (rows,) how much higher the lid is in the middle than at its edge.
    """

    def __init__(
        self,
        rings: list[Ring],
        *,
        z_bottom: Callable[[np.ndarray], np.ndarray],
        z_top: Callable[[np.ndarray], np.ndarray],
        corner_rear: tuple[float, float],
        corner_front: tuple[float, float],
        stations: np.ndarray | None = None,
        crown: float | Callable[[np.ndarray], np.ndarray] = 0.03,
        taper: float = 0.03,
        corner_rows: int = 5,
    ):
        """Build the grid.

        Args:
            rings: Levels, bottom to top.
            z_bottom: Height of the lower edge as a function of x.
            z_top: Height of the upper edge as a function of x.
            corner_rear: Length along and inset across of the rounded rear corner, metres.
            corner_front: The same at the front.
            stations: Side rows between the corners, as fractions 0..1 of the straight length.
            crown: Height of the lid's middle above its edge, a number or a function of x.
            taper: Fraction of the width lost from amidships to where the corners begin.
            corner_rows: Rows that each corner is made of.
        """
        stations = np.linspace(0, 1, 13) if stations is None else stations
        turn = np.linspace(np.pi / 2, 0, corner_rows, endpoint=False)
        grid = []
        for ring in rings:
            # A short ring has no room for the full corner.
            room = 0.45 * (ring.x_front - ring.x_rear)
            rear, front = min(corner_rear[0], room), min(corner_front[0], room)
            x0, x1 = ring.x_rear + rear, ring.x_front - front
            x = np.concatenate(
                [
                    x0 - rear * np.sin(turn),
                    x0 + (x1 - x0) * stations,
                    x1 + front * np.sin(turn[::-1]),
                ]
            )
            middle = 0.5 * (x0 + x1)
            along = np.abs(x - middle) / (0.5 * (x1 - x0))
            y = ring.half_width * (1 - taper * np.minimum(along, 1.0) ** 2)
            inset = np.zeros_like(x)
            inset[:corner_rows] = corner_rear[1] * (1 - np.cos(turn))
            inset[-corner_rows:] = corner_front[1] * (1 - np.cos(turn[::-1]))
            grid.append(np.stack([x, np.maximum(y - inset, 0.02)], axis=-1))
        plan = np.stack(grid)
        low, high = z_bottom(plan[0, :, 0]), z_top(plan[-1, :, 0])
        t = np.array([ring.t for ring in rings])[:, None]
        self.left = np.concatenate([plan, (low + t * (high - low))[..., None]], axis=-1)
        self._t = t[:, 0]
        self._corner_rows = corner_rows
        self.bulge = np.array(
            [[ring.bulge_rear for ring in rings], [ring.bulge_front for ring in rings]]
        )
        top_x = self.left[-1, :, 0]
        self.crown = crown(top_x) if callable(crown) else np.full(len(top_x), float(crown))

    def _end(self, which: int) -> np.ndarray:
        """Points of the rear (0) or front (1), (levels, len(ACROSS), 3), left to right."""
        edge = self.left[:, -which]
        shape = 1 - ACROSS**2
        x = edge[:, :1] + (2 * which - 1) * self.bulge[which][:, None] * shape
        # Upper levels rise towards the middle as the lid does.
        z = edge[:, 2:] + self.crown[-which] * shape * self._t[:, None] ** 2
        return np.stack([x, edge[:, 1:2] * ACROSS, z], axis=-1)

    def walls(self) -> dict[str, np.ndarray]:
        """Grids of points, (levels, columns, 3), columns running left when seen from outside.

        Returns:
            ``left``, ``right``, ``front``, ``rear``; the rows of each run bottom to top.
        """
        mirror = np.array([1.0, -1.0, 1.0])
        return {
            "left": self.left[:, ::-1],
            "right": self.left * mirror,
            "front": self._end(1)[:, ::-1],
            "rear": self._end(0),
        }

    def lid(self) -> np.ndarray:
        """(rows, len(ACROSS), 3) points of the top, rear to front, left to right."""
        edge = self.left[-1]
        ends = np.zeros(len(edge))
        length = edge[-1, 0] - edge[0, 0]
        share = (edge[:, 0] - edge[0, 0]) / length
        ends = self.bulge[1, -1] * share**4 - self.bulge[0, -1] * (1 - share) ** 4
        shape = 1 - ACROSS**2
        x = edge[:, :1] + ends[:, None] * shape
        y = edge[:, 1:2] * ACROSS
        z = edge[:, 2:] + self.crown[:, None] * shape
        return np.stack([x, y, z], axis=-1)

    def side_at(self, a: ArrayLike, t: ArrayLike, side: int = 1) -> np.ndarray:
        """Points of the side wall by share of its length and height.

        Args:
            a: 0 where the rear corner ends, 1 where the front corner begins; held beyond the
                shell's ends.
            t: 0 at the lower edge, 1 at the upper.
            side: 1 left, -1 right.

        Returns:
            (..., 3) points, with the broadcast shape of ``a`` and ``t``.
        """
        a, t = np.broadcast_arrays(np.asarray(a, float), np.asarray(t, float))
        rows = self.left.shape[1]
        row = np.clip(self._corner_rows + a * (rows - 1 - 2 * self._corner_rows), 0, rows - 1.001)
        level = np.clip(np.interp(t, self._t, np.arange(len(self._t))), 0, len(self._t) - 1.001)
        i, j = row.astype(int), level.astype(int)
        u, v = (row - i)[..., None], (level - j)[..., None]
        low = self.left[j, i] * (1 - u) + self.left[j, i + 1] * u
        high = self.left[j + 1, i] * (1 - u) + self.left[j + 1, i + 1] * u
        return (low * (1 - v) + high * v) * np.array([1.0, side, 1.0])

    def share_at(self, x: ArrayLike, t: ArrayLike) -> np.ndarray:
        """The ``a`` of ``side_at`` for a place x along the car, at height share ``t``."""
        start, end = self.side_at(0.0, t)[..., 0], self.side_at(1.0, t)[..., 0]
        return (x - start) / (end - start)

    def side(self, points: ArrayLike, side: int = 1) -> np.ndarray:
        """Points of the side wall at given (x, z); ``side`` 1 is left, -1 right."""
        x, z = _columns(points)
        y = np.stack([np.interp(x, level[:, 0], level[:, 1]) for level in self.left])
        heights = np.stack([np.interp(x, level[:, 0], level[:, 2]) for level in self.left])
        (y,) = _between_levels(z, heights, y)
        return np.stack([x, side * y, z], axis=-1)

    def front(self, points: ArrayLike) -> np.ndarray:
        """Points of the front, and of the corners beside it, at given (w, z).

        ``w`` is 0 in the middle, 1 where the face ends, 2 where the corner has turned into the
        side; beyond that it runs along the side. Negative ``w`` is the right half.
        """
        return self._wrapped(points, 1)

    def rear(self, points: ArrayLike) -> np.ndarray:
        """Points of the rear, and of the corners beside it; as ``front``."""
        return self._wrapped(points, 0)

    def _wrapped(self, points: ArrayLike, which: int) -> np.ndarray:
        across, z = _columns(points)
        w = np.abs(across)
        rows = self.left.shape[1]
        on_face = np.minimum(w, 1.0)
        shape = 1 - on_face**2
        row = np.clip((w - 1.0) * self._corner_rows, 0.0, rows - 1.001)
        index = row.astype(int)
        share = (row - index)[:, None]
        outwards = self.left[:, ::-1] if which else self.left
        point = outwards[:, index] * (1 - share) + outwards[:, index + 1] * share
        bulge = (2 * which - 1) * self.bulge[which][:, None] * shape
        heights = point[..., 2] + self.crown[-which] * shape * self._t[:, None] ** 2
        x, y = _between_levels(z, heights, point[..., 0] + bulge, point[..., 1] * on_face)
        return np.stack([x, np.sign(across) * y, z], axis=-1)

    def end_height(self, which: int, v: ArrayLike, w: ArrayLike = 0.0) -> np.ndarray:
        """Height at share ``v`` of the front's (1) or rear's (0) own height, at ``w``."""
        v, w = np.broadcast_arrays(np.asarray(v, float), np.abs(np.asarray(w, float)))
        level = self.left[:, ::-1] if which else self.left
        row = np.clip((w - 1.0) * self._corner_rows, 0.0, level.shape[1] - 1.001)
        low = np.interp(row, np.arange(level.shape[1]), level[0, :, 2])
        high = np.interp(row, np.arange(level.shape[1]), level[-1, :, 2])
        return low + v * (high - low)

    def top(self, points: ArrayLike) -> np.ndarray:
        """Points of the lid at given (x, y)."""
        x, y = _columns(points)
        edge = self.left[-1]
        width = np.interp(x, edge[:, 0], edge[:, 1])
        q = np.clip(y / np.maximum(width, 1e-6), -1, 1)
        z = np.interp(x, edge[:, 0], edge[:, 2]) + np.interp(x, edge[:, 0], self.crown) * (1 - q**2)
        return np.stack([x, y, z], axis=-1)


def _columns(points: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both coordinates, (n,) each, of one point or (n, 2) points."""
    rows = np.atleast_2d(np.asarray(points, dtype=float))
    return rows[:, 0], rows[:, 1]


def _between_levels(z: np.ndarray, heights: np.ndarray, *values: np.ndarray) -> list[np.ndarray]:
    """Interpolate each level's values at height z; beyond the lowest and highest they are held.

    Args:
        z: (n,) heights asked for.
        heights: (levels, n) heights of the levels, rising.
        values: (levels, n) each.

    Returns:
        (n,) for each of ``values``.
    """
    column = np.arange(len(z))
    low = np.clip((heights <= z).sum(axis=0) - 1, 0, len(heights) - 2)
    floor = heights[low, column]
    rise = np.maximum(heights[low + 1, column] - floor, 1e-6)
    share = np.clip((z - floor) / rise, 0.0, 1.0)
    return [v[low, column] * (1 - share) + v[low + 1, column] * share for v in values]


def grid_quads(grid: np.ndarray) -> np.ndarray:
    """Split (rows, columns, 3) points into ((rows-1)*(columns-1), 4, 3) quads.

    Seen from the side where columns run left to right and rows bottom to top, the corners run
    counter-clockwise.
    """
    low, high = grid[:-1], grid[1:]
    quads = np.stack([low[:, :-1], low[:, 1:], high[:, 1:], high[:, :-1]], axis=2)
    return quads.reshape(-1, 4, 3)
