"""`mtn doctor`: what this machine has and misses, and the command that mends it."""

import argparse
import json
import sys


def register(subparsers) -> None:
    """Add ``doctor``."""
    parser = subparsers.add_parser(
        "doctor",
        group="run",
        help="what this machine has and misses, and what mends it",
        description=(
            "Looks at Python, BLAS, MindSpore, CPU, GPU, Ascend, ONNX Runtime, torch, the C++ "
            "tools, MindSpore Lite and Chromium. Exit code 1 when a device that is asked for by "
            "--device_target cannot be used."
        ),
        example="mtn doctor --device_target GPU",
    )
    parser.add_argument(
        "--device_target", choices=("CPU", "GPU", "Ascend"), help="device that must be usable"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run_doctor, kept=lambda args: "nothing was changed")


def run_doctor(args: argparse.Namespace) -> int:
    """Handle `mtn doctor`."""
    from mtn_core.doctor.examine import examine, missing_for, to_json, to_text

    target = args.device_target
    findings = examine(target)
    if args.json:
        print(json.dumps(to_json(findings, target), indent=2))
    else:
        print(to_text(findings))
    missing = missing_for(target, findings) if target else []
    if missing:
        parts = ", ".join(finding.part for finding in missing)
        print(f"{target} was asked for and cannot be used; missing: {parts}", file=sys.stderr)
    return 1 if missing else 0
