"""One strict, typed configuration: YAML recipes, `--set a.b=value`, the resolved file of a run."""

import logging
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, overload

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mtn_core.errors import ConfigError, nearest, nearest_key
from mtn_core.pixel_limit import HIGHEST_LIMIT, max_pixels
from mtn_core.strict_yaml import parse_yaml, read_yaml
from mtn_core.vehicle import COLOR_NAMES, NUM_KEYPOINTS, NUM_SEGMENTS, TYPE_NAMES

logger = logging.getLogger(__name__)

COVISIBLE = "covisible"  # the metric of embeddings with parts
MAX_SEED = 2**32 - 1  # NumPy's and MindSpore's
_PLAIN_WORDS = {  # pydantic's to ours
    "Input should": "must",
    "Keys should": "keys must",
    "Field required": "is missing",
}
_SHOWN_FAULTS = 5
_LONGEST_VALUE = 100


class Section(BaseModel):
    """Base of every section of every recipe: no unknown key, no nan, no true in place of a number.

    Limits are far above what is useful and below what exhausts a machine before it is noticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        values = value if isinstance(value, list | tuple) else [value]
        wrong = any(isinstance(item, bool) for item in values)
        if wrong and cls._annotation(info.field_name) is not bool:
            raise ValueError("true and false are no value of this key")
        return value

    @classmethod
    def _annotation(cls, name: str | None) -> Any:
        return cls.model_fields[name].annotation if name else None


class ModelConfig(Section):
    """The network: what it sees and how it is built.

    ``num_ids`` 0 means "not known yet"; training fills it from the training labels.

    ``pose`` says where the pose goes: ``input``, heatmaps and segments as further input channels
    and keypoints beside the pooled features, as the three switches say; ``parts``, the segments
    pool the last feature map and are no input; ``both``; ``none``, RGB alone, whatever the switches
    say.

    ``backbone`` is PAMTRI's DenseNet-121, or a ResNet-50, which comes from MindCV (the extra
    ``backbones``), plain or with IBN-a.
    """

    image_size: int = Field(256, ge=32, le=2048)
    heatmaps: bool = False
    segments: bool = False
    keypoints: bool = True
    pose: Literal["input", "parts", "both", "none"] = "input"
    attributes: bool = True
    num_ids: int = Field(0, ge=0, le=10_000_000)
    num_colors: int = Field(len(COLOR_NAMES), ge=1, le=10_000)
    num_types: int = Field(len(TYPE_NAMES), ge=1, le=10_000)
    backbone: Literal["densenet121", "resnet50", "resnet50_ibn_a"] = "densenet121"
    pooling: Literal["avg", "gem"] = "avg"
    neck: Literal["none", "bnneck"] = "none"
    last_stride: Literal[1, 2] = 2

    @field_validator("image_size")
    @classmethod
    def _multiple_of_32(cls, value: int) -> int:
        if value % 32:
            raise ValueError(
                f"must be a multiple of 32, got {value}; try {max(32, value // 32 * 32)}"
            )
        return value

    @model_validator(mode="after")
    def _maps_follow_pose(self) -> "ModelConfig":
        if self.pose == "parts" and self.heatmaps:
            raise ValueError(
                "pose parts pools by segments alone, and heatmaps is true; set model.pose=both or "
                "model.heatmaps=false"
            )
        used = {"input": {}, "none": dict.fromkeys(("heatmaps", "segments", "keypoints"), False)}
        for name, value in used.get(self.pose, {"segments": True}).items():
            object.__setattr__(self, name, value)
        return self

    @property
    def pools_parts(self) -> bool:
        """Whether segments pool the last feature map, so that embeddings have parts."""
        return self.pose in ("parts", "both")

    @property
    def stem_channels(self) -> int:
        """Channels of the image stack that are the backbone's input."""
        return 3 if self.pose == "parts" else self.in_channels

    @property
    def in_channels(self) -> int:
        """Channels of the image stack: 3 RGB, then 36 heatmaps, then 13 segments."""
        return 3 + NUM_KEYPOINTS * self.heatmaps + NUM_SEGMENTS * self.segments


