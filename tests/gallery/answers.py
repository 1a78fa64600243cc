"""What a gallery of three hundred made-up crops must answer, worked out by NumPy."""

import itertools
from datetime import timedelta

import numpy as np

from mtn_core.gallery.records import Filter
from mtn_core.gallery.store import unit_vectors

COUNT = 300


def kept(which, made):
    """Numbers of the sightings that a filter keeps, worked out one by one."""
    batch = made.batch(0, COUNT)

    def keeps(i):
        camera, time = batch.cameras[i], batch.times[i]
        camera = camera and camera.lstrip("0")
        return (
            (not which.camera or camera in which.camera)
            and camera not in which.not_camera
            and (which.after is None or (time is not None and time >= which.after))
            and (which.before is None or (time is not None and time < which.before))
            and (not which.color or batch.colors[i] in which.color)
            and (not which.type or batch.types[i] in which.type)
            and (not which.vehicle or batch.vehicles[i] in which.vehicle)
            and (not which.track or batch.tracks[i] in which.track)
            and batch.image_sha256[i] not in which.not_image
        )

    return [i for i in range(COUNT) if keeps(i)]


def filters(made):
    start = made.start
    singles = [
        {"camera": ("2",)},
        {"camera": ("002", "4")},
        {"not_camera": ("1", "3")},
        {"after": start + timedelta(minutes=100)},
        {"before": start + timedelta(minutes=200)},
        {"color": ("o'live",)},
        {"type": ("bus",)},
        {"vehicle": ("v3", "v9")},
        {"track": ("t7",)},
        {"not_image": (made.sha(5), made.sha(6))},
    ]
    pairs = [a | b for a, b in itertools.combinations(singles, 2) if not set(a) & set(b)]
    return [Filter(), *(Filter(**values) for values in singles + pairs)]


def expected_hits(query, numbers, top, made, metric):
    """Names and distances by NumPy, from embeddings as float16 keeps them."""
    features = made.features(0, COUNT)
    if metric == "cosine":
        features, query = unit_vectors(features), unit_vectors(query[None])[0]
    rows = features[numbers].astype(np.float16).astype(np.float64)
    squares = ((rows - query.astype(np.float64)) ** 2).sum(axis=1)
    distances = squares / 2 if metric == "cosine" else np.sqrt(squares)
    order = np.argsort(distances, kind="stable")[:top]
    return [f"day/{numbers[i]:05d}.jpg" for i in order], distances[order]


def check_answers(gallery, made):
    """Counts, names and distances under every filter."""
    queries = np.random.default_rng(1000).normal(size=(2, 48)).astype(np.float32)
    for which in filters(made):
        numbers = kept(which, made)
        assert gallery.count(which) == len(numbers), which
        found = gallery.search(queries, which, top=7)
        for query, hits in zip(queries, found, strict=True):
            names, distances = expected_hits(query, numbers, 7, made, "cosine")
            assert [hit.name for hit in hits] == names, which
            np.testing.assert_allclose([h.distance for h in hits], distances, atol=1e-6)
