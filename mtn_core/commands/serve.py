"""``mtn serve``: a page in the browser that searches a gallery."""

import argparse
import os
from pathlib import Path

from mtn_core.commands.arguments import add_device, positive, whole_number
from mtn_core.commands.gallery import add_pose

TOKEN_VARIABLE = "MTN_SERVE_TOKEN"


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the command of this module."""
    serve = subparsers.add_parser(
        "serve",
        group="search",
        help="search a gallery in the browser",
        description=(
            "Opens a page on this machine: drop a crop, choose filters, see candidates on a time "
            "line by camera. The model runs in ONNX Runtime, and nothing of an upload is kept."
        ),
        example="mtn serve city --model MultiTask_export.onnx --pose_onnx PoseEstNet.onnx",
    )
    serve.add_argument("gallery", type=Path, help="of `mtn embed`")
    serve.add_argument("--model", type=Path, required=True, help=".onnx file of `mtn export`")
    add_pose(serve)
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on, by default of this machine alone"
    )
    serve.add_argument("--port", type=whole_number(0, 65535), default=8000, help="port, 0 for any")
    serve.add_argument(
        "--token_file",
        type=Path,
        help=f"file with the token that requests must bring (or {TOKEN_VARIABLE}); made up on any "
        "address but loopback. Put a proxy with TLS in front of those",
    )
    serve.add_argument("--threshold", type=float, help="distance below which an answer is likely")
    serve.add_argument("--false_accept", type=float, help="see `mtn search`; with --threshold_of")
    serve.add_argument(
        "--threshold_of", type=Path, metavar="RUN", help="evaluation of the gallery's model"
    )
    serve.add_argument(
        "--max_megabytes", type=positive, default=16, help="of the crops of an upload"
    )
    serve.add_argument("--max_megapixels", type=whole_number(1, 500), default=25, help="likewise")
    add_device(serve)
    serve.set_defaults(run=run_serve)


def run_serve(args: argparse.Namespace) -> int:
    """Handle `mtn serve`."""
    from mtn_core.commands.gallery import embedder_of
    from mtn_core.commands.search import threshold_for_store
    from mtn_core.errors import ConfigError
    from mtn_core.gallery.store import Gallery
    from mtn_core.serve.server import choose_token, run_server
    from mtn_core.serve.uploads import UploadLimits

    for flag, path in (("--model", args.model), ("--pose_onnx", args.pose_onnx or args.pose_ckpt)):
        if path is not None and path.suffix != ".onnx":
            raise ConfigError(
                f"mtn serve runs models in onnxruntime; give {flag} an .onnx file (`mtn export "
                f"--ckpt_path {path} --file_format ONNX` writes one)"
            )
    if args.threshold is not None and not args.threshold > 0:
        raise ConfigError(f"--threshold must be above 0; got {args.threshold}")
    gallery = Gallery.open(args.gallery)
    threshold = threshold_for_store(args, gallery)
    token = choose_token(args.host, _given_token(args.token_file))
    embedder = embedder_of(args)
    gallery.check_model(embedder.sha256, embedder.pose_sha256, args.model)
    run_server(
        gallery,
        embedder,
        host=args.host,
        port=args.port,
        token=token,
        threshold=threshold,
        limits=UploadLimits(args.max_megabytes * 1_000_000, args.max_megapixels * 1_000_000),
        echo=lambda line: print(line, flush=True),
    )
    return 0


def _given_token(file: Path | None) -> str | None:
    from mtn_core.errors import MissingFileError

    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    if not file.is_file():
        raise MissingFileError(f"--token_file {file} does not exist")
    return file.read_text(encoding="utf-8", errors="replace").strip()
