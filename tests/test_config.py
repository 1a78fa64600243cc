import pytest
import yaml
from pydantic import ValidationError

from mtn_core.config import (
    Config,
    ModelConfig,
    config_from_dict,
    load_config,
    parse_overrides,
    recipe_names,
    to_yaml,
    with_overrides,
)
from mtn_core.errors import ConfigError


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads_and_survives_its_own_file(name):
    config = load_config(name)
    assert config.recipe == name
    assert config_from_dict(yaml.safe_load(to_yaml(config))) == config


def test_seed_recipe_is_the_documents():
    config = load_config("seed")
    assert config.model.image_size == 256
    assert config.data.batch_size == 32
    assert config.train.epochs == 10
    assert config.optim.learning_rate == 3e-4
    assert config.optim.learning_rate_ascend == 5e-4
    assert config.optim.weight_decay == 5e-4
    assert config.loss.margin == 0.3
    weights = config.loss
    assert (weights.id_weight, weights.triplet_weight) == (1, 1)
    assert (weights.color_weight, weights.type_weight) == (0.125, 0.125)


def test_seed_smoke_and_demo_ship_with_the_package():
    assert {"seed", "smoke", "demo"} <= set(recipe_names())


@pytest.mark.parametrize(
    "maps, channels",
    [((False, False), 3), ((True, False), 39), ((False, True), 16), ((True, True), 52)],
)
def test_input_channels(maps, channels):
    assert ModelConfig(heatmaps=maps[0], segments=maps[1]).in_channels == channels


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown recipe 'demoo'; did you mean 'demo'.*seed"):
        load_config("demoo")


@pytest.mark.parametrize(
    "key, nearest",
    [
        ("optim.learning_rat", "optim.learning_rate"),
        ("train.epoch", "train.epochs"),
        ("modle.heatmaps", "model"),
        ("lossy", "loss"),
    ],
)
def test_unknown_key_names_the_nearest(key, nearest):
    with pytest.raises(ConfigError, match=f"unknown configuration key.*did you mean '{nearest}'"):
        load_config("seed", {key: 1})


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("model.image_size", 100, "multiple of 32, got 100; try 96"),
        ("model.image_size", 0, "greater than or equal to 32"),
        ("model.pooling", "max", "'avg' or 'gem'"),
        ("model.last_stride", 3, "1 or 2"),
        ("optim.learning_rate", -1, "greater than 0"),
        ("optim.learning_rate", float("inf"), "finite"),
        ("optim.learning_rate", float("nan"), "finite"),
        ("optim.learning_rate", "fast", "valid number"),
        ("optim.step_epochs", [8, 4], "must ascend"),
        ("optim.ema_decay", 1, "less than 1"),
        ("loss.label_smoothing", 1.0, "less than 1"),
        ("data.ids_per_batch", 1, "greater than or equal to 2"),
        ("data.flip", 1.5, "less than or equal to 1"),
        ("train.epochs", 2.5, "integer"),
        ("train.epochs", True, "no value of this key"),
        ("train.amp_level", "O1", "'O0', 'O2' or 'O3'"),
        ("model.heatmaps", "maybe", "boolean"),
    ],
)
def test_values_out_of_range_name_the_key_and_what_came(key, value, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_config("seed", {key: value})
    assert f"configuration key {key!r}" in str(error.value)
    assert repr(value) in str(error.value)


def test_several_mistakes_are_reported_together():
    with pytest.raises(ConfigError) as error:
        load_config("seed", {"train.epochs": 0, "loss.margin": -1})
    text = str(error.value)
    assert "'train.epochs'" in text and "'loss.margin'" in text and "\n" not in text


def test_a_section_in_place_of_a_value_and_the_other_way_round():
    with pytest.raises(ConfigError, match="train is a value"):
        config_from_dict({"train": 3}, {"train.epochs": 2})
    with pytest.raises(ConfigError, match="'train'"):
        config_from_dict({"train": 3})


def test_overrides_go_over_the_recipe_and_leave_it_alone():
    config = load_config("seed", {"optim.learning_rate": 1e-3, "model.segments": True})
    assert config.optim.learning_rate == 1e-3
    assert config.model.segments
    assert config.optim.weight_decay == 5e-4
    assert load_config("seed").optim.learning_rate == 3e-4
    changed = with_overrides(config, {"train.epochs": 3})
    assert (changed.train.epochs, config.train.epochs) == (3, 10)
    assert changed.optim == config.optim


def test_configuration_cannot_be_changed_in_place():
    with pytest.raises(ValidationError):
        load_config("seed").train.epochs = 3


@pytest.mark.parametrize(
    "text, value",
    [
        ("optim.learning_rate=1e-3", 1e-3),
        ("train.epochs=3", 3),
        ("model.segments=true", True),
        ("optim.step_epochs=[2, 4]", [2, 4]),
        ("optim.clip_norm=null", None),
        ("model.pooling=gem", "gem"),
        (" model.pooling =gem", "gem"),
    ],
)
def test_assignments_of_the_command_line(text, value):
    ((key, got),) = parse_overrides([text]).items()
    assert key == text.partition("=")[0].strip()
    assert got == value
    assert type(got) is type(value)
    load_config("seed", {key: got})


@pytest.mark.parametrize("text", ["epochs", "=3", ""])
def test_an_assignment_without_a_key_or_a_value(text):
    with pytest.raises(ConfigError, match="expects key=value"):
        parse_overrides([text])


def test_an_assignment_that_is_not_yaml():
    with pytest.raises(ConfigError, match=r"--set optim\.step_epochs=\[1 is not valid YAML"):
        parse_overrides(["optim.step_epochs=[1"])


def test_recipe_files_of_the_user(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("optim:\n  learning_rate: 2.0e-4\n  step_epochs: [3, 6]\n", encoding="utf-8")
    config = load_config(str(path))
    assert config.recipe == "mine"
    assert config.optim.step_epochs == (3, 6)
    assert config.model == Config().model
    path.write_text("", encoding="utf-8")
    assert load_config(str(path)) == Config(recipe="mine")


@pytest.mark.parametrize(
    "text, message",
    [("optim: [", "not valid YAML"), ("- 1", "mapping"), ("optim:\n  lr: 1\n", "optim.lr")],
)
def test_broken_recipe_files(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(str(path))


def test_a_recipe_file_that_is_not_there():
    with pytest.raises(ConfigError, match=r"absent\.yaml does not exist"):
        load_config("absent.yaml")


def test_resolved_file_can_carry_more_in_front():
    text = to_yaml(load_config("smoke"), root="data")
    assert text.startswith("root: data\n")
    assert "amp_level" in text
