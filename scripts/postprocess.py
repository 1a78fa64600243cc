"""The seed's postprocess.py: `mtn postprocess`, the result table of the 310 program's files."""

import sys

from mtn_core.cli import main

if __name__ == "__main__":
    sys.exit(main(["postprocess", *sys.argv[1:]]))
