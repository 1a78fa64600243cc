"""What is said about the crops of a folder: by their names, or by a CSV."""

import csv as csv_module
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mtn_core.data.layout import IMAGE_SUFFIXES
from mtn_core.errors import ConfigError, DataError, first_line, first_offenders
from mtn_core.files import why_no_file

FIELDS = ("pid", "camid", "color_id", "type_id", "split", "track", "role")
_TOKEN = re.compile(r"\{(\w+)\}|\*\*|\*")
# A number, or a piece without separators, is tried before anything longer: `{pid}_*` ends at the
# first underscore, `{pid}_cam{camid}` holds as many of them as it must.
_NUMBER_FIRST = r"-?\d+|[^/]+?"
_PIECE_FIRST = r"[^/_.]+|[^/]+?"
_DELIMITERS = ",;\t|"


def pattern_to_regex(
    pattern: str, fields: Sequence[str] = FIELDS, needed: Sequence[str] = ("pid",)
) -> re.Pattern[str]:
    """Regular expression of a pattern such as ``{pid}_c{camid}_*.jpg``.

    ``*`` stands for anything within a folder's or file's name, ``**`` for anything. Letters between
    the fields may be upper or lower case.

    Args:
        pattern: What names look like.
        fields: Those that it may hold.
        needed: Those of them that it must hold.

    Raises:
        ConfigError: A needed field is missing, one is not known, or comes twice.
    """
    found = [m.group(1) for m in _TOKEN.finditer(pattern) if m.group(1)]
    _check_fields(found, "--pattern", pattern, fields, needed)
    parts, position = [], 0
    for match in _TOKEN.finditer(pattern):
        parts.append(_literal(pattern[position : match.start()]))
        position = match.end()
        name = match.group(1)
        if name is None:
            parts.append(".*" if match.group() == "**" else "[^/]*")
        else:
            parts.append(f"(?P<{name}>{_NUMBER_FIRST if name == 'camid' else _PIECE_FIRST})")
    return re.compile("".join([*parts, _literal(pattern[position:])]))


def check_regex(text: str) -> re.Pattern[str]:
    """A regular expression with named groups for the fields.

    Raises:
        ConfigError: Not a regular expression, or its groups are not the fields.
    """
    try:
        regex = re.compile(text)
    except re.error as error:
        raise ConfigError(f"--regex {text!r} is not a regular expression: {error}") from error
    _check_fields(list(regex.groupindex), "--regex", text, FIELDS, ("pid",))
    return regex


def rows_by_name(
    images: Path, regex: re.Pattern[str], shown: str
) -> tuple[pd.DataFrame, dict[str, str]]:
    """What the names of all images below a folder say.

    Args:
        images: The folder.
        regex: Matched against the whole path below it.
        shown: The pattern as it was given, for messages.

    Returns:
        A table of texts with ``name`` and the fields, and by name what could not be used, and why.

    Raises:
        DataError: No image at all, or none that matches.
    """
    rows: list[dict[str, str]] = []
    bad: dict[str, str] = {}
    for path in sorted(p for p in images.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES):
        if path.is_dir():
            continue
        name = path.relative_to(images).as_posix()
        if not path.is_file():
            bad[name] = "is not a regular file, or a link to nothing"
            continue
        match = regex.fullmatch(name)
        if not _is_text(name):
            shown = name.encode("utf-8", "backslashreplace").decode()
            bad[shown] = "the name is not UTF-8 text; rename the file"
        elif match:
            rows.append({"name": name, **match.groupdict()})
        else:
            bad[name] = f"does not match {shown!r}"
    if not rows:
        if not bad:
            kinds = ", ".join(IMAGE_SUFFIXES)
            raise DataError(f"{images} and its subfolders have no image ({kinds})")
        offenders = first_offenders(with_reasons(bad), 3)
        raise DataError(f"no image in {images} can be used: {offenders}")
    return pd.DataFrame(rows), bad


