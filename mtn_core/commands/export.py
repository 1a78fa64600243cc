"""`mtn export`, `eval-onnx`, `preprocess`, `postprocess` and `to-lite`."""

import argparse
from pathlib import Path

from mtn_core.commands.arguments import (
    add_batch_size,
    add_boolean,
    add_device,
    add_maps,
    add_out,
    add_root,
    mtn,
    positive,
)
from mtn_core.commands.train import report_next

FILE_FORMATS = ("MINDIR", "ONNX", "AIR")


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of this module's commands."""
    _register_export(subparsers)
    _register_eval_onnx(subparsers)
    _register_preprocess(subparsers)
    _register_postprocess(subparsers)
    _register_to_lite(subparsers)


def _register_export(subparsers) -> None:
    parser = subparsers.add_parser(
        "export",
        group="export",
        help="write MINDIR, ONNX or AIR files and prove that they compute the same",
        description=(
            "Exports a checkpoint, and lets the same batch go through the network and every file: "
            "a difference above 1e-4 is an error."
        ),
        example=(
            "mtn export --ckpt_path runs/first/ckpt/best.ckpt --out runs/first/export --pixels",
        ),
    )
    parser.add_argument(
        "--ckpt_path", type=Path, required=True, help="checkpoint of MultiTaskNet or PoseEstNet"
    )
    parser.add_argument(
        "--file_format",
        nargs="+",
        choices=FILE_FORMATS,
        default=["MINDIR", "ONNX"],
        metavar="FORMAT",
        help="some of MINDIR, ONNX, AIR",
    )
    add_out(parser, "folder for the files")
    parser.add_argument(
        "--root",
        type=Path,
        help="the folder that holds veri/: int8 is calibrated on its training split, and the mAP "
        "of float16 and int8 files is measured beside the float32 one",
    )
    add_maps(parser)
    add_device(parser)
    add_boolean(parser, "pixels", "also an ONNX file that takes uint8 pixels and maps", False)
    add_boolean(parser, "float16", "also an ONNX file in float16", False)
    add_boolean(parser, "int8", "also an ONNX file in int8; needs --root", False)
    add_batch_size(parser)
    parser.set_defaults(
        run=run_export,
        next_step=_export_next,
        kept=lambda args: f"{args.out} is what it was before; run it again",
    )


def _register_eval_onnx(subparsers) -> None:
    parser = subparsers.add_parser(
        "eval-onnx",
        group="export",
        help="evaluate an ONNX file through onnxruntime, print the result table",
        description="The evaluation of `mtn eval`, computed by ONNX Runtime, without MindSpore.",
        example=(
            "mtn eval-onnx --root data/cars --onnx_path runs/first/export/MODEL.onnx"
            " --out runs/first-onnx",
        ),
    )
    add_root(parser)
    parser.add_argument(
        "--onnx_path", type=Path, required=True, help="file that `mtn export` wrote"
    )
    add_out(parser)
    add_device(parser)
    add_maps(parser)
    add_batch_size(parser)
    parser.set_defaults(
        run=run_eval_onnx,
        next_step=report_next,
        kept=lambda args: f"{args.out} is what it was before; run it again",
    )


def _register_preprocess(subparsers) -> None:
    parser = subparsers.add_parser(
        "preprocess",
        group="export",
        help="write a data set as the files that the 310 program reads",
        description="The first step of inference on a 310; scripts/run_infer_310.sh does them all.",
        example=(
            "mtn preprocess --root data/cars --mindir_path MODEL.mindir --result_dir pre"
            " --label_dir labels",
        ),
    )
    parser.add_argument(
        "--root", "--data_dir", type=Path, required=True, help="the folder that holds veri/"
    )
    parser.add_argument(
        "--mindir_path", type=Path, required=True, help="exported model, or its model.json"
    )
    parser.add_argument("--result_dir", type=Path, required=True, help="folder for the .bin files")
    parser.add_argument("--label_dir", type=Path, required=True, help="folder for the labels")
    add_maps(parser)
    parser.add_argument(
        "--reuse", action="store_true", help="only check that the files there belong to the model"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the files there")
    parser.set_defaults(run=run_preprocess)


def _register_postprocess(subparsers) -> None:
    parser = subparsers.add_parser(
        "postprocess",
        group="export",
        help="evaluate the 310 program's files, print the result table",
        description="The last step of inference on a 310; scripts/run_infer_310.sh does them all.",
        example="mtn postprocess --result_dir result --label_dir labels --out runs/first-310",
    )
    parser.add_argument(
        "--result_dir", type=Path, required=True, help="folder that the program wrote"
    )
    parser.add_argument(
        "--label_dir", type=Path, required=True, help="folder of labels from preprocess"
    )
    parser.add_argument("--input_dir", type=Path, help="accepted as in the seed; not needed")
    parser.add_argument("--out", type=Path, help="run folder to write")
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that already holds results"
    )
    parser.set_defaults(run=run_postprocess, next_step=report_next)


