"""VRIC: one probe and one gallery image a vehicle, from different cameras.

Source: Kanaci et al., "Vehicle Re-Identification in Context", GCPR 2018; layout from its README.
"""

from pathlib import Path

import pandas as pd

from mtn_core.data.prepare.datasets.common import (
    Dataset,
    read_rows,
    refuse_absent,
    whole_number,
)
from mtn_core.data.prepare.writing import table_of
from mtn_core.errors import first_offenders
from mtn_core.metrics.protocol import EvaluationProtocol

_LISTS = {
    "train": ("vric_train.txt", "train_images", 54_808, 2_811),
    "query": ("vric_probe.txt", "probe_images", 2_811, 2_811),
    "test": ("vric_gallery.txt", "gallery_images", 2_811, 2_811),
}


def read_vric(download: Path, part: str, seed: int) -> Dataset:
    """Read VRIC; its split is official, so ``part`` and ``seed`` choose nothing.

    Raises:
        DataError: Lists or images are missing, or a list has other rows.
    """
    counts, tables = [], []
    for split, (file_name, folder, images, ids) in _LISTS.items():
        path = download / file_name
        rows = table_of(
            [
                {
                    "source": f"{folder}/{name}",
                    "pid": whole_number(pid, path, "id"),
                    "camid": whole_number(camera, path, "camera"),
                    "split": split,
                }
                for name, pid, camera in read_rows(path, [3])
            ]
        )
        counts.append((len(rows), images, f"{split} images"))
        counts.append((rows["pid"].nunique(), ids, f"{split} vehicles"))
        tables.append(rows)
    notes = []
    table = pd.concat(tables, ignore_index=True)
    tested = table["split"] != "train"
    trained = table.loc[~tested, "pid"]
    if trained.isin(table.loc[tested, "pid"]).any():
        # Officially no vehicle is in both: the numbers are used twice.
        above = int(trained.max()) + 1
        table.loc[tested, "pid"] += above
        notes.append(f"training and test number their vehicles separately: {above} added in test")
    refuse_absent(table, download)
    query, gallery = (table[table["split"] == split] for split in ("query", "test"))
    same = query.merge(gallery, on=["pid", "camid"], suffixes=("", "_gallery"))["source"].tolist()
    if same:
        notes.append(
            f"{len(same)} probes have their vehicle's gallery image from the same camera, where "
            f"VRIC has different ones; VeRi's rule would ignore it: {first_offenders(same)}"
        )
    protocol = EvaluationProtocol(name="VRIC, single shot", ignored="same_image")
    return Dataset(table, download, protocol, counts, notes)
