"""``mtn convert``: pretrained weights to a checkpoint of this package."""

import argparse
from pathlib import Path

from mtn_core.commands.arguments import mtn

DEFAULT_OUT = Path("MultiTask_pretrained.ckpt")


def register(subparsers) -> None:
    """Add ``convert``."""
    parser = subparsers.add_parser(
        "convert",
        group="train",
        help="pretrained PyTorch or MindCV weights to a checkpoint",
        description=(
            "Converts torchvision's or MindCV's DenseNet-121, an HRNet (of ImageNet, COCO or "
            "PAMTRI), or a model trained with PAMTRI's PyTorch code, to a checkpoint for "
            "--pre_ckpt_path. A .pth file is read as weights only: nothing else that it may hold "
            "is run."
        ),
        example="mtn convert --pth_path densenet121-a639ec97.pth",
    )
    parser.add_argument(
        "--pth_path",
        type=Path,
        required=True,
        help=".pth, .pth.tar, .pt, .safetensors or MindCV's .ckpt file",
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="checkpoint to write")
    parser.add_argument("--overwrite", action="store_true", help="replace converted weights")
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
        train = ["train-pose", "--root", "data", "--out", "runs/pose"]
    else:
        conversion = convert_state_dict(arrays, args.pth_path.name)
        save_converted(conversion, args.out, args.pth_path)
        print(conversion.report.to_text())
        train = ["train", "--root", "data", "--out", "runs/first", "--recipe", "strong"]
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB)")
    args.next_step = lambda args: mtn(*train, "--pre_ckpt_path", args.out)
    return 0
