import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtn_core.errors import DataError
from mtn_core.metrics import distance
from mtn_core.metrics.ranking import nearest, smallest


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 5))
def test_equals_stable_argsort(seed, top, spread):
    keys = np.random.default_rng(seed).integers(0, spread + 1, (4, 30)).astype(float)
    columns, values = smallest(keys, top)
    wanted = np.argsort(keys, axis=1, kind="stable")[:, :top]
    np.testing.assert_array_equal(columns, wanted)
    np.testing.assert_array_equal(values, np.take_along_axis(keys, wanted, axis=1))


def test_nearest_gives_distances_over_blocks(monkeypatch):
    monkeypatch.setattr(distance, "BLOCK_ROWS", 3)
    monkeypatch.setattr(distance, "BLOCK_BYTES", 1)
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((10, 4)), rng.standard_normal((20, 4))
    rows, distances = nearest(query, gallery, 5)
    full = np.linalg.norm(query[:, None] - gallery, axis=2)
    np.testing.assert_array_equal(rows, np.argsort(full, axis=1)[:, :5])
    np.testing.assert_allclose(distances, np.sort(full, axis=1)[:, :5])


def test_top_must_fit():
    for top in (0, 4):
        with pytest.raises(DataError, match=f"from 1 to 3; got {top}"):
            smallest(np.zeros((1, 3)), top)
    assert smallest(np.array([[2.0, 1, 3]]), 1)[0].tolist() == [[1]]
    assert smallest(np.array([[2.0, 1, 3]]), 3)[0].tolist() == [[1, 0, 2]]
