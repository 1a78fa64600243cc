"""``mtn report`` and ``mtn track2``: looking at saved runs.

A report never loads mindspore, be it of runs or of another program's embeddings.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mtn_core.commands.arguments import positive

if TYPE_CHECKING:
    from mtn_core.viz.crops import CropSource


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the commands of this module."""
    report = subparsers.add_parser(
        "report",
        group="analyse",
        help="one offline HTML report of runs, or of anybody's embeddings, side by side",
        description=(
            "Writes one HTML file that opens without a network: verdict, curves, rank lists, "
            "breakdowns, confusions; of one run, or of several side by side. MindSpore is not "
            "needed."
        ),
        example=(
            "mtn report runs/first --out reports/first.html",
            "mtn report --embeddings query.npz gallery.npz --images VeRi --out report.html",
        ),
    )
    report.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="run folder with results")
    report.add_argument(
        "--out", type=Path, required=True, metavar="FILE.html", help="page to write"
    )
    report.add_argument("--root", type=Path, help="data root to read crops from")
    report.add_argument(
        "--images",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders of pictures, searched by name, instead of a data root",
    )
    report.add_argument("--title", help="page title; by default it names the runs")
    report.add_argument("--top", type=positive, default=10, help="images in a rank list")
    report.add_argument(
        "--lists", type=positive, help="rank lists of the worst queries (default: 12)"
    )
    report.add_argument(
        "--attention",
        action="store_true",
        help="compute attention maps of the worst and best rank lists first (loads the network)",
    )
    report.add_argument("--ckpt_path", type=Path, help="for --attention of a single run")
    _add_embeddings(report)
    _add_overwrite(report)
    report.set_defaults(
        run=run_report,
        usage_error=report.error,
        next_step=lambda args: f"open {args.out} in a browser",
        kept=lambda args: f"{args.out} is what it was before; run it again",
    )

    track2 = subparsers.add_parser(
        "track2",
        group="analyse",
        help="rankings of a run on CityFlow's official queries, for the challenge",
        description=(
            "Writes the 100 nearest gallery images of each official query of CityFlow, in the form "
            "that track 2 of the AI City Challenge takes."
        ),
        example="mtn track2 runs/cityflow --out track2.txt",
    )
    track2.add_argument("run_dir", type=Path, metavar="RUN", help="run folder with results")
    track2.add_argument(
        "--out", type=Path, required=True, metavar="track2.txt", help="file to write"
    )
    track2.add_argument("--root", type=Path, help="data root, by default the run's")
    _add_overwrite(track2)
    track2.set_defaults(run=run_track2)


def _add_embeddings(report: argparse.ArgumentParser) -> None:
    group = report.add_argument_group("embeddings of any program, instead of or beside runs")
    group.add_argument(
        "--embeddings",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("QUERY", "GALLERY"),
        help=".npz files with features, pids, camids, names; or .npy files with --labels; repeated "
        "for another network on the same images",
    )
    group.add_argument(
        "--labels",
        type=Path,
        nargs=2,
        metavar=("QUERY.csv", "GALLERY.csv"),
        help="a row an image, with the columns name, pid, camid, color_id, type_id (pid alone must "
        "be there)",
    )
    group.add_argument("--names", nargs="+", metavar="NAME", help="of each network, for the page")
    group.add_argument(
        "--metric", choices=("euclidean", "cosine"), help="distance (default: euclidean)"
    )
    group.add_argument(
        "--run_out", type=Path, metavar="DIR", help="keep the results as run folders DIR/NAME"
    )


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a file that this command did not write (never one of a run, or an image)",
    )


def run_report(args: argparse.Namespace) -> int:
    """Write a report and say where it is."""
    from mtn_core.errors import ConfigError
    from mtn_core.report import write_report
    from mtn_core.report.embeddings import find_pictures
    from mtn_core.report.outputs import check_output, is_own_page

    if not args.runs and not args.embeddings:
        args.usage_error("give a run folder, or --embeddings QUERY GALLERY")
    if args.ckpt_path and (not args.attention or len(args.runs) > 1):
        raise ConfigError("--ckpt_path goes with --attention and a single run")
    check_output(args.out, is_own=is_own_page, overwrite=args.overwrite)
    if args.attention and args.embeddings:
        raise ConfigError("--attention needs the network of a run; embeddings have none")
    crops = find_pictures(args.root, args.images)
    if args.attention:
        _write_attention(args)
    with _embeddings_as_runs(args, crops) as runs:
        path = write_report(
            [*args.runs, *runs],
            args.out,
            root=args.root,
            images=args.images or (),
            title=args.title,
            top_k=args.top,
            num_lists=args.lists,
        )
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


@contextlib.contextmanager
def _embeddings_as_runs(
    args: argparse.Namespace, crops: "CropSource | None"
) -> Iterator[list[Path]]:
    """Run folders of what ``--embeddings`` names; temporary ones without ``--run_out``."""
    from mtn_core.errors import ConfigError
    from mtn_core.report.embeddings import write_embeddings_runs
    from mtn_core.results.foreign import EmbeddingFiles, name_networks

    if not args.embeddings:
        for flag in ("labels", "names", "metric", "run_out"):
            if getattr(args, flag) is not None:
                raise ConfigError(f"--{flag} goes with --embeddings")
        yield []
        return
    files = [EmbeddingFiles(*pair, *(args.labels or ())) for pair in args.embeddings]
    with contextlib.ExitStack() as stack:
        folder = args.run_out
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtn-report-")))
        runs = write_embeddings_runs(
            dict(zip(name_networks(files, args.names), files, strict=True)),
            folder,
            metric=args.metric or "euclidean",
            crops=crops,
            beside=args.runs,
            overwrite=args.overwrite,
        )
        if args.run_out is not None:
            print(f"results: {', '.join(map(str, runs))}")
        yield runs


def _write_attention(args: argparse.Namespace) -> None:
    from mtn_core.device import setup_device
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.predict.attention import write_run_attention
    from mtn_core.predict.crop import find_checkpoint

    setup_device("CPU")
    for run in args.runs:
        checkpoint = load_checkpoint(args.ckpt_path or find_checkpoint(run))
        print(f"attention maps: {write_run_attention(run, checkpoint, root=args.root)}")


def run_track2(args: argparse.Namespace) -> int:
    """``mtn track2``."""
    from mtn_core.data.prepare.writing import NAMES_NAME
    from mtn_core.errors import DataError
    from mtn_core.report.outputs import check_output
    from mtn_core.results import RetrievalResult
    from mtn_core.results.challenge import write_track2
    from mtn_core.runs import RunFolder

    check_output(args.out, is_own=lambda path: False, overwrite=args.overwrite)
    result = RetrievalResult.load(args.run_dir)
    roots = [args.root] if args.root else RunFolder(args.run_dir).data_roots()
    names = [Path(root) / "veri" / NAMES_NAME for root in roots]
    found = next((path for path in names if path.is_file()), None)
    if found is None:
        raise DataError(f"no {NAMES_NAME} in the data root of {args.run_dir}; give --root")
    metric = result.protocol["metric"]
    count = write_track2(args.out, result.query, result.gallery, found, metric=metric)
    print(f"{args.out}: {count} lines of at most 100 images")
    return 0
