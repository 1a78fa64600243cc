"""What is searched: keys of a recipe with the values that they may take, from a YAML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import model_validator

from mtn_core.config import Config, Section, config_from_dict, known_keys, validate, with_overrides
from mtn_core.errors import ConfigError, nearest, nearest_key
from mtn_core.strict_yaml import read_yaml

# What decides how a trial is judged, and with what chance, is the same for all.
_FIXED = ("data.val_ids", "data.max_pixels", "train.seed", "train.eval_every", "recipe")
_FIELDS = ("low", "high", "log", "step")


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; whole ones where both are.

    ``log`` draws them evenly by their logarithm; ``step`` takes multiples of it from ``low`` on.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole."""
        return all(isinstance(v, int) for v in (self.low, self.high, self.step or 1))

    @model_validator(mode="after")
    def _makes_sense(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low must be below high; got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"with log, low must be above 0; got {self.low}")
        if self.step is not None and (self.log or self.step <= 0):
            raise ValueError("step must be above 0, and does not go with log")
        return self


Choices = tuple[Any, ...]
Space = Mapping[str, Range | Choices]


def read_space(path: Path, config: Config) -> Space:
    """Read a space file: dotted keys, each with a list of values or a mapping of a range.

    Args:
        path: The file.
        config: What the values are put into: each must be possible there.

    Raises:
        ConfigError: Not such a file, a key that recipes have not, or a value out of their limits.
    """
    values = read_yaml(path, f"space file {path}")
    if not isinstance(values, dict) or not values:
        raise ConfigError(
            f"space file {path} must hold keys such as `optim.learning_rate: {{low: 1e-4, high: "
            "1e-2, log: true}` or `loss.triplet: [margin, soft]`"
        )
    space = {str(key): _read_entry(str(key), value, path) for key, value in values.items()}
    for key, entry in space.items():
        ends = (entry.low, entry.high) if isinstance(entry, Range) else entry
        for value in ends:
            try:
                with_overrides(config, {key: value})
            except ConfigError as error:
                raise ConfigError(f"space file {path}: {error}") from error
    return space


def _read_entry(key: str, value: Any, path: Path) -> Range | Choices:
    where = f"space file {path}, {key}"
    leaves = [known for known in known_keys(Config) if "." in known]
    if key in _FIXED:
        raise ConfigError(f"{where}: this key is the same for all trials; set it by a flag")
    if key not in leaves:
        close = nearest_key(key, leaves)
        hint = f"; did you mean {close!r}?" if close else ""
        raise ConfigError(f"space file {path}: unknown key {key!r}{hint}")
    if isinstance(value, list):
        choices = tuple(_number(item) for item in value)
        if len(choices) < 2 or any(isinstance(item, dict | list) for item in choices):
            raise ConfigError(f"{where}: a list needs two plain values or more; got {value!r}")
        if len({repr(item) for item in choices}) < len(choices):
            raise ConfigError(f"{where}: a value stands twice in {value!r}")
        return choices
    if not isinstance(value, dict):
        raise ConfigError(
            f"{where}: expected a list of values, or {{low: .., high: ..}}; got {value!r} (one "
            "value for all trials goes to --set)"
        )
    for name in value:
        if name not in _FIELDS:
            close = nearest(str(name), _FIELDS)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ConfigError(f"{where}: unknown field {name!r} of a range{hint}")
    return validate(Range, {k: _number(v) for k, v in value.items()}, where)


def _number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as a string
        except ValueError:
            return value
    return value


def to_plain(space: Space) -> dict[str, Any]:
    """The space as plain values, to be kept with a study and compared."""
    return {
        key: entry.model_dump() if isinstance(entry, Range) else list(entry)
        for key, entry in space.items()
    }


def trial_config(config: Config, values: Mapping[str, Any]) -> Config:
    """The recipe of a trial.

    Raises:
        ConfigError: Values that do not go together.
    """
    return config_from_dict(config.model_dump(), dict(values))
