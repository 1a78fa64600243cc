"""Run folders with made-up embeddings and drawn crops: quick, and with every corner in them."""

import json

import numpy as np
import pandas as pd
import yaml
from PIL import Image, ImageDraw

from mtn_core.results import Embeddings, RetrievalResult

MARKUP_NAME = "0001_c001_<img src=x onerror=alert(1)>&\"'.jpg"
CAR_COLORS = ["#d8c020", "#e08020", "#309040", "#808080", "#c02020", "#2040c0", "#f0f0f0"]


def draw_crop(path, pid, camid, rng):
    """A box car whose paint says its id and whose background says its camera."""
    width, height = int(rng.integers(90, 200)), int(rng.integers(70, 150))
    shade = 60 + 8 * camid
    image = Image.new("RGB", (width, height), (shade, shade + 10, shade))
    draw = ImageDraw.Draw(image)
    color = CAR_COLORS[pid % len(CAR_COLORS)]
    draw.rectangle((0.1 * width, 0.45 * height, 0.9 * width, 0.8 * height), fill=color)
    draw.rectangle((0.25 * width, 0.2 * height, 0.75 * width, 0.5 * height), fill=color)
    for x in (0.25, 0.75):
        draw.ellipse(
            (x * width - 9, 0.8 * height - 9, x * width + 9, 0.8 * height + 9), fill="#101010"
        )
    image.save(path, "JPEG", quality=80)


def make_embeddings(split, rows, rng, centres, spread):
    pids = np.array([r[0] for r in rows])
    count = len(rows)
    colors, types = pids % 7 + 1, pids % 4 + 1
    colors = np.where(pids % 11 == 5, -1, colors)
    color_logits = rng.normal(size=(count, 10)) + 3.0 * np.eye(10)[pids % 7]
    type_logits = rng.normal(size=(count, 9)) + 2.0 * np.eye(9)[pids % 4]
    sizes = rng.integers(80, 200, (count, 2))
    keypoints = rng.uniform(0, 1, (count, 36, 3)) * np.stack(
        [sizes[:, :1] * np.ones((1, 36)), sizes[:, 1:] * np.ones((1, 36)), np.ones((count, 36))], -1
    )
    return Embeddings(
        split=split,
        names=np.array([r[2] for r in rows]),
        pids=pids,
        camids=np.array([r[1] for r in rows]),
        color_ids=colors,
        type_ids=types,
        features=(centres[pids] + spread * rng.normal(size=(count, 32))).astype(np.float32),
        color_logits=color_logits.astype(np.float32),
        type_logits=type_logits.astype(np.float32),
        keypoints=keypoints.astype(np.float32),
        sizes=sizes.astype(np.int32),
    )


def write_run(folder, *, root=None, seed=0, spread=1.0, num_ids=24, num_cams=6, images=True):
    """Write a run folder, and its data root unless one is given; return the run folder."""
    rng = np.random.default_rng(7)  # the data do not depend on the run
    gallery_rows, query_rows = [], []
    for pid in range(1, num_ids + 1):
        for camid in sorted(rng.choice(np.arange(1, num_cams + 1), 3, replace=False)):
            for k in range(2):
                name = f"{pid:04d}_c{camid:03d}_{k:08d}_0.jpg"
                if pid == 1 and k == 0 and not query_rows:
                    name = MARKUP_NAME
                gallery_rows.append((pid, int(camid), name))
                if k == 0:
                    query_rows.append((pid, int(camid), name))
    query_rows.append((num_ids + 1, 1, f"{num_ids + 1:04d}_c001_00000000_0.jpg"))  # no match
    gallery_rows.append(query_rows[-1])
    if root is None:
        root = folder.parent / "data"
        if images:
            for split, rows in (("image_test", gallery_rows), ("image_query", query_rows)):
                (root / "veri" / split).mkdir(parents=True, exist_ok=True)
                for pid, camid, name in rows:
                    draw_crop(root / "veri" / split / name, pid, camid, rng)
    rng = np.random.default_rng(seed + 100)
    centres = np.random.default_rng(3).normal(size=(num_ids + 2, 32))
    query = make_embeddings("query", query_rows, rng, centres, spread)
    gallery = make_embeddings("test", gallery_rows, rng, centres, spread)
    folder.mkdir(parents=True, exist_ok=True)
    provenance = {"checkpoint_sha256": "ab" * 32, "config_sha256": "cd" * 32, "root": str(root)}
    RetrievalResult.from_embeddings(query, gallery, provenance=provenance).save(folder)
    config = {"recipe": "smoke", "root": str(root), "train": {"seed": seed, "epochs": 3}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    environment = {"versions": {"python": "3.11.7", "mindspore": "2.8.0"}, "git_commit": "0" * 40}
    environment |= {"device_target": "CPU", "root": str(root)}
    (folder / "environment.json").write_text(json.dumps(environment))
    steps = np.arange(1, 61)
    pd.DataFrame(
        {
            "epoch": (steps - 1) // 20 + 1,
            "step": steps,
            "loss": 6 * np.exp(-steps / 25) + rng.uniform(0, 0.4, 60),
            "loss_id": 4 * np.exp(-steps / 25) + rng.uniform(0, 0.2, 60),
            "loss_triplet": 1 * np.exp(-steps / 25) + rng.uniform(0, 0.2, 60),
            "lr": 3e-4,
            "images_per_s": rng.normal(60, 4, 60),
            "data_wait_ms": rng.uniform(0, 5, 60),
        }
    ).to_csv(folder / "train.csv", index=False)
    baselines = {"untrained": {"mAP": 0.05}, "color_histogram": {"mAP": 0.17}}
    (folder / "baselines.json").write_text(json.dumps(baselines))
    return folder
