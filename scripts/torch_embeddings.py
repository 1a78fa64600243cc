"""Write embeddings as any PyTorch program has them: python scripts/torch_embeddings.py ROOT OUT.

The network is untrained; what matters is the two lines at the end of each split.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn


def main(root: Path, out: Path) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    model = nn.Sequential(*layers).eval()
    out.mkdir(parents=True)
    for split, folder in (("query", "image_query"), ("gallery", "image_test")):
        paths = sorted((root / "veri" / folder).glob("*.jpg"))
        features, pids, camids = [], [], []
        for path in paths:
            pixels = np.asarray(Image.open(path).convert("RGB").resize((64, 64)), np.float32) / 255
            with torch.no_grad():
                features.append(model(torch.from_numpy(pixels).permute(2, 0, 1)[None]))
            pid, camera, *_ = path.name.split("_")
            pids.append(int(pid))
            camids.append(int(camera[1:]) - 1)  # from 0, as the toolboxes count
        names = [str(path) for path in paths]
        arrays = {"features": torch.cat(features), "pids": pids, "camids": camids, "names": names}
        np.savez(out / f"{split}.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
