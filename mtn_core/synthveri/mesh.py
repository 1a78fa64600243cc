"""Faces with a material, collected part by part for the painter."""

from dataclasses import dataclass

import numpy as np

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """How a face takes light.

    Attributes:
        albedo: Linear RGB, 0..1.
        f0: Share of light that is mirrored head-on (0.04 lacquer and glass, 0.5 and more chrome).
        gloss: 0 for a matt face, 1 for one that mirrors sharply.
        glow: Linear RGB that the face gives off by itself.
    """

    albedo: RGB
    f0: float = 0.0
    gloss: float = 0.0
    glow: RGB = (0.0, 0.0, 0.0)

    def scaled(self, factor: float) -> "Material":
        """The same material, darker or brighter."""
        return Material(toned(self.albedo, factor), self.f0, self.gloss, self.glow)


def toned(rgb: RGB, factor: float, base: float = 0.0) -> RGB:
    """``base + factor * c`` of each of the three."""
    red, green, blue = (base + factor * c for c in rgb)
    return red, green, blue


@dataclass(frozen=True, eq=False)
class Faces:
    """Faces with the same number of corners.

    Attributes:
        corners: (n, k, 3) in the car's frame, counter-clockwise seen from outside.
        centres: (n, 3).
        normals: (n, 3), unit length, outwards.
        optics: (n, 8): albedo, f0, gloss, glow.
        part: (n,) int, which part of the vehicle.
        layer: (n,) int, painted later within the part.
    """

    corners: np.ndarray
    centres: np.ndarray
    normals: np.ndarray
    optics: np.ndarray
    part: np.ndarray
    layer: np.ndarray


class Mesh:
    """Collects faces; ``finish`` sorts them by number of corners."""

    def __init__(self) -> None:
        self._faces: dict[int, list[tuple]] = {}

    def add(
        self,
        corners: np.ndarray,
        material: Material | list[Material],
        part: int,
        layer: int = 0,
        *,
        mirror: bool = False,
    ) -> None:
        """Add faces.

        Args:
            corners: (n, k, 3) or (k, 3), counter-clockwise seen from outside.
            material: One for all, or one for each face.
            part: Part index.
            layer: 0 for the body itself, more for what lies on it.
            mirror: Add the same faces on the other side of the car as well.
        """
        corners = np.asarray(corners, dtype=float)
        if corners.ndim == 2:
            corners = corners[None]
        materials = material if isinstance(material, list) else [material]
        optics = np.array([(*m.albedo, m.f0, m.gloss, *m.glow) for m in materials])
        optics = np.broadcast_to(optics, (len(corners), 8))
        self._store(corners, optics, part, layer)
        if mirror:  # a mirror image runs clockwise, so its corners are turned round
            self._store((corners * [1.0, -1.0, 1.0])[:, ::-1], optics, part, layer)

    def _store(self, corners: np.ndarray, optics: np.ndarray, part: int, layer: int) -> None:
        self._faces.setdefault(corners.shape[1], []).append((corners, optics, part, layer))

    def finish(self) -> list[Faces]:
        """All faces, one ``Faces`` for each number of corners."""
        result = []
        for count in sorted(self._faces):
            stored = self._faces[count]
            corners = np.concatenate([s[0] for s in stored])
            following = np.roll(corners, -1, axis=1)
            # Newell's sum is the normal even where corners coincide or are not in one plane.
            normals = np.cross(corners, following).sum(axis=1)
            length = np.linalg.norm(normals, axis=1, keepdims=True)
            result.append(
                Faces(
                    corners=corners,
                    centres=corners.mean(axis=1),
                    normals=normals / np.maximum(length, 1e-12),
                    optics=np.concatenate([s[1] for s in stored]),
                    part=np.concatenate([np.full(len(s[0]), s[2]) for s in stored]),
                    layer=np.concatenate([np.full(len(s[0]), s[3]) for s in stored]),
                )
            )
        return result
