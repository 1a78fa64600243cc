"""``mtn search``: where was this vehicle seen, by a run's gallery or by one that grows."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mtn_core.commands.arguments import add_device, positive
from mtn_core.commands.gallery import add_filters, add_pose, filter_of

if TYPE_CHECKING:
    from mtn_core.gallery.embedder import Embedder
    from mtn_core.gallery.store import Gallery
    from mtn_core.results.answer import SearchResult
    from mtn_core.results.threshold import Threshold
    from mtn_core.viz.crops import CropSource


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the command of this module."""
    search = subparsers.add_parser(
        "search",
        group="search",
        help="where was this vehicle seen, by a run's gallery or one of `mtn embed`",
        description=(
            "Embeds a crop with the network of a run or a gallery, and lists the nearest images at "
            "other cameras: the likely ones, below a measured distance, and the next."
        ),
        example=(
            "mtn search --run runs/first --image crop.jpg --top 5",
            "mtn search city --model MultiTask_export.onnx --image a.jpg b.jpg --not_camera 3",
        ),
    )
    search.add_argument(
        "gallery", type=Path, nargs="?", metavar="GALLERY", help="of `mtn embed`, or a run folder"
    )
    search.add_argument(
        "--run", dest="run_dir", type=Path, metavar="RUN", help="a run folder instead"
    )
    search.add_argument(
        "--image",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="crop of the vehicle; several of one track are one question",
    )
    search.add_argument(
        "--model", type=Path, help=".onnx file of `mtn export`, or a checkpoint (a run's: its own)"
    )
    search.add_argument("--ckpt_path", type=Path, help="checkpoint, as --model")
    add_pose(search)
    search.add_argument("--image_camera", metavar="NAME", help="camera that took the crop")
    search.add_argument(
        "--same_camera", action="store_true", help="keep images of the camera that took the crop"
    )
    add_filters(search)
    search.add_argument("--top", type=positive, default=20, help="answers")
    search.add_argument("--metric", choices=("euclidean", "cosine"), help="by default the run's")
    search.add_argument("--threshold", type=float, help="distance below which an answer is likely")
    search.add_argument(
        "--false_accept",
        type=float,
        help="share of other vehicles' pairs below the threshold, in the run's evaluation "
        "(default: 0.01)",
    )
    search.add_argument(
        "--threshold_of", type=Path, metavar="RUN", help="evaluation of the gallery's model"
    )
    search.add_argument(
        "--approximate",
        action="store_true",
        help="ask an index (`mtn gallery index` makes one); its recall is measured",
    )
    search.add_argument(
        "--format", choices=("table", "json", "html"), default="table", help="of the answers"
    )
    search.add_argument("--out", type=Path, metavar="FILE", help="write there; html needs it")
    search.add_argument("--root", type=Path, help="data root of a run's crops")
    search.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a file that this command did not write (never one of a run, or an image)",
    )
    add_device(search)
    search.set_defaults(run=run_search)


def run_search(args: argparse.Namespace) -> int:
    """Search a gallery for a crop and show the candidates."""
    from mtn_core.data.images import read_image
    from mtn_core.errors import ConfigError, MissingFileError
    from mtn_core.files import write_text
    from mtn_core.gallery.store import Gallery
    from mtn_core.report.outputs import check_output, is_own_answer

    if (args.gallery is None) == (args.run_dir is None):
        raise ConfigError("give a gallery or a run folder: either GALLERY or --run RUN")
    if args.model and args.ckpt_path:
        raise ConfigError("--model and --ckpt_path are the same; leave one of them out")
    if args.threshold is not None and not args.threshold > 0:
        raise ConfigError(f"--threshold must be above 0; got {args.threshold}")
    if args.out is not None:
        check_output(args.out, is_own=is_own_answer, overwrite=args.overwrite)
    if args.format == "html" and args.out is None:
        raise ConfigError("--format html needs --out FILE.html")
    for image in args.image:  # before a network is loaded for a file that is none
        if not image.exists():
            raise MissingFileError(f"image {image} does not exist")
        read_image(image)
    place = args.gallery or args.run_dir
    search = search_store if Gallery.is_gallery(place) else search_run
    result, crops = search(args, place)
    if args.format == "html":
        from mtn_core.report.search_page import write_search_page

        print(f"answers: {write_search_page(result, crops, args.out)}")
        return 0
    if args.format == "json":
        text = json.dumps(result.to_json_dict(), indent=2, ensure_ascii=False)
    else:
        text = result.format_table()
    if args.out is None:
        print(text)
    else:
        write_text(args.out, text + "\n")
        print(f"answers: {args.out}")
    return 0