def rows_by_csv(
    images: Path,
    path: Path,
    fields: Sequence[str] = FIELDS,
    needed: Sequence[str] = ("pid",),
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """What a CSV says: texts, as they stand there.

    Commas, semicolons, tabs and bars are understood, a byte-order mark and any line ends, too. An
    image with several rows, or several splits in its row (``query+test``), stands in each of them.

    Args:
        images: Folder that names are relative to.
        path: The CSV.
        fields: Columns that are read beside ``name``.
        needed: Those of them that must be there, and not empty.

    Returns:
        As :func:`rows_by_name`, and notes for a person.

    Raises:
        DataError: Not a table with the columns, or rows that cannot be meant.
    """
    if not path.is_file():
        raise DataError(f"{path} {why_no_file(path)}")
    try:
        text = path.read_text("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(_DELIMITERS, key=first.count)
        table = pd.read_csv(
            io.StringIO(text), sep=delimiter, dtype=str, keep_default_na=False, engine="python"
        )
    except (ValueError, csv_module.Error) as error:
        what = first_line(error).removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path} cannot be read as a CSV ({what})") from error
    header = [
        cell.strip().lower() for cell in next(csv_module.reader([first], delimiter=delimiter))
    ]
    twice = sorted({cell for cell in header if cell and header.count(cell) > 1})
    if twice:
        raise DataError(f"{path} has a column twice: {first_offenders(twice)}")
    table.columns = [str(c).strip().lower() for c in table.columns]
    table = table.fillna("").apply(lambda column: column.str.strip())
    for column in table.columns.intersection(["camid", "color_id", "type_id"]):
        # Programs that take a column with gaps for numbers write 3.0 for 3.
        table[column] = table[column].str.replace(r"^(\d+)\.0$", r"\1", regex=True)
    needed = ["name", *needed]
    missing = [c for c in needed if c not in table.columns]
    if missing:
        others = ", ".join(field for field in fields if field not in needed)
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}; expected a header with "
            f"{', '.join(needed)} and any of {others}, got {', '.join(table.columns)}"
        )

    if table.empty:
        raise DataError(f"{path} has a header and no rows")
    empty = [f"line {row + 2}" for row in table.index[(table[needed] == "").any(axis=1)]]
    if empty:
        raise DataError(f"{path}: empty {' or '.join(needed)} in {first_offenders(empty)}")
    table["name"] = [Path(name.replace("\\", "/")).as_posix() for name in table["name"]]
    outside = [n for n in table["name"] if Path(n).is_absolute() or ".." in Path(n).parts]
    if outside:
        raise DataError(f"{path}: names leave the image folder: {first_offenders(outside)}")
    unused = [column for column in table.columns if column not in ("name", *fields)]
    notes = [f"columns of {path.name} that are not used: {', '.join(unused)}"] if unused else []
    table = table[["name", *(c for c in fields if c in table)]]
    _refuse_contradictions(table, path)
    names = table["name"].unique()
    bad = {n: f"{why_no_file(images / n)} in {images}" for n in names if not (images / n).is_file()}
    return table, bad, notes


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # a file name of bytes that are none
        return False
    return True


def with_reasons(bad: Mapping[str, str]) -> list[str]:
    """Files that could not be used, with the reason."""
    return [f"{name}: {why}" for name, why in bad.items()]


def _refuse_contradictions(table: pd.DataFrame, path: Path) -> None:
    """An image in several rows may differ in its split alone."""
    others = [c for c in table.columns if c != "split"]
    differs = table.drop_duplicates(others)["name"].duplicated()
    names = table.drop_duplicates(others).loc[differs, "name"].tolist()
    twice = table.loc[table.duplicated(), "name"].tolist()
    if names:
        raise DataError(f"{path}: rows contradict each other: {first_offenders(names)}")
    if twice:
        raise DataError(f"{path}: names stand there twice: {first_offenders(twice)}")


def _check_fields(
    found: list[str], flag: str, text: str, fields: Sequence[str], needed: Sequence[str]
) -> None:
    missing, unknown = set(needed) - set(found), set(found) - set(fields)
    if missing or unknown or len(set(found)) < len(found):
        form = "{%s}" if flag == "--pattern" else "(?P<%s>...)"
        must = f"must hold {', '.join(form % f for f in needed)} and " if needed else ""
        others = ", ".join(form % f for f in fields if f not in needed)
        raise ConfigError(
            f"{flag} {text!r} {must}may hold {others}, each once; "
            f"got {', '.join(found) or 'none of them'}"
        )


def _literal(text: str) -> str:
    return f"(?i:{re.escape(text)})" if text else ""
