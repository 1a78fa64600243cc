"""Charges for the same side and the same camera, against plain loops."""

import numpy as np
import pytest

from mtn_core.errors import DataError
from mtn_core.metrics.covisible import create_distances
from mtn_core.metrics.penalty import PenalisedDistances
from mtn_core.metrics.retrieval import evaluate_blocks


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    q_azimuths, g_azimuths = rng.uniform(0, 360, 5), rng.uniform(0, 360, 9)
    q_azimuths[1] = g_azimuths[[2, 5]] = np.nan
    q_camids, g_camids = np.array([1, 2, 0, 1, 3]), np.array([0, 1, 1, 2, 2, 3, 3, 0, 1])
    query, gallery = rng.standard_normal((5, 8)), rng.standard_normal((9, 8))
    return query, gallery, (q_azimuths, g_azimuths, q_camids, g_camids)


@pytest.mark.parametrize(("orientation", "camera"), [(0.1, 0.1), (0.3, 0), (0, 0.2), (0, 0)])
def test_against_plain_loops(given, orientation, camera):
    query, gallery, about = given
    plain = create_distances(query, gallery, "cosine")
    penalised = PenalisedDistances(plain, *about, orientation=orientation, camera=camera)
    keys = penalised.keys(0, 5)
    q_azimuths, g_azimuths, q_camids, g_camids = about
    for i in range(5):
        for j in range(9):
            cosine = query[i] @ gallery[j]
            wanted = 1 - cosine / np.linalg.norm(query[i]) / np.linalg.norm(gallery[j])
            apart = np.radians(q_azimuths[i] - g_azimuths[j])
            if not np.isnan(apart):
                wanted += orientation * (1 + np.cos(apart)) / 2
            if q_camids[i] == g_camids[j] != 0:
                wanted += camera
            assert keys[i, j] == pytest.approx(wanted, abs=1e-12)
    np.testing.assert_array_equal(penalised.keys(3, 4)[0], keys[3])
    assert penalised.to_distance(keys).dtype == np.float64


def test_the_other_side_comes_first_where_the_network_sees_no_difference():
    same = np.ones((3, 4), np.float32)
    penalised = PenalisedDistances(
        create_distances(same[:1], same, "cosine"),
        np.array([90.0]), np.array([90.0, 270, 0]), np.array([1]), np.array([2, 3, 4]),
    )  # fmt: skip
    ranked = evaluate_blocks(penalised, [7], [8, 7, 9], [1], [2, 3, 4])
    assert ranked.ap[0] == 1


def test_what_cannot_be_charged_is_refused(given):
    query, gallery, about = given
    cosine = create_distances(query, gallery, "cosine")
    with pytest.raises(DataError, match="Euclidean distances, which have no scale"):
        PenalisedDistances(create_distances(query, gallery, "euclidean"), *about)
    with pytest.raises(DataError, match=r"must not be negative; got -1, 0\.1"):
        PenalisedDistances(cosine, *about, orientation=-1)
    with pytest.raises(DataError, match=r"must not be negative; got 0\.1, nan"):
        PenalisedDistances(cosine, *about, camera=float("nan"))
    with pytest.raises(DataError, match=r"`g_azimuths` must have shape \(9,\); got \(5,\)"):
        PenalisedDistances(cosine, about[0], about[0], *about[2:])
