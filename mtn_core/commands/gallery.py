"""`mtn embed` and `mtn gallery`: crops without labels into a gallery that grows."""

import argparse
import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mtn_core.commands.arguments import add_batch_size, add_device, mtn, positive

if TYPE_CHECKING:
    from mtn_core.gallery.embedder import Embedder
    from mtn_core.gallery.records import Filter
    from mtn_core.gallery.store import Gallery

_REST_IS_NEXT = "what was done is kept; the same command does the rest"


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of this module's commands."""
    _register_embed(subparsers)
    parser = subparsers.add_parser(
        "gallery",
        group="search",
        help="make a gallery of crops, join, thin out or describe it",
        description=(
            "A gallery holds crops that `mtn embed` has put in, with camera and time. It is made "
            "empty, gets what other galleries hold, loses what is removed, and says what it has."
        ),
        example="mtn gallery info runs/city --verify",
    )
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", help="what is done"
    )
    _register_create(actions)
    _register_add(actions)
    _register_remove(actions)
    _register_info(actions)
    parser = actions.add_parser(
        "index",
        group="search",
        help="make an approximate index, for millions of sightings, and measure its recall",
        example="mtn gallery index runs/city",
    )
    parser.add_argument("gallery", type=Path, help="its folder")
    parser.set_defaults(run=run_index, kept=lambda args: "the gallery is as it was")


def _register_embed(subparsers) -> None:
    parser = subparsers.add_parser(
        "embed",
        group="search",
        help="embed crops without labels into a gallery, which is made or grows",
        description=(
            "Puts crops into a gallery: embedding, predicted colour and type, camera and time from "
            "names or a table. An image is never there twice, and a killed call goes on where it "
            "was. With an ONNX file MindSpore is not needed."
        ),
        example="mtn embed --model model.onnx --images crops --pattern '{camid}/{time}_*.jpg' "
        "--out runs/city",
    )
    add_embedder(parser)
    parser.add_argument("--images", type=Path, help="folder with the crops")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--csv",
        type=Path,
        help="table with name and any of camid, time, track, pid; names are below --images, or "
        "beside the table",
    )
    source.add_argument(
        "--pattern",
        help="what names below --images say, such as '{camid}/{time}_*.jpg'; fields camid, time, "
        "track, pid",
    )
    parser.add_argument("--out", type=Path, required=True, help="the gallery")
    parser.add_argument("--camera", help="camera of all crops that nothing else says one of")
    parser.add_argument(
        "--time_format", help="as for strptime (default: ISO 8601, 20240501123005, Unix seconds)"
    )
    parser.add_argument("--fps", type=float, help="times are frame numbers at this rate")
    parser.add_argument("--start", type=moment, help="when frame 0 was (2024-05-01T12:30)")
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="the I-th of N parts (default: msrun's rank, the Slurm array's task, or all)",
    )
    parser.add_argument(
        "--fragment", type=positive, default=1024, help="crops that are saved together (1024)"
    )
    parser.add_argument("--skip_bad", action="store_true", help="leave unusable files out")
    _add_threshold(parser)
    add_batch_size(parser, 32)
    parser.set_defaults(
        run=run_embed,
        next_step=lambda args: mtn("gallery", "info", args.out),
        kept=lambda args: f"fragments that {args.out} has are kept; the same command goes on",
    )


def _register_create(actions) -> None:
    parser = actions.add_parser(
        "create",
        group="search",
        help="make an empty gallery for a model",
        example="mtn gallery create runs/city --model model.onnx --images crops",
    )
    parser.add_argument("gallery", type=Path, help="its folder")
    add_embedder(parser)
    parser.add_argument(
        "--images", type=Path, required=True, help="folder that holds all crops, now and later"
    )
    _add_threshold(parser)
    parser.add_argument(
        "--server", help="keep the rows in Milvus: http://host:19530 (token: MILVUS_TOKEN)"
    )
    parser.add_argument(
        "--collection", default="mtn_gallery", help="its name there (default: mtn_gallery)"
    )
    parser.set_defaults(run=run_create, kept=lambda args: "nothing was made; run it again")


