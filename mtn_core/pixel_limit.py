"""How many pixels a picture may have; its header is asked before anything is decoded.

The configuration of a training or an evaluation has the limit under ``data.max_pixels``. Pictures
are decoded in threads and in processes of their own, so what a run has set reaches them through the
environment variable ``MTN_MAX_PIXELS``. Commands without a configuration take it from there, too.
"""

import contextlib
import os
from collections.abc import Iterator

from mtn_core.errors import ConfigError

MAX_PIXELS = 50_000_000
HIGHEST_LIMIT = 2**30  # OpenCV decodes no more
HOW_TO_RAISE = "raise data.max_pixels (MTN_MAX_PIXELS)"
_VARIABLE = "MTN_MAX_PIXELS"


def max_pixels() -> int:
    """Most pixels of one picture: ``MTN_MAX_PIXELS`` where that is set, else :data:`MAX_PIXELS`.

    Raises:
        ConfigError: The variable is not a whole number from 1 to :data:`HIGHEST_LIMIT`.
    """
    text = os.environ.get(_VARIABLE)
    if not text:
        return MAX_PIXELS
    limit = int(text[:20]) if text.isascii() and text.isdigit() else 0
    if not 1 <= limit <= HIGHEST_LIMIT:
        raise ConfigError(
            f"{_VARIABLE} must be a whole number from 1 to {HIGHEST_LIMIT}; got {text[:40]!r}"
        )
    return limit


@contextlib.contextmanager
def limited_pixels(limit: int) -> Iterator[None]:
    """Decode under this limit in the block, in its threads and in the processes that it starts."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(limit)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
