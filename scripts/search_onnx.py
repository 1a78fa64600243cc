"""Where was this vehicle seen, through an exported ONNX file alone: MindSpore is not needed.

python scripts/search_onnx.py --run runs/demo --image crop.jpg --onnx_path MultiTask_export.onnx

The same as `mtn search` with `--model`.
"""

import sys

from mtn_core.cli import main

if __name__ == "__main__":
    sys.exit(main(["search", *("--model" if a == "--onnx_path" else a for a in sys.argv[1:])]))
