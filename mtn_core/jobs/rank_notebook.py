"""One rank's part of a notebook that runs on several processes."""

import argparse
import json
import os
from pathlib import Path

from mtn_core.jobs.workbook import execute_notebook


def main() -> None:
    """Run the notebook; rank 0 keeps the copy under its name, the others beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--executed", type=Path, required=True)
    parser.add_argument("--parameters", type=json.loads, required=True)
    args = parser.parse_args()
    rank = int(os.environ.get("RANK_ID", "0"))
    executed = args.executed
    if rank:
        executed = executed.with_name(f"{executed.stem}.rank{rank}{executed.suffix}")
    execute_notebook(args.source, executed, args.parameters, progress=False)


if __name__ == "__main__":
    main()
