import re

import numpy as np
import pytest

from mtn_core.convert.multitask import convert_state_dict
from mtn_core.convert.parity import TOLERANCE, check_backbone, compare_backbones
from mtn_core.convert.reference import random_state_dict, stage_outputs
from mtn_core.errors import CheckpointError
from mtn_core.models.densenet import DenseNet121


@pytest.fixture(scope="module")
def arrays():
    return random_state_dict(seed=5)


@pytest.fixture(scope="module")
def stack():
    return np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype(np.float32)


def test_pytorch_computes_the_same(arrays, stack):
    pytest.importorskip("torch", reason="torch is not installed (extra: convert)")
    from mtn_core.convert import torch_twin

    features = torch_twin.create_features()
    torch_twin.load_backbone(features, arrays)
    theirs = torch_twin.stage_outputs(features, stack)
    ours = stage_outputs(arrays, stack)
    assert list(theirs) == list(ours)
    for name, expected in theirs.items():
        np.testing.assert_allclose(ours[name], expected, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("original", ["numpy", "torch"])
def test_converted_weights_give_the_original_features(old_torchvision_arrays, arrays, original):
    if original == "torch":
        pytest.importorskip("torch", reason="torch is not installed (extra: convert)")
    # The file's spelling is the older one, with a classifier and without counters.
    in_file = dict(old_torchvision_arrays)
    for name, array in arrays.items():
        if "tracked" not in name:
            old = re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", f"features.{name}")
            assert old in in_file
            in_file[old] = array
    table = check_backbone(in_file, convert_state_dict(in_file), original=original)
    assert table["largest_difference"].max() < TOLERANCE, table
    # Features of order one, else the tolerance says nothing.
    assert table["largest_value"].between(1, 20).all(), table


def test_wrongly_converted_weights_are_an_error_that_names_the_stage(arrays):
    conversion = convert_state_dict(arrays)
    name = "backbone.denseblock3.4.norm1.moving_mean"
    conversion.parameters[name] = conversion.parameters[name] + np.float32(0.01)
    with pytest.raises(CheckpointError, match="from denseblock3 on"):
        check_backbone(arrays, conversion)


def test_a_stage_of_another_shape_is_an_error(arrays, stack):
    with pytest.raises(ValueError, match="transition3"):
        compare_backbones(stage_outputs(arrays, stack), DenseNet121(last_stride=1), stack)


def test_random_weights_are_reproducible_and_nothing_is_left_at_its_default(arrays):
    again = random_state_dict(seed=5)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    assert not np.array_equal(random_state_dict(seed=6)["conv0.weight"], arrays["conv0.weight"])
    for name, array in arrays.items():
        if not name.endswith("num_batches_tracked"):
            assert len(np.unique(array)) > 0.9 * array.size, name
            assert array.dtype == np.float32
