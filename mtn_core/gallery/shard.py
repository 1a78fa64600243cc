"""Which part of the work is this process's: by hand, of msrun's ranks, of a Slurm array."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mtn_core.errors import ConfigError

Item = TypeVar("Item")
_MOST = 1_000_000


@dataclass(frozen=True)
class Shard:
    """Part ``index`` (from 0) of ``count``."""

    index: int = 0
    count: int = 1

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``count``-th item: together the shards have each once."""
        return items[self.index :: self.count]

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def parse_shard(text: str) -> Shard:
    """``2/8``, the second of eight.

    Raises:
        ConfigError: Something else.
    """
    found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text, re.ASCII)
    index, count = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= index <= count <= _MOST:
        raise ConfigError(f"--shard must be I/N with I from 1 to N, such as 2/8; got {text!r}")
    return Shard(index - 1, count)


def shard_of(environment: Mapping[str, str]) -> Shard:
    """The part that msrun's rank and Slurm's array task say; the whole where neither does.

    Raises:
        ConfigError: Variables that are no numbers, or do not fit each other.
    """
    shard = Shard()
    if "SLURM_ARRAY_TASK_ID" in environment:
        first, step = (
            _number(environment, name, default)
            for name, default in (("SLURM_ARRAY_TASK_MIN", 0), ("SLURM_ARRAY_TASK_STEP", 1))
        )
        last = _number(environment, "SLURM_ARRAY_TASK_MAX")
        task = _number(environment, "SLURM_ARRAY_TASK_ID")
        count = _number(environment, "SLURM_ARRAY_TASK_COUNT")
        index = (task - first) // max(step, 1)
        if last - first != (count - 1) * step or not 0 <= index < count:
            raise ConfigError(
                f"the Slurm array's tasks {first} to {last} in steps of {step} are not its {count} "
                "tasks: a list with gaps has no parts; number them through (--array=1-8), or give "
                "--shard I/N"
            )
        shard = Shard(index, count)
    if "RANK_ID" in environment and "RANK_SIZE" in environment:
        rank, size = (_number(environment, name) for name in ("RANK_ID", "RANK_SIZE"))
        if not 0 <= rank < size:
            raise ConfigError(f"RANK_ID must be 0 to RANK_SIZE - 1; got {rank} of {size}")
        shard = Shard(shard.index * size + rank, shard.count * size)
    return shard


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise ConfigError(f"{name} must be a whole number; got {text!r}")
    return int(text)
