"""Rules of other data sets than VeRi."""

from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from mtn_core.metrics.protocol import VERI, EvaluationProtocol
from mtn_core.metrics.retrieval import evaluate

# One query at 0; matches at 1, 3 and 6, others at 2, 4 and 5. The match at 1 is of its camera.
GALLERY = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]], np.float32)
G_PIDS = np.array([1, 2, 1, 2, 2, 1])
QUERY = SimpleNamespace(names=np.array(["q"]), camids=np.array([1]))
SPLIT = SimpleNamespace(names=np.array(list("abcdef")), camids=np.array([1, 2, 2, 2, 2, 3]))


def average_precision(rule):
    cameras = rule.separate_cameras(QUERY, SPLIT)
    query = np.zeros((1, 1), np.float32)
    result = evaluate(query, GALLERY, np.array([1]), G_PIDS, *cameras, ap_ranks=rule.ap_ranks)
    return result.mAP, int(result.num_ignored[0])


def test_the_same_camera_is_ignored_or_not():
    # Ranks 2 and 5 of five, against ranks 1, 3 and 6 of six.
    assert average_precision(VERI) == (pytest.approx((1 / 2 + 2 / 5) / 2), 1)
    rule = EvaluationProtocol(name="PVEN", ignored="same_image")
    assert average_precision(rule) == (pytest.approx((1 + 2 / 3 + 3 / 6) / 3), 0)


def test_the_query_itself_is_ignored_by_either_rule():
    rule = EvaluationProtocol(name="PVEN", ignored="same_image")
    own = SimpleNamespace(names=np.array(["q", "b"]), camids=np.array([1, 2]))
    q_camids, g_camids = rule.separate_cameras(QUERY, own)
    assert q_camids[0] == g_camids[0] != g_camids[1]


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (1, 1.0),  # one match could stand there, and does
        (2, 1 / 2),  # two could, one does
        (3, (1 + 2 / 3) / 3),
        (5, (1 + 2 / 3) / 3),
        (6, (1 + 2 / 3 + 3 / 6) / 3),
        (100, (1 + 2 / 3 + 3 / 6) / 3),
    ],
)
def test_average_precision_of_the_nearest_rows_only(ranks, expected):
    rule = EvaluationProtocol(name="x", ignored="same_image", ap_ranks=ranks)
    assert average_precision(rule)[0] == pytest.approx(expected)


def test_a_rule_comes_back_from_what_results_say():
    rule = EvaluationProtocol(name="x", ignored="same_image", ap_ranks=100, draws=10, seed=3)
    assert EvaluationProtocol.from_dict(rule.to_dict() | {"metric": "cosine"}) == rule
    assert EvaluationProtocol.from_dict({"metric": "cosine"}) == VERI
    assert rule.to_text() == (
        "x (ignored: the query's own image; average precision over the nearest 100; one gallery "
        "image of each vehicle, 10 draws with seed 3)"
    )


@pytest.mark.parametrize("values", [{"draws": -1}, {"ignored": "none"}, {"ap_ranks": 0}, {"x": 1}])
def test_an_impossible_rule_is_refused(values):
    with pytest.raises(ValidationError):
        EvaluationProtocol(**values)
