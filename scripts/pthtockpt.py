"""The seed's pthtockpt.py: `mtn convert`, to MultiTask_pretrained.ckpt unless --out is given.

python scripts/pthtockpt.py --pth_path /path/densenet121-a639ec97.pth
"""

import sys

from mtn_core.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
