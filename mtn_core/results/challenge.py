"""Rankings in the form of the AI City Challenge: ``track2.txt``."""

from pathlib import Path

import numpy as np
import pandas as pd

from mtn_core.errors import DataError
from mtn_core.files import write_text
from mtn_core.metrics.ranking import nearest
from mtn_core.results.embeddings import Embeddings

RANKS = 100


def write_track2(
    path: str | Path,
    query: Embeddings,
    gallery: Embeddings,
    names: str | Path,
    *,
    metric: str = "euclidean",
) -> int:
    """Write a line for each query, in the order of the queries: the nearest gallery images.

    An image is named by the number in its official file name, without zeros in front.

    Args:
        path: File to write.
        query: Of the official queries, in the order of ``name_query.txt``.
        gallery: Of the official test set.
        names: ``veri/names.csv`` of the prepared root, which knows the official names.
        metric: ``euclidean`` or ``cosine``.

    Returns:
        Number of lines.

    Raises:
        DataError: ``names`` does not know an image, or its official name has no number.
    """
    try:
        table = pd.read_csv(names, dtype=str)
        source = dict(zip(table["name"], table["source"], strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{names} cannot be read as the names of a prepared root") from error
    for split, folder in ((query, "image_query"), (gallery, "image_test")):
        strange = [n for n in split.names if not str(source.get(n, "")).startswith(f"{folder}/")]
        if strange:
            raise DataError(
                f"{strange[0]} is no image of the official {folder}; prepare the root with "
                "`mtn prepare-dataset cityflow --part challenge` and evaluate on it"
            )
    numbers = [Path(source[name]).stem for name in gallery.names]
    wrong = [text for text in numbers if not text.isdigit()]
    if wrong:
        raise DataError(f"{names}: {wrong[0]!r} is not a number, as official names are")
    top = min(RANKS, len(gallery))
    rows, _ = nearest(query.features, gallery.features, top, metric=metric)
    official = np.array([str(int(text)) for text in numbers])
    write_text(path, "".join(" ".join(official[row]) + "\n" for row in rows))
    return len(rows)
