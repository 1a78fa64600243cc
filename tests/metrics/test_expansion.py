import numpy as np
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics.expansion import center_cameras, expand
from mtn_core.metrics.retrieval import evaluate


def test_hand_worked_mean():
    query = np.array([[1.0, 0]])
    gallery = np.array([[2.0, 0], [0, 2], [-9, 0]])
    np.testing.assert_allclose(expand(query, gallery, top=1, alpha=0), [[1.5, 0]])
    # cosine 1 and 0: the second neighbour weighs nothing unless alpha is 0
    np.testing.assert_allclose(expand(query, gallery, top=2, alpha=3), [[1.5, 0]])
    np.testing.assert_allclose(expand(query, gallery, top=2, alpha=0), [[1, 2 / 3]])


def test_cosine_works_on_directions():
    query, gallery = np.array([[5.0, 0]]), np.array([[0.0, 3], [0, -1]])
    np.testing.assert_allclose(
        expand(query, gallery, top=1, alpha=0, metric="cosine"), [[0.5, 0.5]]
    )


def test_a_set_among_itself_leaves_each_out_of_its_own_neighbours():
    points = np.array([[0.0, 1], [0, 3], [9, 0]])
    expanded = expand(points, top=1, alpha=0)
    np.testing.assert_allclose(expanded[:2], [[0, 2], [0, 2]])
    copies = expand(np.ones((4, 2)), top=2)
    np.testing.assert_allclose(copies, 1)
    np.testing.assert_array_equal(expand(points[:1]), points[:1])


def test_expansion_helps_noisy_queries():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((10, 20))
    q_pids, g_pids = np.arange(10), np.repeat(np.arange(10), 20)
    query = centres + 1.2 * rng.standard_normal(centres.shape)
    gallery = centres[g_pids] + 0.8 * rng.standard_normal((200, 20))
    ids = q_pids, g_pids, np.ones(10, int), np.full(200, 2)
    plain, expanded = (evaluate(q, gallery, *ids).mAP for q in (query, expand(query, gallery)))
    assert expanded > plain + 0.02


def test_camera_shift_is_taken_away():
    rng = np.random.default_rng(1)
    centres, shift = rng.standard_normal((12, 8)), 5 * rng.standard_normal((4, 8))
    g_pids, g_camids = np.tile(np.arange(12), 3), np.repeat([1, 2, 3], 12)
    gallery = centres[g_pids] + shift[g_camids] + 0.1 * rng.standard_normal((36, 8))
    query, q_pids, q_camids = gallery[:12], g_pids[:12], g_camids[:12]
    ids = q_pids, g_pids, q_camids, g_camids
    plain = evaluate(query, gallery, *ids).mAP
    q_centred, g_centred = center_cameras(query, gallery, q_camids, g_camids)
    assert evaluate(q_centred, g_centred, *ids).mAP > plain + 0.2
    for camid in (1, 2, 3):
        np.testing.assert_allclose(g_centred[g_camids == camid].mean(axis=0), 0, atol=1e-12)


def test_unknown_and_absent_cameras_take_the_mean_of_all():
    gallery = np.array([[0.0], [2], [10]])
    query, _ = center_cameras(np.array([[1.0], [1]]), gallery, [0, 9], [3, 3, 0])
    np.testing.assert_allclose(query, [[-3], [-3]])


def test_inputs_stay_as_they_are():
    query, gallery = np.ones((2, 3)), np.arange(6.0).reshape(2, 3)
    center_cameras(query, gallery, [1, 1], [1, 1])
    expand(query, gallery)
    np.testing.assert_array_equal(query, 1)
    np.testing.assert_array_equal(gallery, np.arange(6.0).reshape(2, 3))


def test_bad_settings():
    with pytest.raises(DataError, match="got 0"):
        expand(np.ones((2, 3)), top=0)
    with pytest.raises(DataError, match="one entry per embedding"):
        center_cameras(np.ones((2, 3)), np.ones((2, 3)), [1], [1, 1])
