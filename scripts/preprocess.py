"""The seed's preprocess.py: `mtn preprocess`, the files that the 310 program reads."""

import sys

from mtn_core.cli import main

if __name__ == "__main__":
    sys.exit(main(["preprocess", *sys.argv[1:]]))
