"""The one way to show progress: a bar on a terminal or in a notebook, nothing where it is piped."""

import os
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def progress_bar(
    items: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    initial: int = 0,
    description: str = "",
    unit: str = "it",
    shown: bool = True,
) -> tqdm:
    """A progress bar, which is also an iterator over ``items``.

    Args:
        items: What is worked through; None where ``update`` counts.
        total: How many there will be; by default ``len(items)``.
        initial: How many are done already.
        description: What is being done.
        unit: What one of them is called.
        shown: False shows nothing, as for all ranks but the first. ``TQDM_DISABLE=1`` in the
            environment does that for every bar.
    """
    return tqdm(
        items,
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        leave=False,
        # tqdm itself heeds the variable only where nobody passes `disable`.
        disable=True if not shown or os.environ.get("TQDM_DISABLE") == "1" else None,
    )
