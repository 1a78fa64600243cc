"""What an image costs in every back end: MindSpore graph, MINDIR, onnxruntime, Lite C++.

python scripts/bench_inference.py [--image_size 256] [--batches 1 8 32] [--out FILE.json]

Times are those of the model alone on a batch in memory, wall clock, after warm-up. Without
--ckpt_path the network has random weights, which cost the same. The Lite C++ program is measured
where it can be built; otherwise the table says why it is missing.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from mtn_core.commands.arguments import add_maps
from mtn_core.files import write_json
from mtn_core.provenance import describe_environment

REPOSITORY = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt_path", type=Path, help="checkpoint; random weights without it")
    parser.add_argument("--image_size", type=int, default=256, help="of random weights")
    add_maps(parser)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=3.0, help="a turn; each row has three")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    return parser.parse_args()


def random_checkpoint(args: argparse.Namespace, folder: Path) -> Path:
    from mtn_core.config import ModelConfig
    from mtn_core.models.checkpoint import network_weights, save_checkpoint
    from mtn_core.models.multitask import MultiTaskNet

    config = ModelConfig(
        image_size=args.image_size,
        heatmaps=bool(args.heatmapaware),
        segments=args.segmentaware is not False,
        num_ids=575,
    )
    meta = {"kind": "multitask", "model": config.model_dump(mode="json"), "pids": list(range(575))}
    save_checkpoint(folder / "random.ckpt", network_weights(MultiTaskNet(config)), meta)
    return folder / "random.ckpt"


def measure_all(args: argparse.Namespace, folder: Path) -> list:
    import mindspore as ms
    import onnx

    from mtn_core.device import setup_device
    from mtn_core.export import bench, onnx_graph, onnx_precision
    from mtn_core.export.exporter import export_checkpoint
    from mtn_core.export.mindspore_graphs import MindirModel
    from mtn_core.export.parity import sample_batch
    from mtn_core.export.program import Programs, missing_requirements
    from mtn_core.models.checkpoint import create_network, load_checkpoint
    from mtn_core.predict.host_input import model_inputs
    from mtn_core.predict.onnx import OnnxModel

    device = setup_device("CPU")
    path = args.ckpt_path or random_checkpoint(args, folder)
    checkpoint = load_checkpoint(path)
    spec = export_checkpoint(checkpoint, folder / "export", ["MINDIR", "ONNX"], device)
    stem = folder / "export" / spec.name
    plain = onnx.load(f"{stem}.onnx")
    # The scales of int8 do not change its speed, so one random batch is calibration enough.
    calibration = [model_inputs(sample_batch(spec, count=1), spec, pixels=False)]
    int8 = folder / "int8.onnx"
    onnx_graph.save(onnx_precision.to_int8(plain, calibration), int8)
    network = create_network(checkpoint)
    mindir = MindirModel(Path(f"{stem}.mindir"))
    models = {"onnxruntime float32": OnnxModel(f"{stem}.onnx"), "onnxruntime int8": OnnxModel(int8)}
    source = REPOSITORY / "ascend_310_infer"
    missing = missing_requirements(source)
    programs = None if missing else Programs.build(source)
    if missing:
        print(f"Lite C++ is not measured: {'; '.join(missing)}", file=sys.stderr)

    rows = []
    for batch in args.batches:
        inputs = model_inputs(sample_batch(spec, count=batch), spec, pixels=False)
        tensors = [ms.Tensor(inputs[name]) for name in ("image", "keypoints")]
        runs = {
            "MindSpore graph": lambda t=tensors: [o.asnumpy() for o in network(*t)],
            "MINDIR": lambda i=inputs: mindir.run(i),
            **{n: lambda m=m, i=inputs: m.predict(i) for n, m in models.items()},
        }
        rows += bench.measure(runs, batch, seconds=args.seconds)
        if programs:
            calls = max(10, int(3 * args.seconds * rows[-2].images_per_s / batch))
            work = folder / f"lite{batch}"
            rows.append(bench.measure_program(programs, f"{stem}.onnx", inputs, work, calls=calls))
        for row in rows[-len(runs) - bool(programs) :]:
            print(format_row(row), flush=True)
    return rows


def format_row(row) -> str:
    return (
        f"| {row.backend} | {row.batch} | {row.images_per_s:.1f} | {row.p50_ms:.1f} | "
        f"{row.p95_ms:.1f} |"
    )


def main() -> int:
    args = parse_arguments()
    print("| back end | batch | images a second | p50 ms | p95 ms |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mtn-bench-") as folder:
        rows = measure_all(args, Path(folder))
    if args.out:
        write_json(
            args.out,
            {"environment": describe_environment(), "rows": [row.to_dict() for row in rows]},
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