class PicturesConfig(Section):
    """What the ``data`` sections of all networks have in common.

    A picture of more than ``max_pixels`` pixels is refused before it is decoded.
    """

    max_pixels: int = Field(default_factory=max_pixels, ge=1, le=HIGHEST_LIMIT)


class DataConfig(PicturesConfig):
    """Batches of ``ids_per_batch`` x ``images_per_id`` and what happens to a sample.

    ``flip``, ``translation`` and ``erasing`` are probabilities; ``color_jitter`` is a strength.
    ``val_ids`` holds vehicles out of training, a share of them or those of a file: ``best`` is
    chosen on them instead of on the test split.
    """

    ids_per_batch: int = Field(8, ge=2, le=4096)
    images_per_id: int = Field(4, ge=2, le=256)
    num_workers: int | None = Field(None, ge=1, le=4096)
    flip: float = Field(0.5, ge=0, le=1)
    translation: float = Field(0.5, ge=0, le=1)
    erasing: float = Field(0.0, ge=0, le=1)
    color_jitter: float = Field(0.0, ge=0, le=1)
    weights: tuple[float, ...] | None = None
    val_ids: Annotated[float, Field(gt=0, lt=1)] | str | None = None

    @property
    def batch_size(self) -> int:
        """Images in a training batch."""
        return self.ids_per_batch * self.images_per_id


