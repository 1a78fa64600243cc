"""``python -m mtn_core`` is the same as the ``mtn`` command."""

import sys

from mtn_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
