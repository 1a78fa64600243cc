"""Twenty fixed cameras, and the pinhole projection from a car's own frame to their pixels."""

from dataclasses import dataclass

import numpy as np

NUM_CAMERAS = 20
FRAME = (1280, 720)


@dataclass(frozen=True)
class Camera:
    """A traffic camera, its road and what it does to light.

    World frame: metres, z up with 0 on the ground, the camera above the origin, looking along +y
    and down.

    Attributes:
        camid: 1..20.
        height: Above the road, metres.
        pitch: Downwards, radians.
        focal: In pixels of the frame.
        road: Direction in which the lane's traffic drives, radians, 0 is across to the right.
        white_balance: Gain of R, G, B.
        exposure: Gain of everything.
        blur: Standard deviation, in pixels of the crop.
        noise: Standard deviation, in grey levels.
        detail: Share of the crop's resolution that the sensor and its codec really deliver.
        contrast: 1 is neutral; less is veiled by haze.
        sun: Unit vector to the sun, world frame.
        sunlight: Strength of the direct light against the sky's.
        quality: Of the JPEG.
        surface: Seed of the road's texture.
        setting: What lies beside the road: ``grass``, ``paving``, ``hedge``, ``wall``.
    """

    camid: int
    height: float
    pitch: float
    focal: float
    road: float
    white_balance: tuple[float, float, float]
    exposure: float
    blur: float
    noise: float
    detail: float
    contrast: float
    sun: tuple[float, float, float]
    sunlight: float
    quality: int
    surface: int
    setting: str

    @property
    def axes(self) -> np.ndarray:
        """(3, 3): right, down and forward of the camera, as rows, in the world frame."""
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[1.0, 0.0, 0.0], [0.0, -s, -c], [0.0, c, -s]])

    @property
    def look_at(self) -> float:
        """Distance along the ground to what is in the frame's middle, metres."""
        return self.height / np.tan(self.pitch)


def create_cameras(seed: int) -> tuple[Camera, ...]:
    """The twenty cameras of a seed; directions of view go all the way round the car."""
    rng = np.random.default_rng([seed, 0xCA3])
    order = rng.permutation(NUM_CAMERAS)
    cameras = []
    for index in range(NUM_CAMERAS):
        pitch = np.deg2rad(rng.uniform(15, 33))
        height = rng.uniform(5.2, 8.0)
        distance = height / np.sin(pitch)
        pixels_per_metre = rng.uniform(42, 78)
        warm = rng.normal(0, 0.16)
        green = rng.normal(0, 0.04)
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(25, 70))
        sun = (
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        )
        cameras.append(
            Camera(
                camid=index + 1,
                height=height,
                pitch=pitch,
                focal=pixels_per_metre * distance,
                road=2 * np.pi * order[index] / NUM_CAMERAS + rng.normal(0, 0.08),
                white_balance=(float(np.exp(warm)), float(np.exp(green)), float(np.exp(-warm))),
                exposure=float(np.exp(rng.normal(0.0, 0.45))),
                blur=rng.uniform(0.3, 0.9),
                noise=rng.uniform(0.8, 5.0),
                detail=rng.uniform(0.6, 1.0),
                contrast=1.0 - 0.2 * rng.random() ** 2,
                sun=sun,
                sunlight=float(rng.choice([0.15, 0.5, 1.0, 1.4])),
                quality=int(rng.integers(60, 93)),
                surface=int(rng.integers(1 << 30)),
                setting=str(rng.choice(["grass", "paving", "hedge", "wall"])),
            )
        )
    return tuple(cameras)


@dataclass(frozen=True)
class View:
    """A camera looking at a vehicle that stands somewhere on its road.

    Attributes:
        camera: The camera.
        position: Of the vehicle's origin on the ground, world frame, metres.
        heading: Where the vehicle points, radians.
    """

    camera: Camera
    position: tuple[float, float]
    heading: float

    @property
    def turn(self) -> np.ndarray:
        """(3, 3) rotation from the car's frame to the world's."""
        c, s = np.cos(self.heading), np.sin(self.heading)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])

    @property
    def eye(self) -> np.ndarray:
        """The camera's place in the car's frame."""
        place = np.array([0.0, 0.0, self.camera.height])
        return self.turn.T @ (place - np.array([*self.position, 0.0]))

    @property
    def sun(self) -> np.ndarray:
        """Unit vector to the sun in the car's frame."""
        return self.turn.T @ np.array(self.camera.sun)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the frame and depths, of points in the car's frame.

        Args:
            points: (..., 3) float.

        Returns:
            (..., 2) pixels with pixel centres at integers + 0.5, and (...) depth in metres.
        """
        axes = self.camera.axes @ self.turn
        seen = (points - self.eye) @ axes.T
        depth = seen[..., 2]
        pixels = seen[..., :2] / depth[..., None] * self.camera.focal
        return pixels + 0.5 * np.array(FRAME), depth