class LossConfig(Section):
    """Weighted sum of identity, triplet, colour and type loss.

    Circle, supervised contrastive and centre loss are off unless they have a weight.
    ``part_triplet_weight`` and ``part_id_weight`` count where ``model.pose`` has parts.
    """

    id_weight: float = Field(1.0, ge=0)
    triplet_weight: float = Field(1.0, ge=0)
    color_weight: float = Field(0.125, ge=0)
    type_weight: float = Field(0.125, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    triplet: Literal["margin", "soft"] = "margin"
    margin: float = Field(0.3, ge=0)
    circle_weight: float = Field(0.0, ge=0)
    circle_margin: float = Field(0.25, ge=0, le=1)
    circle_scale: float = Field(64.0, gt=0, le=10_000)
    contrastive_weight: float = Field(0.0, ge=0)
    contrastive_temperature: float = Field(0.1, ge=0.001)
    center_weight: float = Field(0.0, ge=0)
    part_triplet_weight: float = Field(1.0, ge=0)
    part_id_weight: float = Field(1.0, ge=0)
    distance: Literal["euclidean", "cosine"] = "euclidean"


class OptimConfig(Section):
    """Adam with a step or cosine schedule; rates are per step, epochs count from 0."""

    learning_rate: float = Field(3e-4, gt=0)
    learning_rate_ascend: float | None = Field(None, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    decay_norm_and_bias: bool = False
    amsgrad: bool = False
    schedule: Literal["constant", "step", "cosine"] = "constant"
    step_epochs: tuple[int, ...] = ()
    gamma: float = Field(0.1, gt=0, le=1)
    min_rate_factor: float = Field(0.01, ge=0, le=1)
    warmup_epochs: float = Field(0.0, ge=0)
    freeze_epochs: int = Field(0, ge=0)
    clip_norm: float | None = Field(None, gt=0)
    ema_decay: float | None = Field(None, gt=0, lt=1)

    @field_validator("step_epochs")
    @classmethod
    def _steps_ascend(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("epochs must ascend")
        return value


class TrainConfig(Section):
    """Length of the training and what is kept of it."""

    epochs: int = Field(10, ge=1, le=10_000)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    amp_level: Literal["O0", "O2", "O3"] = "O0"
    eval_every: int = Field(1, ge=0)
    keep_checkpoints: int = Field(2, ge=1, le=10_000)
    save_every_steps: int = Field(0, ge=0)


class EvalConfig(Section):
    """How embeddings are made and compared."""

    batch_size: int = Field(32, ge=1, le=4096)
    metric: Literal["euclidean", "cosine", "covisible"] = "euclidean"
    max_rank: int = Field(50, ge=1, le=100_000)


class Recipe(Section):
    """What the recipes of every network have in common.

    Attributes:
        recipe_family: What the names of its recipes begin with; ``command`` trains by them.
    """

    recipe_family: ClassVar[str]
    command: ClassVar[str]

    recipe: str
    model: Section
    data: PicturesConfig
    loss: Section
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    eval: Section


class Config(Recipe):
    """Everything that a training or evaluation run depends on, but for where the data lies."""

    recipe_family: ClassVar[str] = ""
    command: ClassVar[str] = "train"

    recipe: str = "seed"
    model: ModelConfig = ModelConfig()
    data: DataConfig = Field(default_factory=DataConfig)  # its defaults look at the environment
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @model_validator(mode="after")
    def _parts_are_compared(self) -> "Config":
        # A network is trained and chosen by the distance that its parts are for.
        if self.model.pools_parts and self.eval.metric != COVISIBLE:
            object.__setattr__(self, "eval", self.eval.model_copy(update={"metric": COVISIBLE}))
        return self


# Recipes of another network than MultiTaskNet begin with its name: pose.yaml, pose_demo.yaml.
_COMMANDS = {"": Config.command, "pose": "train-pose"}
Schema = TypeVar("Schema", bound=Recipe)


def recipe_names(schema: type[Recipe] = Config) -> list[str]:
    """Names of the recipes for ``schema`` that ship with the package, sorted."""
    return [name for name in _all_recipes() if _family(name) == schema.recipe_family]


def _all_recipes() -> list[str]:
    folder = resources.files("mtn_core") / "recipes"
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".yaml"))


def _family(name: str) -> str:
    first = name.partition("_")[0]
    return first if first in _COMMANDS else ""


@overload
def load_config(recipe: str = ..., overrides: Mapping[str, Any] | None = ...) -> Config: ...
@overload
def load_config(
    recipe: str, overrides: Mapping[str, Any] | None, schema: type[Schema]
) -> Schema: ...
def load_config(
    recipe: str = "seed",
    overrides: Mapping[str, Any] | None = None,
    schema: type[Recipe] = Config,
) -> Recipe:
    """Load a shipped recipe, or a YAML file, and apply dotted overrides.

    Args:
        recipe: A name from :func:`recipe_names`, or the path of a ``.yaml`` file.
        overrides: ``{"optim.learning_rate": 1e-3}``.
        schema: What the values must be; PoseEstNet has its own.

    Raises:
        ConfigError: Unknown recipe or key, or a value out of range.
    """
    if recipe.lower().endswith((".yaml", ".yml")):
        name = Path(recipe).stem
        values = read_yaml(recipe, f"recipe file {recipe}")
    elif recipe in recipe_names(schema):
        name = recipe
        text = (resources.files("mtn_core") / "recipes" / f"{recipe}.yaml").read_text("utf-8")
        values = parse_yaml(text, f"recipe {recipe}")
    elif recipe in _all_recipes():
        raise ConfigError(
            f"recipe {recipe!r} is one of `mtn {_COMMANDS[_family(recipe)]}`; those of "
            f"`mtn {schema.command}` are {', '.join(recipe_names(schema))}"
        )
    else:
        raise ConfigError(
            f"unknown recipe {recipe!r}{_did_you_mean(nearest(recipe, recipe_names(schema)))}; "
            f"the recipes are {', '.join(recipe_names(schema))}, or give the path of a .yaml file"
        )
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(
            f"recipe {recipe} must hold a mapping of sections, got {type(values).__name__}"
        )
    values.setdefault("recipe", name)
    validate(schema, values, f"recipe {recipe}")  # before the overrides, to tell whose fault it is
    return config_from_dict(values, overrides, schema)


@overload
def config_from_dict(
    values: Mapping[str, Any], overrides: Mapping[str, Any] | None = ...
) -> Config: ...
@overload
def config_from_dict(
    values: Mapping[str, Any], overrides: Mapping[str, Any] | None, schema: type[Schema]
) -> Schema: ...
def config_from_dict(
    values: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    schema: type[Recipe] = Config,
) -> Recipe:
    """Validate nested ``values``, after ``overrides`` with dotted keys were put into them."""
    merged = _copy(values)
    for dotted, value in (overrides or {}).items():
        _set(merged, dotted, value)
    return validate(schema, merged)


Model = TypeVar("Model", bound=BaseModel)


def validate(schema: type[Model], values: Any, source: object = None) -> Model:
    """Check values against a schema.

    Args:
        schema: What they must be.
        values: Plain values, such as from YAML or JSON.
        source: The file that they are from; named in the error.

    Raises:
        ConfigError: What is wrong, all of it in one line.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        where = "" if source is None else f"{source}: "
        raise ConfigError(where + _explain(error, schema)) from error


def with_overrides(config: Schema, overrides: Mapping[str, Any]) -> Schema:
    """A copy of ``config`` with dotted keys replaced, validated again."""
    return config_from_dict(config.model_dump(), overrides, type(config))


def parse_overrides(
    assignments: Iterable[str], flags: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Parse ``a.b=value`` strings of the command line; values are YAML.

    Args:
        assignments: The strings.
        flags: Dotted keys that flags of their own have set.

    Raises:
        ConfigError: Not such a string, or another value than that of a flag.
    """
    flags = flags or {}
    overrides = dict(flags)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set expects key=value such as optim.learning_rate=1e-3, got {assignment!r}"
            )
        key = key.strip()
        parsed = _number(parse_yaml(value, f"--set {_shorten(assignment)}"))
        if key in overrides and overrides[key] != parsed:
            twice = f"{key} is given twice, as {overrides[key]!r} and as {parsed!r}"
            if key in flags:
                raise ConfigError(f"{twice}; give it once")
            logger.warning("%s; the last is taken", twice)
        overrides[key] = parsed
    return overrides


