"""Ids and cameras as people have them, turned into the numbers of the layout; roles of rows."""

import re
from collections.abc import Sequence

import pandas as pd

from mtn_core.data.labels import ID_LIMIT
from mtn_core.data.layout import SPLITS
from mtn_core.data.prepare.datasets.common import color_id_of, type_id_of
from mtn_core.data.roles import DISTRACTOR, JUNK, ROLES
from mtn_core.errors import DataError, first_offenders
from mtn_core.vehicle import COLOR_NAMES, TYPE_NAMES, UNKNOWN

_DIGITS = re.compile(r"[0-9]+")
_NUMBERED = re.compile(r"((?:[^\W\d_][^0-9]*)?)([0-9]+)")
UNKNOWN_TEXTS = frozenset({"", "-1", "unknown", "none", "nan"})
_ALIASES = {"gallery": "test", "training": "train", "probe": "query"}


def number_names(table: pd.DataFrame, junk: Sequence[str], distractors: Sequence[str]) -> list[str]:
    """Put numbers and classes in place of texts, and names beside them.

    Vehicle ids that are all numbers stay; others are numbered from 1 in sorted order. A camera such
    as ``cam3`` is number 3 where all are called so. Colours and types are numbers, or VeRi's names.
    Junk and distractors get vehicle ids of their own, one an image.

    Args:
        table: Texts ``name, pid`` and any further field; gets ``pid_name`` and ``camera_name``.
        junk: Vehicle ids that mean junk.
        distractors: Vehicle ids that mean a distractor.

    Returns:
        What a person should know.

    Raises:
        DataError: Something that cannot be a class, or a role that there is not.
    """
    notes: list[str] = []
    for column in ("camid", "color_id", "type_id", "track", "role"):
        values = table[column] if column in table else pd.Series("", index=table.index)
        table[column] = values.fillna("").astype(str)
    _set_roles(table, junk, distractors, notes)
    table["pid_name"] = table["pid"]
    plain = table["role"] == ""
    numbers = _number_ids(table.loc[plain, "pid"], notes)
    above = max(numbers.values(), default=0) + 1
    others = {name: above + i for i, name in enumerate(table.loc[~plain, "name"].unique())}
    table["pid"] = [
        numbers[pid] if role == "" else others[name]
        for name, pid, role in zip(table["name"], table["pid"], table["role"], strict=True)
    ]
    table["camera_name"] = table["camid"]
    cameras = _number_cameras(table["camid"], notes)
    table["camid"] = table["camid"].map(cameras).astype("int64")
    for column, of, names in (
        ("color_id", color_id_of, COLOR_NAMES),
        ("type_id", type_id_of, TYPE_NAMES),
    ):
        table[column] = _classes(table, column, of, names)
    return notes


def splits_of(text: str) -> list[str]:
    """Splits that a row names: ``query+test`` are two, ``gallery`` is the layout's test.

    Raises:
        DataError: Something else.
    """
    words = [w for w in re.split(r"[+,;|\s]+", text.strip().lower()) if w]
    found = [_ALIASES.get(word, word) for word in words]
    if not found or not set(found) <= set(SPLITS):
        raise DataError(
            f"split must be train, query or test (the gallery), or query+test for both; got "
            f"{text!r}"
        )
    if "train" in found and len(set(found)) > 1:
        raise DataError(f"an image cannot be trained on and tested with; got split {text!r}")
    return sorted(set(found))


def _set_roles(
    table: pd.DataFrame, junk: Sequence[str], distractors: Sequence[str], notes: list[str]
) -> None:
    table["role"] = table["role"].str.lower()
    wrong = sorted(set(table["role"]) - {"", *ROLES})
    if wrong:
        raise DataError(
            f"role must be {' or '.join(ROLES)}, or empty; got {first_offenders(wrong)}"
        )
    for ids, role, what in (
        (junk, JUNK, "in no ranking"),
        (distractors, DISTRACTOR, "in the gallery, never a match"),
    ):
        mine = table["pid"].isin(ids) & (table["role"] == "")
        table.loc[mine, "role"] = role
        if mine.any():
            names = first_offenders(sorted(set(table.loc[mine, "pid"])))
            notes.append(
                f"{int(mine.sum())} images of id {names} are taken for {role} ({what}), as in "
                f"Market-1501; --{role}_ids changes that"
            )


def _number_ids(pids: pd.Series, notes: list[str]) -> dict[str, int]:
    texts = sorted(set(pids))
    if all(_DIGITS.fullmatch(t) and t.isascii() and len(t.lstrip("0")) < 11 for t in texts):
        numbers = {text: int(text) for text in texts}
        if max(numbers.values(), default=0) < ID_LIMIT - 1 and _one_to_one(numbers):
            return numbers
    numbers = {text: number for number, text in enumerate(texts, start=1)}
    if texts:
        shown = ", ".join(f"{t[:40]} is {numbers[t]}" for t in texts[:3])
        notes.append(f"vehicle ids are numbered from 1, names.csv has the names: {shown}, ...")
    return numbers


def _number_cameras(cameras: pd.Series, notes: list[str]) -> dict[str, int]:
    unknown = {text for text in set(cameras) if text.lower() in UNKNOWN_TEXTS}
    texts = sorted(set(cameras) - unknown)
    negative = [text for text in texts if text.startswith("-") and _DIGITS.fullmatch(text[1:])]
    if negative:
        raise DataError(f"camid must be 0 or more, or -1 for unknown: {first_offenders(negative)}")
    matches = [_NUMBERED.fullmatch(text) for text in texts]
    prefixes = {m.group(1).lower() for m in matches if m}
    numbers = {t: int(m.group(2)) for t, m in zip(texts, matches, strict=True) if m}
    numbered = len(numbers) == len(texts) and len(prefixes) <= 1
    small = max(numbers.values(), default=0) < ID_LIMIT
    plain = prefixes <= {""}  # `0` alone means that the camera is unknown
    if not (numbered and small and _one_to_one(numbers) and (plain or 0 not in numbers.values())):
        numbers = {text: number for number, text in enumerate(texts, start=1)}
        shown = ", ".join(f"{t[:40]} is {numbers[t]}" for t in texts[:3])
        notes.append(f"cameras are numbered from 1, names.csv has the names: {shown}, ...")
    return numbers | dict.fromkeys(unknown, 0)


def _one_to_one(numbers: dict[str, int]) -> bool:
    return len(set(numbers.values())) == len(numbers)


def _classes(table: pd.DataFrame, column: str, of, names: Sequence[str]) -> list[int]:
    values, bad = [], []
    for name, text in zip(table["name"], table[column], strict=True):
        if text.lower() in UNKNOWN_TEXTS:
            values.append(UNKNOWN)
            continue
        number = int(text[:20]) if _DIGITS.fullmatch(text) and text.isascii() else of(text)
        if not 1 <= number <= len(names):
            bad.append(f"{name} has {text[:40]!r}")
        values.append(number)
    if bad:
        raise DataError(
            f"{column} must be 1 to {len(names)}, a name ({', '.join(names)}), or empty: "
            f"{first_offenders(bad)}"
        )
    return values
