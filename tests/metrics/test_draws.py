import numpy as np
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics.draws import draw_galleries, evaluate_draws

PIDS = np.array([7, 3, 7, 3, 3, 9])


def test_a_draw_has_one_image_of_each_vehicle_in_order():
    for gallery in draw_galleries(PIDS, 20, seed=4):
        assert PIDS[gallery].tolist() == [3, 7, 9]
    chosen = {tuple(g) for g in draw_galleries(PIDS, 60, seed=4)}
    assert len(chosen) == 6  # 3 images of vehicle 3, 2 of vehicle 7


def test_the_first_of_ten_draws_is_the_one_of_one():
    (alone,) = draw_galleries(PIDS, 1, seed=8)
    assert alone.tolist() == draw_galleries(PIDS, 10, seed=8)[0].tolist()


def test_figures_of_a_draw_by_hand():
    # On a line; the gallery has one image of vehicle 1 and one of vehicle 2, two are queries.
    features = np.array([[0.0], [1.0], [10.0], [4.0]], np.float32)
    pids = np.array([1, 1, 2, 2])
    found = evaluate_draws(features, pids, draws=40, seed=0)
    expected = {
        (0, 2): (1.0, 0.75, 0.5),  # 1 is near 0; 4 is nearer to 0 than to 10
        (0, 3): (1.0, 1.0, 1.0),
        (1, 2): (1.0, 0.75, 0.5),
        (1, 3): (1.0, 1.0, 1.0),
    }
    galleries = draw_galleries(pids, 40, seed=0)
    assert {tuple(g) for g in galleries} == set(expected)
    for i, gallery in enumerate(galleries):
        rank5, mean_ap, rank1 = expected[tuple(gallery.tolist())]
        assert (found.mAP[i], found.rank1[i], found.rank5[i]) == (mean_ap, rank1, rank5)
    values = np.array([expected[tuple(g.tolist())][1] for g in galleries])
    summary = found.to_dict()["mAP"]
    assert summary["mean"] == pytest.approx(values.mean())
    assert summary["std"] == pytest.approx(values.std(ddof=1))
    assert found.to_dict()["count"] == 40


def test_a_vehicle_of_one_image_is_no_query():
    features = np.array([[0.0], [1.0], [2.0]], np.float32)
    found = evaluate_draws(features, np.array([1, 1, 2]), draws=3)
    assert found.rank1.tolist() == [1.0, 1.0, 1.0]


def test_no_query_at_all_is_refused():
    with pytest.raises(DataError, match="no vehicle of the pool has two images"):
        evaluate_draws(np.eye(3, dtype=np.float32), np.array([1, 2, 3]))
    with pytest.raises(DataError, match="a draw needs images"):
        draw_galleries(np.array([], int), 1, 0)