def to_yaml(config: BaseModel, **extra: Any) -> str:
    """YAML text of the resolved configuration, with ``extra`` keys (data root, device) in front."""
    return yaml.safe_dump({**extra, **config.model_dump(mode="json")}, sort_keys=False)


def _number(value: Any) -> Any:
    # YAML 1.1 reads 1e-3 as a string, people do not.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{dotted}: {parent} is a value, not a section")
    values[last] = value


def known_keys(schema: type[BaseModel]) -> list[str]:
    """The dotted keys of a recipe, and the names of its sections."""
    keys = []
    for name, field in schema.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += [f"{name}.{key}" for key in section.model_fields]
        keys.append(name)
    return keys


def _did_you_mean(close: str | None) -> str:
    return f"; did you mean {close!r}?" if close else ""


def _explain(error: ValidationError, schema: type[BaseModel]) -> str:
    faults = []
    for item in error.errors():
        key = _shorten(".".join(str(part) for part in item["loc"]))
        if item["type"] == "extra_forbidden":
            meant = _did_you_mean(nearest_key(key, known_keys(schema)))
            faults.append(f"unknown configuration key {key!r}{meant}")
        elif item["type"] == "missing":
            faults.append(f"configuration key {key!r} is missing")
        else:
            faults.append(f"configuration key {key!r}: {_in_plain_words(item)}")
    shown = "; ".join(faults[:_SHOWN_FAULTS])
    rest = len(faults) - _SHOWN_FAULTS
    return f"{shown}; and {rest} more such faults" if rest > 0 else shown


def _in_plain_words(item: Mapping[str, Any]) -> str:
    text = item["msg"].removeprefix("Value error, ")
    for hint in (", unable to", ", got a number"):
        text = text.partition(hint)[0]
    if item["type"] in ("model_type", "dict_type"):
        text = "must be a section, keys with their values"
    for theirs, ours in _PLAIN_WORDS.items():
        text = text.replace(theirs, ours)
    return text if ", got " in text else f"{text}; got {_shorten(repr(item['input']))}"


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 20]}...{text[-12:]}"
