"""Both networks' recipes refuse the same kinds of values."""

import pytest

from mtn_core.config import Config, load_config, parse_overrides
from mtn_core.errors import ConfigError
from mtn_core.pose.config import PoseConfig

BOTH = [
    "train.epochs=true",
    "train.seed=true",
    "train.amp_level=true",
    "data.num_workers=true",
    "eval.batch_size=false",
    "model.image_size=true",
    "data.weights=true",
    "data.weights=[1, .inf]",
    "data.weights=[.nan]",
    "data.flip=nan",
    "optim.learning_rate=inf",
    "optim.learning_rate=nan",
    "optim.weight_decay=inf",
    "optim.clip_norm=inf",
    "train.seed=1099511627776",
    "train.seed=-1",
    "train.epochs=1000000000",
    "train.epochs=2.5",
    "data.num_workers=1000000",
    "eval.batch_size=100000",
    "model.image_size=1048576",
    "model.image_size=100",
    "optim.step_epochs=[3, 2]",
    "model.imagesize=64",
    "model=true",
]


def refuse(recipe, schema, assignment):
    key = assignment.partition("=")[0]
    with pytest.raises(ConfigError, match=f"configuration key '{key}"):
        load_config(recipe, parse_overrides([assignment]), schema)


@pytest.mark.parametrize("assignment", BOTH)
@pytest.mark.parametrize("recipe, schema", [("smoke", Config), ("pose_smoke", PoseConfig)])
def test_both_recipes_refuse(recipe, schema, assignment):
    refuse(recipe, schema, assignment)


@pytest.mark.parametrize(
    "assignment",
    [
        "data.batch_size=true",
        "data.batch_size=100000",
        "data.scale=nan",
        "data.rotation=inf",
        "loss.sigma=inf",
        "loss.sigma=nan",
        "loss.sigma=true",
        "loss.hidden_weight=true",
        "model.width=100000",
        "model.blocks=1000",
        "model.num_keypoints=1000000",
        "eval.thresholds=[0.1, .inf]",
    ],
)
def test_what_only_posenet_has_is_held_to_the_same_rules(assignment):
    refuse("pose_smoke", PoseConfig, assignment)


@pytest.mark.parametrize("recipe, schema", [("smoke", Config), ("pose_smoke", PoseConfig)])
def test_true_where_it_belongs_and_the_largest_values_pass(recipe, schema):
    settings = ["train.seed=4294967295", "train.epochs=10000", "model.image_size=2048"]
    config = load_config(recipe, parse_overrides([*settings, "optim.amsgrad=true"]), schema)
    assert config.optim.amsgrad is True
    assert (config.train.seed, config.model.image_size) == (2**32 - 1, 2048)
