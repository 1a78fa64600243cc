"""The commands that make, check and pack data sets."""

import argparse
from pathlib import Path

from mtn_core.commands.arguments import (
    add_boolean,
    add_root,
    add_splits,
    mtn,
    positive,
    whole_number,
)
from mtn_core.config import MAX_SEED

DATASETS = ("vehicleid", "veriwild", "vric", "cityflow", "vehiclex")
SYNTH_SIZES = ("smoke", "demo", "bench")


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of this module's commands."""
    _register_synth(subparsers)
    _register_check(subparsers)
    _register_pack(subparsers)
    _register_draw_pose(subparsers)
    _register_prepare_veri(subparsers)
    _register_prepare(subparsers)
    _register_prepare_dataset(subparsers)


def _register_synth(subparsers) -> None:
    parser = subparsers.add_parser(
        "synth",
        group="data",
        help="write SynthVeRi, the synthetic data set",
        description=(
            "Draws synthetic vehicles in the layout of VeRi, with exact keypoints, heatmaps and "
            "segments. The same seed gives the same bytes."
        ),
        example="mtn synth --root data/cars --size smoke",
    )
    add_root(parser)
    parser.add_argument(
        "--size", choices=SYNTH_SIZES, default="smoke", help="how many vehicles and images"
    )
    parser.add_argument(
        "--seed", type=whole_number(0, MAX_SEED), default=0, help="of every random choice"
    )
    parser.add_argument("--workers", type=positive, help="processes (default: all cores)")
    _add_overwrite(parser)
    parser.set_defaults(run=run_synth, next_step=_check_next)


def _register_check(subparsers) -> None:
    parser = subparsers.add_parser(
        "check",
        group="data",
        help="list what is wrong with a data set",
        description=(
            "Checks layout, labels, images and maps, and lists what is wrong; exit code 1 where "
            "anything is. It changes nothing."
        ),
        example="mtn check --root data/cars",
    )
    add_root(parser)
    for flag, what in (("heatmapaware", "heatmaps"), ("segmentaware", "segments")):
        add_boolean(parser, flag, f"demand {what} (default: check them where their folder is)")
    add_splits(parser, all_by_default=False)
    parser.add_argument("--fast", action="store_true", help="do not open images and maps")
    parser.set_defaults(
        run=run_check,
        next_step=lambda args: mtn("train", "--root", args.root, "--out", "runs/first"),
        kept=lambda args: "nothing was changed",
    )


def _register_pack(subparsers) -> None:
    parser = subparsers.add_parser(
        "pack",
        group="data",
        help="pack images and maps for fast reading",
        description=(
            "Writes the images and maps of each split into MindRecord files, which are read much "
            "faster than 49 small files an image. Training and evaluation use them where they are."
        ),
        example="mtn pack --root data/cars",
    )
    add_root(parser)
    add_splits(parser)
    parser.add_argument("--rows_per_shard", type=positive, default=4096, help="images in a file")
    _add_overwrite(parser)
    parser.set_defaults(
        run=run_pack,
        next_step=lambda args: mtn("train", "--root", args.root, "--out", "runs/first"),
        kept=lambda args: "splits that were packed are kept; give the others with --splits",
    )


def _register_draw_pose(subparsers) -> None:
    parser = subparsers.add_parser(
        "draw-pose",
        group="data",
        help="draw heatmaps and segments from the label files' keypoints",
        description=(
            "Writes the 36 heatmaps and 13 segments of every image from the keypoints in the "
            "label files, for data without the output of PoseEstNet."
        ),
        example="mtn draw-pose --root data/cars --overwrite",
    )
    add_root(parser)
    add_splits(parser)
    parser.add_argument("--workers", type=positive, help="threads (default: all cores)")
    _add_overwrite(parser)
    parser.set_defaults(
        run=run_draw_pose,
        next_step=_check_next,
        kept=lambda args: "map folders that were finished are kept; --overwrite draws all anew",
    )