def _register_add(actions) -> None:
    parser = actions.add_parser(
        "add",
        group="search",
        help="add the sightings of other galleries of the same model",
        example="mtn gallery add runs/city --from runs/part1 runs/part2",
    )
    parser.add_argument("gallery", type=Path, help="its folder")
    parser.add_argument(
        "--from", dest="sources", type=Path, nargs="+", required=True, help="other galleries"
    )
    parser.set_defaults(
        run=run_add, kept=lambda args: "what was added is kept; the same command adds the rest"
    )


def _register_remove(actions) -> None:
    parser = actions.add_parser(
        "remove",
        group="search",
        help="remove sightings; image files stay",
        example="mtn gallery remove runs/city --camera 3 --before 2024-05-01T12:30",
    )
    parser.add_argument("gallery", type=Path, help="its folder")
    parser.add_argument("--id", nargs="+", default=[], help="ids of sightings")
    add_filters(parser)
    parser.set_defaults(
        run=run_remove,
        kept=lambda args: "what was removed is gone; the same command removes the rest",
    )


def _register_info(actions) -> None:
    parser = actions.add_parser(
        "info",
        group="search",
        help="say what a gallery holds",
        example="mtn gallery info runs/city --verify",
    )
    parser.add_argument("gallery", type=Path, help="its folder")
    parser.add_argument(
        "--verify", action="store_true", help="read every file and compare it with its hash"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(run=run_info, kept=lambda args: "nothing was changed")


def add_embedder(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, the pose before it, and the device."""
    parser.add_argument(
        "--model", type=Path, required=True, help=".onnx file of `mtn export`, or a checkpoint"
    )
    add_pose(parser)
    add_device(parser)


def add_pose(parser: argparse.ArgumentParser) -> None:
    """Add ``--pose_onnx``, ``--pose_ckpt`` and ``--without_pose``."""
    pose = parser.add_mutually_exclusive_group()
    pose.add_argument("--pose_onnx", type=Path, help="exported PoseEstNet, for a model with pose")
    pose.add_argument("--pose_ckpt", type=Path, help="checkpoint of PoseEstNet instead")
    pose.add_argument(
        "--without_pose", action="store_true", help="show such a model no pose; answers are worse"
    )


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a :class:`mtn_core.gallery.records.Filter`."""
    parser.add_argument("--camera", nargs="+", default=[], help="any of these cameras")
    parser.add_argument("--not_camera", nargs="+", default=[], help="none of these cameras")
    parser.add_argument("--after", type=moment, help="at this moment or later (2024-05-01T12:30)")
    parser.add_argument("--before", type=moment, help="earlier than this")
    parser.add_argument("--color", nargs="+", default=[], help="predicted colour, any of these")
    parser.add_argument("--type", nargs="+", default=[], help="predicted type, any of these")


def filter_of(args: argparse.Namespace) -> "Filter":
    """The filter that the flags of :func:`add_filters` say."""
    from mtn_core.gallery.records import Filter

    return Filter(
        camera=tuple(args.camera),
        not_camera=tuple(args.not_camera),
        after=args.after,
        before=args.before,
        color=tuple(args.color),
        type=tuple(args.type),
    )


def embedder_of(args: argparse.Namespace, batch_size: int = 32) -> "Embedder":
    """The model that the flags of :func:`add_embedder` name."""
    from mtn_core.gallery.embedder import load_embedder

    return load_embedder(
        args.model,
        args.pose_onnx or args.pose_ckpt,
        without_pose=args.without_pose,
        device_target=args.device_target,
        device_id=args.device_id,
        batch_size=batch_size,
    )


def moment(text: str) -> datetime:
    """Parse a moment, for ``type=``."""
    from mtn_core.gallery.crops import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_threshold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold",
        type=float,
        help="distance below which two crops are taken for one vehicle, kept with a new gallery",
    )


def run_embed(args: argparse.Namespace) -> int:
    """Handle `mtn embed`."""
    from mtn_core.errors import ConfigError
    from mtn_core.gallery.crops import Clock, list_crops, under
    from mtn_core.gallery.embed import embed_crops
    from mtn_core.gallery.shard import parse_shard, shard_of

    if os.environ.get("MS_ROLE") == "MS_SCHED":
        return 0  # msrun starts the command once more as its scheduler
    if args.images is None and args.csv is None:
        raise ConfigError("give the crops: --images DIR, --csv FILE, or both")
    shard = parse_shard(args.shard) if args.shard else shard_of(os.environ)
    images = args.images or args.csv.parent
    clock = Clock(args.time_format, args.fps, args.start)
    crops, notes = list_crops(
        images, pattern=args.pattern, csv=args.csv, camera=args.camera, clock=clock
    )
    for note in notes:
        print(note, flush=True)
    embedder = embedder_of(args, args.batch_size)
    gallery = _open_or_create(args, embedder, images)
    root = gallery.info.images
    mine = under(list(shard.of(crops)), images, Path(root or images))
    outcome = embed_crops(
        embedder,
        gallery,
        mine,
        fragment=args.fragment,
        batch_size=args.batch_size,
        skip_bad=args.skip_bad,
    )
    part = f"shard {shard}: " if shard.count > 1 else ""
    print(f"{part}{outcome.to_text()}")
    print(f"gallery: {args.out}, {len(gallery)} sightings")
    return 0


def _open_or_create(args: argparse.Namespace, embedder: "Embedder", images: Path) -> "Gallery":
    """The gallery; of several shards that make it at once, all get the same."""
    from mtn_core.errors import ConfigError, RunFolderError
    from mtn_core.gallery.store import Gallery

    if not Gallery.is_gallery(args.out):
        try:
            return Gallery.create(args.out, embedder.new_info(images, args.threshold))
        except RunFolderError:
            if not Gallery.is_gallery(args.out):
                raise
    gallery = Gallery.open(args.out)
    if args.threshold not in (None, gallery.info.threshold):
        raise ConfigError(
            f"{args.out} has the threshold {gallery.info.threshold}; leave --threshold out"
        )
    gallery.check_model(embedder.sha256, embedder.pose_sha256, args.model)
    return gallery


def run_create(args: argparse.Namespace) -> int:
    """Handle `mtn gallery create`."""
    from mtn_core.errors import DataError
    from mtn_core.gallery.store import Gallery, Server

    if not args.images.is_dir():
        raise DataError(f"folder {args.images} does not exist, or is no folder")
    server = Server(args.server, args.collection) if args.server else None
    Gallery.create(args.gallery, embedder_of(args).new_info(args.images, args.threshold), server)
    print(f"written: {args.gallery}")
    return 0


def run_add(args: argparse.Namespace) -> int:
    """Handle `mtn gallery add`."""
    from mtn_core.gallery.join import join_gallery
    from mtn_core.gallery.store import Gallery

    gallery = Gallery.open(args.gallery)
    for path in args.sources:
        added, known = join_gallery(gallery, Gallery.open(path))
        print(f"{path}: {added} sightings added, {known} were there", flush=True)
    print(f"gallery: {args.gallery}, {len(gallery)} sightings")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Handle `mtn gallery remove`."""
    from mtn_core.errors import ConfigError
    from mtn_core.gallery.store import Gallery

    which = filter_of(args)
    if bool(args.id) == bool(which):
        raise ConfigError("say which sightings: either --id, or filters such as --camera")
    gallery = Gallery.open(args.gallery)
    removed = gallery.remove(args.id or which)
    print(f"{removed} sightings removed, {len(gallery)} left in {args.gallery}")
    return 0


def run_index(args: argparse.Namespace) -> int:
    """Handle `mtn gallery index`."""
    from mtn_core.gallery.store import Gallery

    recall = Gallery.open(args.gallery).build_index()
    print(f"index written: of 20 exact answers without a filter {recall:.1%} come through it")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Handle `mtn gallery info`."""
    from mtn_core.gallery.describe import describe, format_text
    from mtn_core.gallery.store import Gallery

    gallery = Gallery.open(args.gallery)
    files = gallery.backend.verify() if args.verify else None
    values = describe(gallery)
    if args.format == "json":
        print(json.dumps(values | ({} if files is None else {"files_verified": files}), indent=2))
        return 0
    print(format_text(values))
    if files is not None:
        print(f"{files} files are as they were written")
    return 0
