import numpy as np
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics.attributes import attribute_accuracy, predict_ids


def test_an_image_in_query_and_gallery_counts_once():
    """Known defect 27: the seed counts it twice, which is given for comparison."""
    names = ["a", "b", "a", "b", "c"]
    result = attribute_accuracy(names, [1, 2, 1, 2, 3], [1, 9, 1, 9, 3])
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.num_images == 3
    assert result.seed_protocol == pytest.approx(3 / 5)


def test_unknown_labels_count_nowhere():
    result = attribute_accuracy(["a", "b", "c"], [-1, 4, -1], [4, 4, -1])
    assert (result.accuracy, result.num_images, result.num_unknown) == (1.0, 1, 2)


def test_nothing_known_and_nothing_predicted_are_nan():
    unknown = attribute_accuracy(["a", "b"], [-1, -1], [1, 2])
    no_head = attribute_accuracy(["a", "b"], [1, 2], [-1, -1])
    assert np.isnan([unknown.accuracy, unknown.seed_protocol, no_head.accuracy]).all()


def test_a_class_without_training_images_is_an_answer_like_any_other():
    """Known defect 23: an unseen class must not fail."""
    assert attribute_accuracy(["a"], [10], [1]).accuracy == 0


def test_predicted_ids_start_at_one():
    assert predict_ids(np.eye(3)).tolist() == [1, 2, 3]
    assert predict_ids(np.zeros((2, 3))).tolist() == [-1, -1]
    assert predict_ids(np.zeros((2, 0))).tolist() == [-1, -1]
    with pytest.raises(DataError, match=r"got shape \(3,\)"):
        predict_ids(np.zeros(3))


def test_lengths_must_agree():
    with pytest.raises(DataError, match="one length"):
        attribute_accuracy(["a", "b"], [1], [1, 2])