def _register_prepare_veri(subparsers) -> None:
    parser = subparsers.add_parser(
        "prepare-veri",
        group="data",
        help="bring the official VeRi download into the layout",
        description=(
            "Brings VeRi's own download, and the label files that NVIDIA published with PAMTRI, "
            "into the layout that every other command reads. Images are linked, not copied."
        ),
        example="mtn prepare-veri --download VeRi --labels PAMTRI/data/veri --root data",
    )
    parser.add_argument("--download", type=Path, help="VeRi's folder, with image_train and so on")
    parser.add_argument("--labels", type=Path, help="folder with PAMTRI's label files")
    add_root(parser)
    parser.add_argument(
        "--orientations",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="keypoint files of VehicleReIDKeyPointData, for veri/orientation.csv",
    )
    parser.add_argument("--labels-only", action="store_true", help="write label files only")
    parser.add_argument("--partial", action="store_true", help="accept counts that differ")
    _add_placing(parser)
    parser.set_defaults(
        run=run_prepare_veri,
        next_step=lambda args: None if args.labels_only else _check_next(args),
    )


def _register_prepare(subparsers) -> None:
    parser = subparsers.add_parser(
        "prepare",
        group="data",
        help="bring any folder of crops into the layout",
        description=(
            "Brings crops of anybody's into the layout that every other command reads. Each needs "
            "a vehicle id, by its name, a table, or boxes over frames; cameras, colours and types "
            "may be missing."
        ),
        example=(
            "mtn prepare --images my_crops --pattern '{pid}_c{camid}_*.jpg' --root data/mine",
            "mtn prepare --images my_crops --csv labels.csv --root data/mine",
        ),
    )
    parser.add_argument("--images", type=Path, required=True, help="folder with the crops")
    add_root(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--pattern", help="such as '{pid}_c{camid}_*.jpg' or '{pid}/*.png', below --images"
    )
    source.add_argument(
        "--regex", help=r"a regular expression instead: '(?P<pid>\w+)_(?P<camid>\d+)\.png'"
    )
    source.add_argument(
        "--csv",
        type=Path,
        help="table with name, pid and any of camid, color_id, type_id, split, track, role",
    )
    source.add_argument(
        "--boxes", type=Path, help="CVAT's XML or COCO's JSON; --images are then frames"
    )
    parser.add_argument(
        "--margin", type=float, default=0.05, help="around boxes, as a share of them"
    )
    parser.add_argument(
        "--junk_ids", nargs="*", default=["-1"], help="ids of images that no ranking knows"
    )
    parser.add_argument(
        "--distractor_ids", nargs="*", default=["0000"], help="ids that match nothing"
    )
    parser.add_argument("--test_share", type=float, default=0.5, help="share of ids to test with")
    parser.add_argument(
        "--seed", type=whole_number(0, MAX_SEED), default=0, help="of the choice of test vehicles"
    )
    parser.add_argument("--skip_bad", action="store_true", help="leave unusable files out")
    _add_placing(parser)
    parser.set_defaults(run=run_prepare)


def _register_prepare_dataset(subparsers) -> None:
    parser = subparsers.add_parser(
        "prepare-dataset",
        group="data",
        help="bring VehicleID, VERI-Wild, VRIC, CityFlow or VehicleX in",
        description=(
            "Brings the download of a public data set into the layout, with its authors' protocol, "
            "which evaluations and reports then follow. Counts are compared with the official ones."
        ),
        example="mtn prepare-dataset veriwild --download VERI-Wild --part small --root data/wild",
    )
    parser.add_argument("name", choices=DATASETS, help="data set; prepare-veri is for VeRi")
    parser.add_argument("--download", type=Path, required=True, help="the data set's own folder")
    add_root(parser)
    parser.add_argument("--part", help="what to evaluate on, such as small or 800")
    parser.add_argument(
        "--seed", type=whole_number(0, MAX_SEED), default=0, help="of draws and local splits"
    )
    parser.add_argument("--partial", action="store_true", help="accept counts that differ")
    _add_placing(parser)
    parser.set_defaults(run=run_prepare_dataset, next_step=_check_next)


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _check_next(args: argparse.Namespace) -> str:
    return mtn("check", "--root", args.root)


