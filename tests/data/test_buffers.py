import numpy as np

from mtn_core.data.buffers import RecycledArrays

SPECIFICATION = {"a": ((2, 3), np.uint8), "b": ((4,), np.float32)}


def test_arrays_have_their_shapes_and_types():
    arrays = RecycledArrays(SPECIFICATION).take()
    assert {name: (a.shape, a.dtype) for name, a in arrays.items()} == SPECIFICATION


def test_a_set_is_used_again_when_nobody_holds_it():
    recycled = RecycledArrays(SPECIFICATION)
    first = recycled.take()
    address = first["a"].ctypes.data
    del first
    assert recycled.take()["a"].ctypes.data == address
    assert len(recycled) == 1


def test_one_held_array_or_view_keeps_the_whole_set():
    recycled = RecycledArrays(SPECIFICATION)
    first = recycled.take()
    kept = first["b"][1:]
    del first
    second = recycled.take()
    assert not np.shares_memory(second["b"], kept)
    assert len(recycled) == 2
    del kept
    recycled.take()
    assert len(recycled) == 2


def test_clearing_leaves_arrays_with_their_users():
    recycled = RecycledArrays(SPECIFICATION)
    arrays = recycled.take()
    arrays["a"][:] = 7
    recycled.clear()
    assert len(recycled) == 0
    assert not np.shares_memory(recycled.take()["a"], arrays["a"])
    assert (arrays["a"] == 7).all()
