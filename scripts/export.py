"""The seed's export.py: `mtn export` with the seed's flags, into this folder unless --out is given.

python scripts/export.py --root ./data/ --ckpt_path path/ckpt --segmentaware True
"""

import sys

from mtn_core.cli import main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not any(a.split("=")[0] in ("--out", "--help", "-h") for a in arguments):
        arguments += ["--out", "."]
    sys.exit(main(["export", *arguments]))