def _add_placing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--copy", action="store_true", help="copy images instead of linking them")
    _add_overwrite(parser)


def run_synth(args: argparse.Namespace) -> int:
    """``mtn synth``."""
    from mtn_core.synthveri import VERSION, write_synthveri

    counts = write_synthveri(
        args.root,
        size=args.size,
        seed=args.seed,
        workers=args.workers,
        overwrite=args.overwrite,
    )
    print(f"SynthVeRi {args.size} (version {VERSION}) in {args.root / 'veri'}")
    print(", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items()))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """``mtn check``."""
    from mtn_core.data.check import check_dataset

    report = check_dataset(
        args.root,
        heatmaps=args.heatmapaware,
        segments=args.segmentaware,
        splits=args.splits,
        decode=not args.fast,
    )
    print(report.to_text())
    return 0 if report.ok else 1


def run_pack(args: argparse.Namespace) -> int:
    """``mtn pack``."""
    from mtn_core.data.packs.write import pack_dataset, pack_folder

    manifests = pack_dataset(
        args.root,
        splits=args.splits,
        overwrite=args.overwrite,
        rows_per_shard=args.rows_per_shard,
    )
    for split, manifest in manifests.items():
        holds = ["images"]
        holds += ["heatmaps"] if manifest.heatmaps else []
        holds += ["segments"] if manifest.segments else []
        size = sum(shard.num_bytes for shard in manifest.shards) / 1e6
        print(
            f"{split}: {manifest.rows} samples with {', '.join(holds)}, {size:.1f} MB "
            f"in {len(manifest.shards)} shards, {pack_folder(args.root, split)}"
        )
    return 0


def run_draw_pose(args: argparse.Namespace) -> int:
    """``mtn draw-pose``."""
    from mtn_core.data.pose_maps import draw_pose

    counts = draw_pose(
        args.root, splits=args.splits, workers=args.workers, overwrite=args.overwrite
    )
    for split, count in counts.items():
        print(f"{split}: heatmaps and segments of {count} images")
    return 0


def run_prepare_veri(args: argparse.Namespace) -> int:
    """``mtn prepare-veri``."""
    from mtn_core.data.prepare.veri import prepare_veri

    report = prepare_veri(
        args.root,
        download=args.download,
        labels=args.labels,
        labels_only=args.labels_only,
        orientations=args.orientations,
        partial=args.partial,
        copy=args.copy,
        overwrite=args.overwrite,
    )
    print(report.to_text(limit=5), end="")
    if not args.labels_only:
        print(f"images were placed unopened; mtn check --root {args.root} opens them all")
    return 0


def run_prepare(args: argparse.Namespace) -> int:
    """``mtn prepare``."""
    from mtn_core.data.prepare.folder import prepare_folder

    report = prepare_folder(
        args.images,
        args.root,
        pattern=args.pattern,
        regex=args.regex,
        csv=args.csv,
        boxes=args.boxes,
        margin=args.margin,
        junk_ids=args.junk_ids,
        distractor_ids=args.distractor_ids,
        test_share=args.test_share,
        seed=args.seed,
        skip_bad=args.skip_bad,
        copy=args.copy,
        overwrite=args.overwrite,
    )
    print(report.to_text(), end="")
    return 0


def run_prepare_dataset(args: argparse.Namespace) -> int:
    """``mtn prepare-dataset``."""
    from mtn_core.data.prepare.dataset import prepare_dataset

    report = prepare_dataset(
        args.name,
        args.download,
        args.root,
        part=args.part,
        seed=args.seed,
        partial=args.partial,
        copy=args.copy,
        overwrite=args.overwrite,
    )
    print(report.to_text(), end="")
    return 0
