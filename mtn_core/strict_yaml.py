"""YAML that says one thing: no key twice, no aliases, no tags, of bounded size."""

from pathlib import Path
from typing import Any

import yaml

from mtn_core.errors import ConfigError, first_line
from mtn_core.files import why_no_file

MAX_BYTES = 1_000_000
_MAX_DEPTH = 32


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, less what makes a file grow or say two things."""

    depth = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            # An alias can name its own parent, and a kilobyte of them holds 2**26 values.
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                problem="aliases (*) are not read", problem_mark=event.start_mark
            )
        event = self.peek_event()
        if event.tag is not None:
            # A tag names a type: what a value is not, such as !!bool x, ends in many errors.
            raise yaml.MarkedYAMLError(
                problem="tags (!) are not read", problem_mark=event.start_mark
            )
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {name!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: object) -> Any:
    """Read YAML text.

    Args:
        text: The text.
        source: What an error calls it.

    Raises:
        ConfigError: Not YAML, a key twice, an alias, a tag, or too large.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{source} has {len(text)} characters; at most {MAX_BYTES} are read")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigError(f"{source} is not valid YAML: {error.problem}{where}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not valid YAML: {first_line(error)}") from error


def read_yaml(path: str | Path, source: object = "") -> Any:
    """Read a YAML file; see :func:`parse_yaml`.

    Raises:
        ConfigError: Absent, not UTF-8, or not usable YAML.
    """
    path = Path(path)
    source = source or path
    if path.is_dir():
        raise ConfigError(f"{source} is a folder; a .yaml file is expected")
    if not path.is_file():
        raise ConfigError(f"{source} {why_no_file(path)}")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{source} has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{source} is not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    except OSError as error:
        raise ConfigError(f"{source} cannot be read ({error.strerror})") from error
    return parse_yaml(text, source)