def search_run(args: argparse.Namespace, run_dir: Path) -> "tuple[SearchResult, CropSource]":
    """Ask the gallery of a run."""
    from mtn_core.errors import ConfigError
    from mtn_core.gallery.find import find_in_run
    from mtn_core.gallery.query import query_for_run
    from mtn_core.predict.crop import check_same_network, find_checkpoint
    from mtn_core.results.search import Gallery
    from mtn_core.runs import RunFolder
    from mtn_core.viz.crops import CropSource

    if args.threshold_of is not None:
        raise ConfigError("--threshold_of goes with a gallery; a run has its own evaluation")
    gallery = Gallery.open(run_dir, args.metric, approximate=args.approximate)
    # With another distance than the evaluation's, its threshold means nothing.
    own_metric = args.metric is None or gallery.metric == Gallery.open(run_dir).metric
    threshold = _threshold(args, run_dir if own_metric else None)
    model = args.model or args.ckpt_path or find_checkpoint(run_dir)
    embedder = _load(args, model)
    check_same_network(embedder.backend, model, run_dir)
    query = query_for_run(embedder, args.image, without_pose=args.without_pose)
    query = query.taken_by(_image_camera(args))
    crops = CropSource(args.root or RunFolder(run_dir).data_roots())
    result = find_in_run(
        gallery,
        query,
        filter_of(args),
        top=args.top,
        same_camera=args.same_camera,
        threshold=threshold,
        crops=crops,
    )
    return result, crops


def search_store(args: argparse.Namespace, path: Path) -> "tuple[SearchResult, CropSource]":
    """Ask a gallery that grows."""
    from mtn_core.errors import ConfigError
    from mtn_core.gallery.find import StoreCrops, find_in_store
    from mtn_core.gallery.query import query_of_files
    from mtn_core.gallery.store import Gallery

    if args.metric is not None:
        raise ConfigError("--metric goes with a run; a gallery has its own distance")
    gallery = Gallery.open(path)
    model = args.model or args.ckpt_path
    if model is None:
        raise ConfigError(
            f"give the model that made the embeddings of {path} ({gallery.info.model_name}) with "
            "--model FILE.onnx"
        )
    threshold = threshold_for_store(args, gallery)
    embedder = _load(args, model)
    gallery.check_model(embedder.sha256, embedder.pose_sha256, model)
    query = query_of_files(embedder, args.image).taken_by(_image_camera(args))
    result = find_in_store(
        gallery,
        query,
        filter_of(args),
        top=args.top,
        same_camera=args.same_camera,
        threshold=threshold,
        approximate=args.approximate,
    )
    return result, StoreCrops(gallery.info.images)


def threshold_for_store(args: argparse.Namespace, gallery: "Gallery") -> "Threshold | None":
    """The threshold of ``--threshold``, ``--threshold_of`` or, by None, the gallery's own."""
    from mtn_core.errors import ConfigError
    from mtn_core.results.retrieval import read_saved
    from mtn_core.runs import RunFolder

    if args.threshold_of is None:
        if args.false_accept is not None:
            raise ConfigError("--false_accept needs the evaluation: --threshold_of RUN")
        return _threshold(args, None)
    saved = read_saved(RunFolder(args.threshold_of))
    info = gallery.info
    if saved.checkpoint_sha256 != info.model_sha256 or saved.protocol.metric != info.metric:
        raise ConfigError(
            f"{args.threshold_of} is the evaluation of checkpoint "
            f"{str(saved.checkpoint_sha256)[:12]} by {saved.protocol.metric} distance, but "
            f"{gallery.path} holds embeddings of {info.model_sha256[:12]} by {info.metric} "
            "distance: give the evaluation of that model"
        )
    return _threshold(args, args.threshold_of)


def _threshold(args: argparse.Namespace, run_dir: Path | None) -> "Threshold | None":
    from mtn_core.errors import ConfigError
    from mtn_core.results.threshold import FALSE_ACCEPT, Threshold, run_threshold

    if args.threshold is not None:
        if args.false_accept is not None or args.threshold_of is not None:
            raise ConfigError("--threshold stands alone; leave the other threshold out")
        return Threshold(args.threshold)
    if run_dir is None:
        return None
    return run_threshold(run_dir, FALSE_ACCEPT if args.false_accept is None else args.false_accept)


def _image_camera(args: argparse.Namespace) -> list[str | None]:
    from mtn_core.gallery.records import camera_name

    return [camera_name(args.image_camera)]


def _load(args: argparse.Namespace, model: Path) -> "Embedder":
    """The network; whether crops need a pose is seen crop by crop in a run."""
    from mtn_core.gallery.embedder import load_embedder
    from mtn_core.gallery.store import Gallery

    pose = args.pose_onnx or args.pose_ckpt
    in_store = Gallery.is_gallery(args.gallery or args.run_dir)
    return load_embedder(
        model,
        pose,
        without_pose=args.without_pose or (pose is None and not in_store),
        device_target=args.device_target,
        device_id=args.device_id,
    )
