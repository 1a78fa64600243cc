"""The seed's `train.py`: `mtn train` with the seed's flags and, by default, a new run folder."""

import sys

from mtn_core.cli import main
from mtn_core.commands.arguments import with_default_out

if __name__ == "__main__":
    sys.exit(main(["train", *with_default_out(sys.argv[1:], "train")]))
