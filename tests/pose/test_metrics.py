"""PCK against hand-worked fractions and a naive loop."""

import subprocess
import sys

import numpy as np
import pytest

from mtn_core.pose.metrics import KEYPOINT_GROUPS, format_pck_table, measure_errors


def labels_of(count=1):
    labels = np.zeros((count, 36, 3))
    labels[..., 0], labels[..., 1], labels[..., 2] = 50, 40, 1
    return labels


def test_hand_worked_fractions():
    labels, sizes = labels_of(), np.array([[200, 100]])
    predicted = labels.copy()
    # Wheels: 1 of 20 wrong; roof: 2 of 4 wrong; body right. The longer side is 200.
    predicted[0, 0, 0] += 21
    predicted[0, 13, 0] += 16
    predicted[0, 13, 1] += 16  # 22.6 pixels away
    predicted[0, 31, 1] += 30
    predicted[0, 15, 0] += 20  # on the threshold: right
    errors = measure_errors(predicted, labels, sizes)
    table = errors.by_group((0.1,))
    assert table.loc["wheels", "visible@0.1"] == 19 / 20
    assert table.loc["roof", "visible@0.1"] == 2 / 4
    assert table.loc["body", "visible@0.1"] == 1
    assert errors.pck(0.1) == table.loc["all", "visible@0.1"] == 33 / 36
    assert table["num_visible"].tolist() == [20, 12, 4, 36]
    keypoints = errors.by_keypoint((0.1,))
    assert keypoints.loc["left_rear_wheel", "visible@0.1"] == 0
    assert (keypoints["visible@0.1"] == 1).sum() == 33


def test_hidden_unlabelled_and_outside_are_kept_apart():
    labels, sizes = labels_of(), np.array([[100, 100]])
    labels[0, 0, 2] = 0.4  # hidden
    labels[0, 1] = 0  # no label
    labels[0, 2, 0] = 101  # outside
    labels[0, 3] = np.nan
    predicted = np.nan_to_num(labels.copy())
    predicted[0, 0, 0] += 50
    predicted[0, 1:4] += 50
    errors = measure_errors(predicted, labels, sizes)
    assert errors.visible.sum() == 32 and errors.hidden.sum() == 1
    assert errors.pck(0.1) == 1
    assert errors.pck(0.1, errors.hidden) == 0
    assert errors.summary((0.1, 0.6))["pck@0.6_hidden"] == 1


def test_equals_a_naive_loop():
    rng = np.random.default_rng(0)
    labels = np.dstack([rng.uniform(0, 90, (5, 36, 2)), rng.uniform(0, 1, (5, 36))])
    predicted = labels + rng.normal(0, 10, labels.shape)
    sizes = rng.integers(91, 150, (5, 2))
    errors = measure_errors(predicted, labels, sizes)
    for threshold in (0.05, 0.1):
        right = total = 0
        for n in range(5):
            for k in range(36):
                if labels[n, k, 2] >= 0.5:
                    total += 1
                    d = ((predicted[n, k, :2] - labels[n, k, :2]) ** 2).sum() ** 0.5
                    right += d <= threshold * max(sizes[n])
        assert errors.pck(threshold) == right / total
    assert errors.pck(0.05) < errors.pck(0.1)


def test_visibility_is_told_by_confidence():
    labels, sizes = labels_of(), np.array([[100, 100]])
    labels[0, :12, 2] = 0.2
    predicted = labels.copy()
    assert measure_errors(predicted, labels, sizes).visibility_accuracy() == 1
    predicted[..., 2] = 0.9  # sure of everything
    assert measure_errors(predicted, labels, sizes).visibility_accuracy() == 0.5
    labels[..., 2] = 1
    assert np.isnan(measure_errors(predicted, labels, sizes).visibility_accuracy())


def test_images_are_ranked_by_their_visible_error():
    labels, sizes = labels_of(3), np.array([[100, 100]] * 3)
    labels[2, :, 2] = 0.1
    predicted = labels.copy()
    predicted[1, :, 0] += 30
    frame = measure_errors(predicted, labels, sizes).by_image(["a.jpg", "b.jpg", "c.jpg"])
    assert frame["mean_error"].tolist()[:2] == [0, pytest.approx(0.3)]
    assert np.isnan(frame["mean_error"][2]) and frame["num_visible"].tolist() == [36, 36, 0]


def test_groups_cover_every_keypoint_once():
    members = sorted(k for group in KEYPOINT_GROUPS.values() for k in group)
    assert members == list(range(36))


def test_table_reads_like_the_retrieval_table():
    labels, sizes = labels_of(2), np.array([[100, 100]] * 2)
    text = format_pck_table(measure_errors(labels, labels, sizes), (0.05, 0.1), 2)
    lines = text.splitlines()
    assert lines[:2] == ["Computing PCK", "Results ----------"]
    assert lines[2] == "PCK@0.05: 100.0 %"
    assert lines[3] == "PCK@0.1 : 100.0 %"
    assert lines[4] == "------------------"
    assert lines[5].split() == ["Keypoints", "@0.05", "@0.1"]
    assert lines[6].split() == ["wheels,", "visible", *["100.0", "%"] * 2]
    assert next(line for line in lines if line.startswith("roof, hidden")).split()[2:] == ["-"] * 2
    assert "2 images, 72 visible and 0 hidden keypoints" in text


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="must both be"):
        measure_errors(np.zeros((2, 36, 3)), np.zeros((3, 36, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="`sizes`"):
        measure_errors(np.zeros((2, 36, 3)), np.zeros((2, 36, 3)), np.ones((3, 2)))


def test_metrics_do_not_import_mindspore():
    code = "import sys, mtn_core.pose.metrics; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
