"""A gallery of drawn crops, embedded by a network that is no network: quick, and it retrieves."""

import hashlib
from datetime import datetime, timedelta

import cv2
import numpy as np

from mtn_core.config import ModelConfig
from mtn_core.gallery.embedder import Embedder
from mtn_core.gallery.records import Batch
from mtn_core.gallery.store import Gallery
from mtn_core.predict.backend import Outputs
from mtn_core.vehicle import COLOR_NAMES, TYPE_NAMES

PAINTS = {"red": (200, 30, 30), "blue": (30, 60, 200), "white": (240, 240, 240)}
START = datetime(2024, 5, 1, 12)
MARKUP = "<img src=x onerror=alert(1)>&'.png"
NUM_VEHICLES, NUM_CAMERAS = 6, 4


class PixelBackend:
    """The crop itself, at 8 x 8, is the embedding; its paint is the colour."""

    rank, rank_size, recipe = 0, 1, None

    def __init__(self, *, keypoints=False, metric="euclidean", checkpoint="ab" * 32):
        self.model = ModelConfig(image_size=32, keypoints=keypoints)
        self.metric, self.provenance = metric, {"checkpoint_sha256": checkpoint}

    def embed(self, batch):
        small = np.stack(
            [cv2.resize(i, (8, 8), interpolation=cv2.INTER_AREA) for i in batch["image"]]
        )
        features = small.reshape(len(small), -1).astype(np.float32) / 255
        middle = small[:, 3:5, 3:5].mean(axis=(1, 2))
        colors = np.full((len(small), len(COLOR_NAMES)), -9.0, np.float32)
        for name, paint in PAINTS.items():
            away = np.abs(middle - np.array(paint)).max(axis=1)
            colors[:, COLOR_NAMES.index(name)] = 4 - away / 20
        types = np.zeros((len(small), len(TYPE_NAMES)), np.float32)
        types[:, 0] = 1
        return Outputs(features, colors, types)

    def gather(self, values):
        return values


def make_embedder(**options):
    return Embedder(PixelBackend(**options), "pixels.onnx")


def draw_crop(vehicle, shade=0, size=(96, 72)):
    """A box with the vehicle's paint and a roof of its own, under a camera's light."""
    width, height = size
    image = np.full((height, width, 3), 90 + 2 * shade, np.uint8)
    paint = list(PAINTS.values())[vehicle % len(PAINTS)]
    image[height // 6 : -height // 6, width // 8 : -width // 8] = paint
    roof = [(20, 20, 20), (20, 160, 20)][vehicle // len(PAINTS) % 2]
    image[height // 6 : height // 3, width // 4 : -width // 4] = roof
    return np.clip(image.astype(int) + shade, 0, 255).astype(np.uint8)


def png(image):
    ok, data = cv2.imencode(".png", image[:, :, ::-1])
    assert ok
    return data.tobytes()


def write_gallery(folder, **options):
    """Every vehicle at every camera, two frames each; files in ``folder/crops``; the gallery."""
    crops = folder / "crops"
    images, names, cameras, times, tracks, vehicles = [], [], [], [], [], []
    for camera in range(1, NUM_CAMERAS + 1):
        (crops / f"cam{camera}").mkdir(parents=True)
        for vehicle in range(NUM_VEHICLES):
            for frame in range(2):
                name = f"cam{camera}/v{vehicle}_{frame}.png"
                if (camera, vehicle, frame) == (2, 0, 0):
                    name = f"cam2/{MARKUP}"
                images.append(draw_crop(vehicle, 2 * camera + frame))
                (crops / name).write_bytes(png(images[-1]))
                names.append(name)
                cameras.append(str(camera))
                times.append(START + timedelta(minutes=7 * vehicle + camera, seconds=frame))
                tracks.append(f"{camera}-{vehicle}")
                vehicles.append(f"car {vehicle}")
    embedder = make_embedder(**options)
    gallery = Gallery.create(folder / "city", embedder.new_info(crops))
    said = embedder.embed(images)
    gallery.add(
        Batch(
            model_sha256=embedder.sha256,
            names=names,
            image_sha256=[hashlib.sha256((crops / n).read_bytes()).hexdigest() for n in names],
            features=said.features,
            cameras=cameras,
            times=times,
            tracks=tracks,
            vehicles=vehicles,
            colors=said.colors,
            color_confidences=said.color_confidences,
            types=said.types,
            type_confidences=said.type_confidences,
        )
    )
    return gallery
