"""``mtn convert``: pretrained weights to a checkpoint of this package."""

import argparse
from pathlib import Path

DEFAULT_OUT = Path("MultiTask_pretrained.ckpt")


def register(subparsers) -> None:
    """Add ``convert``."""
    parser = subparsers.add_parser(
        "convert",
        help="pretrained PyTorch or MindCV weights to a checkpoint",
        description=(
            "Converts torchvision's or MindCV's DenseNet-121, an HRNet (of ImageNet, COCO or "
            "PAMTRI), or a model trained with PAMTRI's PyTorch code, to a checkpoint for "
            "--pre_ckpt_path. A .pth file is read as weights only: nothing else that it may hold "
            "is run."
        ),
    )
    parser.add_argument(
        "--pth_path",
        type=Path,
        required=True,
        help=".pth, .pth.tar, .pt, .safetensors or MindCV's .ckpt file",
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="checkpoint to write (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing checkpoint")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from mtn_core.convert.multitask import check_out, convert_state_dict, save_converted
    from mtn_core.convert.read import read_state_dict
    from mtn_core.pose.convert import (
        convert_pose_state_dict,
        is_posenet,
        save_converted_pose,
    )

    check_out(args.out, overwrite=args.overwrite)
    arrays = read_state_dict(args.pth_path)
    if is_posenet(arrays):
        pose = convert_pose_state_dict(arrays, args.pth_path.name)
        save_converted_pose(pose, args.out, args.pth_path)
        print(pose.report.to_text())
    else:
        conversion = convert_state_dict(arrays, args.pth_path.name)
        save_converted(conversion, args.out, args.pth_path)
        print(conversion.report.to_text())
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB)")
    return 0