def _register_to_lite(subparsers) -> None:
    parser = subparsers.add_parser(
        "to-lite",
        group="export",
        help="convert an exported ONNX file for MindSpore Lite's runtime",
        description=(
            "MindSpore Lite 2.0 reads MindIR of version 1 only, which MindSpore does not write any "
            "more: its own converter makes it from the ONNX file of the export."
        ),
        example=(
            "mtn to-lite --mindir_path MODEL.mindir --converter ascend_310_infer/out/convert"
            " --out lite.mindir",
        ),
    )
    parser.add_argument("--mindir_path", type=Path, required=True, help="exported .mindir or .onnx")
    parser.add_argument(
        "--converter",
        type=Path,
        required=True,
        help="ascend_310_infer/out/convert, or converter_lite of a Lite release",
    )
    parser.add_argument("--batch", type=positive, default=1, help="images a prediction")
    parser.add_argument("--out", type=Path, required=True, help=".mindir file to write")
    parser.set_defaults(run=run_to_lite)


def _export_next(args: argparse.Namespace) -> str | None:
    networks = [p for p in sorted(args.out.glob("MultiTask*.onnx")) if _is_plain(p.stem)]
    if not networks:
        return None
    root = args.root or "data"
    out = Path("runs") / f"{args.out.resolve().parent.name}-onnx"
    return mtn("eval-onnx", "--root", root, "--onnx_path", networks[0], "--out", out)


def _is_plain(stem: str) -> bool:
    return not any(word in stem for word in ("pixels", "float16", "int8"))


def refuse_other_flags(args: argparse.Namespace) -> None:
    """Flags of `mtn export` that mean nothing for PoseEstNet."""
    from mtn_core.errors import ConfigError

    flags = ("heatmapaware", "segmentaware", "pixels", "float16", "int8")
    given = [f"--{name}" for name in flags if getattr(args, name)]
    if given:
        raise ConfigError(f"{args.ckpt_path} is a PoseEstNet; {', '.join(given)} is not for it")


def run_export(args: argparse.Namespace) -> int:
    """Handle `mtn export`."""
    from importlib.util import find_spec

    from mtn_core.errors import MissingPackageError

    if find_spec("mindspore") is None:
        raise MissingPackageError(
            "mindspore is not installed, and a checkpoint can only be exported with it; install "
            "it with `pip install 'mtn_core[train,onnx]'`"
        )
    from mtn_core.device import setup_device
    from mtn_core.export.exporter import ExportOptions, export_checkpoint
    from mtn_core.models.checkpoint import load_checkpoint
    from mtn_core.pose.config import KIND
    from mtn_core.pose.export import export_pose

    device = setup_device(args.device_target, args.device_id)
    checkpoint = load_checkpoint(args.ckpt_path)
    if checkpoint.facts.kind == KIND:
        refuse_other_flags(args)
        export_pose(
            checkpoint,
            args.out,
            args.file_format,
            device,
            overwrite=args.overwrite,
            echo=lambda line: print(line, flush=True),
        )
        print(f"written: {args.out}")
        return 0
    options = ExportOptions(args.pixels, args.float16, args.int8, args.root, args.batch_size)
    export_checkpoint(
        checkpoint,
        args.out,
        args.file_format,
        device,
        options,
        heatmaps=args.heatmapaware,
        segments=args.segmentaware,
        overwrite=args.overwrite,
        echo=lambda line: print(line, flush=True),
    )
    print(f"written: {args.out}")
    return 0


def run_eval_onnx(args: argparse.Namespace) -> int:
    """Handle `mtn eval-onnx`."""
    from mtn_core.predict.backend import check_maps
    from mtn_core.predict.evaluate import evaluate_into_run, open_evaluation
    from mtn_core.predict.onnx import OnnxModel

    model = OnnxModel(args.onnx_path, device_target=args.device_target, device_id=args.device_id)
    check_maps(model.model, args.onnx_path, heatmaps=args.heatmapaware, segments=args.segmentaware)
    result = evaluate_into_run(
        model,
        open_evaluation(args.root, model.model),
        args.out,
        command="eval-onnx",
        checkpoint=args.onnx_path,
        device={"target": args.device_target, "device_id": args.device_id},
        overrides={"eval.batch_size": args.batch_size},
        overwrite=args.overwrite,
    )
    print(result.format_table())
    return 0


def run_preprocess(args: argparse.Namespace) -> int:
    """Handle `mtn preprocess`."""
    from mtn_core.export.preprocess import check_inputs, write_inputs
    from mtn_core.predict.backend import check_maps
    from mtn_core.predict.model_json import load_spec

    spec = load_spec(args.mindir_path)
    check_maps(
        spec.network, args.mindir_path, heatmaps=args.heatmapaware, segments=args.segmentaware
    )
    if args.reuse:
        counts = check_inputs(spec, args.root, args.result_dir, args.label_dir)
    else:
        counts = write_inputs(
            spec, args.root, args.result_dir, args.label_dir, overwrite=args.overwrite
        )
    for name, count in counts.items():
        print(f"{name}: {count} images in {args.result_dir / name}")
    return 0


def run_postprocess(args: argparse.Namespace) -> int:
    """Handle `mtn postprocess`."""
    from mtn_core.export.postprocess import evaluate_results, evaluate_results_into_run

    if args.out is None:
        result = evaluate_results(args.result_dir, args.label_dir)
    else:
        result = evaluate_results_into_run(
            args.result_dir, args.label_dir, args.out, overwrite=args.overwrite
        )
    print(result.format_table())
    return 0


def run_to_lite(args: argparse.Namespace) -> int:
    """Handle `mtn to-lite`."""
    from mtn_core.export.lite import convert_for_lite

    path = convert_for_lite(args.mindir_path, args.out, args.converter, batch=args.batch)
    print(f"written: {path}")
    return 0
