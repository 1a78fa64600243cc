"""That the saved files of a run are those of one evaluation, and that its numbers follow from them.

``results.json`` comes last, with hashes of the others. Runs of versions that kept none are read all
the same; what can be seen without them is looked at in any case.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtn_core.errors import DataError, RunFolderError, first_offenders
from mtn_core.files import sha256_of
from mtn_core.runs import RunFolder

_TOLERANCE = 1e-9  # of a mean of fractions; JSON and Parquet keep every digit
_NUMBERS = ("pid", "camid", "color_id", "type_id", "ap", "inp", "num_matches", "first_match_rank")
_ROWS = ("first_match_row", "top1_row")


def hash_files(run: RunFolder) -> dict[str, str]:
    """Hex SHA-256 of what an evaluation leaves beside ``results.json``, by path in the folder."""
    paths = [run.query_embeddings, run.gallery_embeddings, run.per_query]
    paths += sorted(run.tables.glob("*.parquet"))
    return {path.relative_to(run.path).as_posix(): sha256_of(path) for path in paths}


def check_hash(run: RunFolder, path: Path, hashes: Mapping[str, str]) -> None:
    """Check that a file is the one that the evaluation wrote.

    Args:
        run: That it is a file of.
        path: The file.
        hashes: From :func:`hash_files`, as far as the run kept them.

    Raises:
        RunFolderError: It is another one.
    """
    wanted = hashes.get(path.relative_to(run.path).as_posix())
    if wanted is not None and sha256_of(path) != wanted:
        raise RunFolderError(
            f"{path} is not the file that the evaluation wrote (its SHA-256 differs); evaluate "
            "again"
        )


def check_numbers(saved: Mapping[str, Any], per_query: pd.DataFrame, path: Path) -> None:
    """Check the table of queries, and that the saved averages are those of the table.

    Args:
        saved: ``mAP``, ``mINP``, ``cmc``, ``num_query_without_match`` and ``num_gallery``, with nan
            in place of None.
        per_query: A row per query.
        path: Its file; named in the error.

    Raises:
        DataError: A column is of another type, a row outside of the gallery, or an average another.
    """
    numbers = pd.api.types.is_numeric_dtype
    wrong = [name for name in (*_NUMBERS, *_ROWS) if not numbers(per_query[name])]
    if wrong:
        raise DataError(
            f"{path} must hold numbers in {first_offenders(wrong)}; got text or nothing"
        )
    rows = per_query[list(_ROWS)].to_numpy(np.float64)
    if not ((rows >= -1) & (rows < saved["num_gallery"])).all():
        raise DataError(
            f"{path} names gallery rows beyond the {saved['num_gallery']} of results.json"
        )
    matched = per_query[per_query["num_matches"] > 0]
    without = len(per_query) - len(matched)
    if saved["num_query_without_match"] != without:
        raise DataError(
            f"results.json says {saved['num_query_without_match']} queries without a match, {path} "
            f"has {without}; one of them is of another evaluation"
        )
    ranks = np.sort(matched["first_match_rank"].to_numpy())
    hits = np.searchsorted(ranks, np.arange(1, len(saved["cmc"]) + 1), side="right")
    amounts = {
        "mAP": matched["ap"].mean(),
        "mINP": matched["inp"].mean(),
        "cmc": hits / len(matched) if len(matched) else np.full(len(hits), np.nan),
    }
    for key, amount in amounts.items():
        if not np.allclose(saved[key], amount, rtol=0, atol=_TOLERANCE, equal_nan=True):
            raise DataError(
                f"results.json and {path} differ in {key}: one of them is of another evaluation"
            )
