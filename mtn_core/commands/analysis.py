"""``mtn report`` and ``mtn search``: looking at saved runs; neither loads mindspore to report."""

import argparse
from pathlib import Path


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the commands of this module."""
    report = subparsers.add_parser("report", help="one offline HTML report of runs, side by side")
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder with results")
    report.add_argument("--out", type=Path, required=True, metavar="FILE.html")
    report.add_argument("--root", type=Path, help="data root to read crops from")
    report.add_argument("--title", help="page title; by default it names the runs")
    report.add_argument("--top", type=int, default=10, help="images in a rank list (10)")
    report.set_defaults(run=run_report)


def run_report(args: argparse.Namespace) -> int:
    """Write a report and say where it is."""
    from mtn_core.report import write_report

    path = write_report(args.runs, args.out, root=args.root, title=args.title, top_k=args.top)
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
