"""The labels of the real VeRi-776 fix which gallery rows are matches and which are ignored."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mtn_core.metrics.labels import LabelPairs


@pytest.fixture(scope="module")
def veri_labels(shared_data):
    folder = shared_data / "veri_labels"
    text = (folder / "test_label.xml").read_bytes().decode("ascii", "replace")
    items = list(ElementTree.fromstring(text[text.index("<TrainingImages") :]).iter("Item"))
    gallery = np.array([(int(i.get("vehicleID")), int(i.get("cameraID")[1:])) for i in items])
    names = [line.split(",")[0] for line in (folder / "label_query.csv").open()]
    query = np.array([(int(n.split("_")[0]), int(n.split("_")[1][1:])) for n in names])
    return folder, query, gallery


def test_matches_and_ignored_rows_are_those_of_veri(veri_labels):
    folder, query, gallery = veri_labels
    pairs = LabelPairs(query[:, 0], gallery[:, 0], query[:, 1], gallery[:, 1])
    row, column, ignored = pairs.of(0, len(query))
    assert len(query) == 1678
    assert len(gallery) == 11579
    for name, chosen in (("gt_index.txt", ~ignored), ("jk_index.txt", ignored)):
        lines = (folder / name).read_text().splitlines()
        wanted = [np.array(line.split(), int) - 1 for line in lines]
        np.testing.assert_array_equal(
            row[chosen], np.repeat(np.arange(len(query)), [len(w) for w in wanted])
        )
        np.testing.assert_array_equal(column[chosen], np.concatenate(wanted))
    # any part of the queries gives the same as all of them at once
    part_row, part_column, part_ignored = pairs.of(700, 705)
    chosen = (row >= 700) & (row < 705)
    np.testing.assert_array_equal(part_row, row[chosen] - 700)
    np.testing.assert_array_equal(part_column, column[chosen])
    np.testing.assert_array_equal(part_ignored, ignored[chosen])
