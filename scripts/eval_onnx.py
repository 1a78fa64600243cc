"""The seed's `eval_onnx.py`: `mtn eval-onnx` with its flags and, by default, a new run folder."""

import sys

from mtn_core.cli import main
from mtn_core.commands.arguments import with_default_out

if __name__ == "__main__":
    sys.exit(main(["eval-onnx", *with_default_out(sys.argv[1:], "eval_onnx")]))
