"""What a face looks like: daylight, a mirrored horizon, and the camera's tone curve."""

import numpy as np

from mtn_core.synthveri.cameras import Camera, View
from mtn_core.synthveri.mesh import Faces

_SKY = np.array([0.92, 0.98, 1.08])
_SUN = np.array([1.05, 1.0, 0.92])


def shade(faces: Faces, view: View) -> np.ndarray:
    """Linear light that each face sends to the camera.

    Returns:
        (n, 3) float64.
    """
    normals, optics = faces.normals, faces.optics
    albedo, f0, gloss, glow = optics[:, :3], optics[:, 3], optics[:, 4], optics[:, 5:]
    to_eye = view.eye - faces.centres
    to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True)
    cosine = np.clip((normals * to_eye).sum(axis=1), 0.0, 1.0)
    sun, strength = view.sun, view.camera.sunlight
    upward = 0.5 + 0.5 * normals[:, 2]
    direct = strength * np.clip(normals @ sun, 0.0, None)
    # The sky is hidden from what is low on a car and from the underside of everything.
    openness = 0.6 + 0.4 * np.clip(faces.centres[:, 2] / 0.7, 0.0, 1.0)
    ambient = (0.16 + 0.50 * upward) * openness
    light = ambient[:, None] * _SKY + direct[:, None] * _SUN
    mirrored = 2 * cosine[:, None] * normals - to_eye
    mirror = (f0 + (1 - f0) * (1 - cosine) ** 5) * gloss
    seen = _surroundings(mirrored, view)
    glint = strength * gloss * np.clip(mirrored @ sun, 0.0, 1.0) ** 30 * 2.0
    return (
        albedo * light * (1 - mirror[:, None])
        + mirror[:, None] * seen
        + (glint * (0.2 + mirror))[:, None] * _SUN
        + glow
    )


def _surroundings(directions: np.ndarray, view: View) -> np.ndarray:
    """What a mirror shows: bright sky, a dark uneven skyline, grey road."""
    world = directions @ view.turn.T
    azimuth = np.arctan2(world[:, 1], world[:, 0])
    phase = view.camera.camid
    skyline = 0.20 + 0.10 * np.sin(3 * azimuth + phase) + 0.06 * np.sin(7 * azimuth + 2.3 * phase)
    up = world[:, 2]
    sky = _step((up - skyline) / 0.30 + 0.5)
    road = _step(-up / 0.25)
    brightness = 0.16 * (1 - sky) * (1 - road) + sky * (0.75 + 0.35 * up) + 0.26 * road
    return brightness[:, None] * (_SKY * sky[:, None] + (1 - sky[:, None]))


def _step(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def ground_light(view: View) -> np.ndarray:
    """(3,) light that falls on open, level ground."""
    strength = view.camera.sunlight * max(view.sun[2], 0.0)
    return 0.66 * _SKY + strength * _SUN


def expose(light: np.ndarray, camera: Camera, gain: float) -> np.ndarray:
    """The camera's grey levels for linear light.

    Args:
        light: (..., 3) linear.
        camera: Gives white balance, exposure and contrast.
        gain: What the automatic exposure does on top, for this track.

    Returns:
        (..., 3) 0..255, the dtype of ``light``.
    """
    scale = np.asarray(camera.white_balance, light.dtype)
    scale = scale * light.dtype.type(1.5 * camera.exposure * gain)
    level = 1 - np.exp(-light * scale)
    level **= light.dtype.type(1 / 2.0)
    # Deeper shadows and brighter lights than the eye's, as cameras have them.
    level *= light.dtype.type(0.75) + level * (
        light.dtype.type(0.75) - light.dtype.type(0.5) * level
    )
    veil = 1 - camera.contrast
    level *= light.dtype.type(255 * (1 - veil))
    level += light.dtype.type(255 * veil * 0.6)
    return level
