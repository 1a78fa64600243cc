"""Painter's order: the faces that look at the camera, the far ones first."""

import cv2
import numpy as np

from mtn_core.synthveri.cameras import View
from mtn_core.synthveri.ground import Window
from mtn_core.synthveri.light import expose, shade
from mtn_core.synthveri.mesh import Faces

_SHIFT = 4  # cv2 takes pixels in sixteenths


def paint_vehicle(
    canvas: np.ndarray,
    groups: list[Faces],
    ranks: np.ndarray,
    view: View,
    *,
    window: Window,
    gain: float,
) -> None:
    """Paint a vehicle into a picture.

    Args:
        canvas: (height, width, 3) uint8, changed in place.
        groups: The vehicle's faces.
        ranks: (parts,) order in which the parts are painted.
        view: Camera and place.
        window: Which part of the frame the canvas is.
        gain: Automatic exposure of the track.
    """
    outlines, colours, keys = [], [], []
    eye = view.eye
    for faces in groups:
        facing = ((eye - faces.corners[:, 0]) * faces.normals).sum(axis=1) > 0
        if not facing.any():
            continue
        seen = Faces(
            faces.corners[facing], faces.centres[facing], faces.normals[facing],
            faces.optics[facing], faces.part[facing], faces.layer[facing],
        )  # fmt: skip
        pixels, _ = view.project(seen.corners)
        pixels = (window.place(pixels) - 0.5) * (1 << _SHIFT)
        outlines.extend(np.rint(pixels).astype(np.int32))
        colours.append(expose(shade(seen, view), view.camera, gain))
        distance = np.linalg.norm(seen.centres - eye, axis=1)
        keys.append(np.stack([-distance, seen.layer, ranks[seen.part]]))
    order = np.lexsort(np.concatenate(keys, axis=1))
    colours = np.concatenate(colours).tolist()
    for index in order.tolist():
        cv2.fillConvexPoly(canvas, outlines[index], colours[index], cv2.LINE_8, _SHIFT)
