"""How a notebook says that it did only a part of its work, and how its executed copy is asked."""

import dataclasses
import json
from pathlib import Path
from typing import Any

_KEY = "mtn_outcome"


@dataclasses.dataclass(frozen=True)
class Missing:
    """A part of a notebook's work that was not done.

    Attributes:
        what: What was not done, and why, without a full stop.
        how: How to get it, likewise.
    """

    what: str
    how: str

    def to_text(self) -> str:
        """One line."""
        return f"{self.what}. To get it: {self.how}"


def say_missing(what: str, how: str) -> None:
    """Show, in a notebook, what it did not do; the workbook then calls its outcome ``partly``.

    Args:
        what: What was not done, and why.
        how: How to get it.
    """
    from IPython.display import Markdown, display

    missing = Missing(what.rstrip(". "), how.rstrip(". "))
    text = f"**Not done:** {missing.to_text()}."
    display(Markdown(text), metadata={_KEY: dataclasses.asdict(missing)})


def read_missing(executed: Path) -> list[Missing]:
    """What an executed notebook said that it did not do; nothing for a file that is no notebook."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        said: list[dict[str, Any]] = [
            output["metadata"][_KEY] for output in outputs if _KEY in output.get("metadata", {})
        ]
        return [Missing(str(one["what"]), str(one["how"])) for one in said]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
