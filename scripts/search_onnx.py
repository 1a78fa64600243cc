"""Where was this vehicle seen, through an exported ONNX file alone: MindSpore is not needed.

python scripts/search_onnx.py --run runs/demo --image crop.jpg --onnx_path MultiTask_export.onnx
"""

import argparse
import sys
from pathlib import Path

from mtn_core.errors import MtnError
from mtn_core.predict.crop import CropEmbedder, check_same_network
from mtn_core.predict.onnx import OnnxModel
from mtn_core.results.search import search


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="run folder with embeddings")
    parser.add_argument("--image", type=Path, required=True, help="crop of the vehicle")
    parser.add_argument("--onnx_path", type=Path, required=True, help="file of `mtn export`")
    parser.add_argument("--top", type=int, default=20, help="answers (20)")
    args = parser.parse_args()
    try:
        model = OnnxModel(args.onnx_path)
        check_same_network(model, args.onnx_path, args.run)
        embedder = CropEmbedder(model)
        print(search(args.run, args.image, embed=embedder.embed, top=args.top).format_table())
    except (MtnError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
