"""A sheet of crops, to see at a glance what a data set looks like."""

from pathlib import Path

import numpy as np
from PIL import Image

from mtn_core.errors import DataError


def contact_sheet(
    root: str | Path,
    n: int = 40,
    *,
    columns: int = 8,
    cell: tuple[int, int] = (150, 120),
    seed: int = 0,
) -> Image.Image:
    """Lay out crops of a data set on one picture, of different vehicles as far as they reach.

    Args:
        root: The folder that holds ``veri/``.
        n: Number of crops.
        columns: Crops side by side.
        cell: Width and height that each crop is fitted into, pixels.
        seed: Which crops are chosen.

    Returns:
        RGB image, as high as the rows need.

    Raises:
        DataError: There are no images.
    """
    paths = sorted((Path(root) / "veri").glob("image_t*/*.jpg"))
    if not paths:
        raise DataError(f"no images in {Path(root) / 'veri'}; write some with `mtn synth`")
    paths = [paths[i] for i in np.random.default_rng(seed).permutation(len(paths))]
    seen: dict[str, int] = {}
    turns = []
    for path in paths:
        pid = path.name.split("_")[0]
        turns.append(seen.get(pid, 0))
        seen[pid] = turns[-1] + 1
    chosen = [paths[i] for i in np.argsort(turns, kind="stable")[:n]]
    rows = -(-len(chosen) // columns)
    sheet = Image.new("RGB", (columns * (cell[0] + 4), rows * (cell[1] + 4)), "white")
    for index, path in enumerate(chosen):
        with Image.open(path) as image:
            crop = image.convert("RGB")
        ratio = min(cell[0] / crop.width, cell[1] / crop.height)
        crop = crop.resize((round(crop.width * ratio), round(crop.height * ratio)))
        x = (index % columns) * (cell[0] + 4) + (cell[0] + 4 - crop.width) // 2
        y = (index // columns) * (cell[1] + 4) + (cell[1] + 4 - crop.height) // 2
        sheet.paste(crop, (x, y))
    return sheet
