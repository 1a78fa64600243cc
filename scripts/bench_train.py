"""What a training step costs beside the network: a table, and one JSON line.

    python scripts/bench_train.py
    python scripts/bench_train.py --root data/synthveri-demo --sizes 64 --inputs segments --steps 30

For every input (RGB, segments, heatmaps) and image size, in a process of its own: the training loop
as `mtn train` runs it, with data, logs, progress bar and checkpoint, against the same step on one
fixed batch. The overhead is what the loop takes longer, a step, with the checkpoint at the end of
an epoch shared out over the epoch's steps. Without `--root` it works on SynthVeRi `smoke`, which it
writes and packs in a temporary folder.

    python scripts/bench_train.py --root data/synthveri-demo --pieces --recipe seed --sizes 64

takes the step apart instead: the same network and batch through a step that grows piece by piece,
all in one process and turn about, so that whatever else the machine does hits all alike. Ratios to
`gradient, Adam`, the least that trains, or to the first piece where that is not asked for, are the
result; the processor's time (`cpu_ms`) is steadier than the clock.
"""

import argparse
import contextlib
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

INPUTS = {"RGB": (False, False), "segments": (False, True), "heatmaps": (True, False)}
TARGET_OVERHEAD = 0.10
# The first steps of a graph take up to twice as long, while the runtime tries its kernels.
WARM_UP = 5


class FewBatches:
    """The first batches of every epoch of a loader."""

    def __init__(self, loader, steps: int):
        self.loader = loader
        self.steps = steps
        self.given: list[float] = []  # when

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose the epoch."""
        self.loader.set_epoch(epoch, start_step)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self):
        for batch in itertools.islice(self.loader, self.steps):
            self.given.append(time.perf_counter())
            yield batch

    def close(self) -> None:
        """Stop the workers."""
        self.loader.close()


def settings(inputs: str, size: int, args: argparse.Namespace) -> dict:
    """Overrides of the recipe: what the network sees, and how many images at a time."""
    heatmaps, segments = INPUTS[inputs]
    return {
        "model.heatmaps": heatmaps,
        "model.segments": segments,
        "model.keypoints": inputs != "RGB",
        "model.image_size": size,
        "data.ids_per_batch": args.batch // 4,
        "data.images_per_id": 4,
        "train.eval_every": 0,
    }


def measure(root: Path, inputs: str, size: int, args: argparse.Namespace) -> dict:
    """One row: seconds a step in the loop and bare, and the process's peak memory."""
    from mtn_core.config import load_config
    from mtn_core.device import setup_device
    from mtn_core.engine.multitask import MultiTaskTask, open_training
    from mtn_core.engine.optim import learning_rates
    from mtn_core.engine.step import TrainStep
    from mtn_core.engine.train import TrainingLoop
    from mtn_core.runs import RunFolder

    overrides = {**settings(inputs, size, args), "train.epochs": 1}
    config = load_config(args.recipe, overrides)
    device = setup_device("CPU")
    task = MultiTaskTask(config, open_training([root], config), None, device)
    steps_per_epoch = len(task.loader)
    task.loader.set_epoch(0)
    fixed = task.inputs(next(iter(task.loader)))

    step = TrainStep(
        task.forward,
        task.network,
        task.backbone_parameters(),
        config.optim,
        learning_rates(config.optim, WARM_UP + 2 * args.steps, 1),
        WARM_UP + 2 * args.steps,
    )

    def bare(first: int, steps: int) -> list[float]:
        seconds = []
        for i in range(first, first + steps):
            started = time.perf_counter()
            step.run(fixed, i)
            seconds.append(time.perf_counter() - started)
        return seconds

    compiled = bare(0, WARM_UP)
    # Before the loop and after it: a machine that others use too drifts within minutes.
    bare_seconds = bare(WARM_UP, args.steps)
    task.loader = FewBatches(task.loader, WARM_UP + args.steps + 1)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        with contextlib.closing(TrainingLoop(task, task.config, run, device)) as loop:
            loop.run()
        log = run.read_train_log()
        # The last step's end is not seen from outside: the loop's periods are those between steps.
        periods = np.diff(task.loader.given[WARM_UP:])
        save_s = _time_save(task, step, Path(folder))
    bare_s = float(np.mean(bare_seconds + bare(WARM_UP + args.steps, args.steps)))
    loop_s = float(np.mean(periods)) + save_s / steps_per_epoch
    return {
        "inputs": inputs,
        "size": size,
        "batch": args.batch,
        "compile_s": round(compiled[0] - bare_s, 1),
        "bare_ms": round(1e3 * bare_s, 1),
        "loop_ms": round(1e3 * loop_s, 1),
        "data_wait_ms": round(float(log["data_wait_ms"][WARM_UP:].mean()), 2),
        "overhead": round(loop_s / bare_s - 1, 4),
        "images_per_s": round(args.batch / loop_s, 2),
        "steps_timed": len(periods),
        "slowest_step": round(float(max(periods) / np.median(periods)), 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


# The last two are the training's step, as it is and with the update in the gradients' graph.
PIECES = ("forward", "gradient", "gradient, Adam", "two graphs", "one graph")


def measure_pieces(root: Path, inputs: str, size: int, args: argparse.Namespace) -> list[dict]:
    """A row a piece: medians over ``args.steps`` rounds in which each has one turn."""
    import mindspore as ms
    from mindspore import nn

    from mtn_core.config import load_config
    from mtn_core.device import setup_device
    from mtn_core.engine.multitask import MultiTaskTask, open_training
    from mtn_core.engine.step import GradientCell, TrainStep

    overrides = settings(inputs, size, args)
    config = load_config(args.recipe, overrides)
    device = setup_device("CPU")
    source = open_training([root], config)
    rates = np.full(WARM_UP + args.steps, config.optim.learning_rate, np.float32)

    class PlainStep(nn.Cell):
        """Gradients and ``nn.Adam``: no norm, no decay, no test."""

        def __init__(self, forward, weights):
            super().__init__(auto_prefix=False)
            self.gradient = ms.value_and_grad(forward, None, ms.ParameterTuple(weights), True)
            self.adam = nn.Adam(weights, config.optim.learning_rate)

        def construct(self, *batch):
            (loss, parts), gradients = self.gradient(*batch)
            return ms.ops.depend(loss, self.adam(gradients)), parts

    def create(piece: str, task: MultiTaskTask):
        weights = list(task.network.trainable_params())
        if piece in ("one graph", "two graphs"):
            backbone = task.backbone_parameters()
            step = TrainStep(task.forward, task.network, backbone, config.optim, rates, len(rates))
            if piece == "one graph":
                step.use_one_graph()
            return step.run
        if piece == "forward":
            cell = task.forward
        elif piece == "gradient":
            cell = GradientCell(task.forward, weights, False, scaled=False)
        else:
            cell = PlainStep(task.forward, weights)
        cell.set_train()
        first = (ms.Tensor(1.0, ms.float32),) if piece == "gradient" else ()

        def run(batch, _):
            loss, *_ = cell(*first, *(ms.Tensor.from_numpy(array) for array in batch))
            return loss.asnumpy()

        return run

    runs = {}
    for piece in args.pieces or PIECES:
        task = MultiTaskTask(config, source, None, device)
        if not runs:
            task.loader.set_epoch(0)
            fixed = [np.ascontiguousarray(a) for a in task.inputs(next(iter(task.loader)))]
        task.loader.close()
        runs[piece] = create(piece, task)
    taken: dict[str, list[tuple[float, float]]] = {piece: [] for piece in runs}
    for i in range(WARM_UP + args.steps):
        for piece, run in runs.items():
            clock, processor = time.perf_counter(), time.process_time()
            run(fixed, i)
            taken[piece].append((time.perf_counter() - clock, time.process_time() - processor))
    rows = []
    for piece, seconds in taken.items():
        clock, processor = 1e3 * np.median(seconds[WARM_UP:], axis=0)
        rows.append({"piece": piece, "ms": clock, "cpu_ms": processor})
    least = dict(next((row for row in rows if row["piece"] == "gradient, Adam"), rows[0]))
    for row in rows:
        for key in ("ms", "cpu_ms"):
            row[f"{key}_ratio"] = round(row[key] / least[key], 3)
            row[key] = round(row[key], 1)
    return rows


def _time_save(task, step, folder: Path) -> float:
    from mtn_core.models.checkpoint import network_weights, save_checkpoint

    started = time.perf_counter()
    save_checkpoint(folder / "timed.ckpt", network_weights(task.network), task.meta(), step.state())
    return time.perf_counter() - started


def write_data(root: Path) -> Path:
    """SynthVeRi `smoke`, packed."""
    from mtn_core.data.packs.write import pack_dataset
    from mtn_core.synthveri import write_synthveri

    write_synthveri(root, size="smoke", seed=0)
    pack_dataset(root, splits=["train"])
    return root


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="the folder that holds veri/")
    parser.add_argument("--recipe", default="strong")
    parser.add_argument("--inputs", nargs="+", default=list(INPUTS), choices=list(INPUTS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument(
        "--pieces", nargs="*", choices=PIECES, help="take the step apart instead: all, or some"
    )
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.root, args.inputs[0], args.sizes[0], args)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = args.root or write_data(Path(folder) / "data")
        if args.pieces is not None:
            rows = measure_pieces(root, args.inputs[0], args.sizes[0], args)
            print(pd.DataFrame(rows).to_string(index=False))
            print(json.dumps({"recipe": args.recipe, "steps": args.steps, "rows": rows}))
            return 0
        rows = [
            in_process(root, inputs, size, args) for size in args.sizes for inputs in args.inputs
        ]
    print(pd.DataFrame(rows).to_string(index=False))
    worst = max(row["overhead"] for row in rows)
    met = worst <= TARGET_OVERHEAD
    print(
        f"largest overhead {worst:.1%}, target {TARGET_OVERHEAD:.0%}: {'met' if met else 'MISSED'}"
    )
    print(json.dumps({"recipe": args.recipe, "steps": args.steps, "rows": rows}))
    return 0


def in_process(root: Path, inputs: str, size: int, args: argparse.Namespace) -> dict:
    """A fresh process a row: the peak memory is its own."""
    command = [sys.executable, __file__, "--one", "--root", str(root), "--recipe", args.recipe]
    command += ["--inputs", inputs, "--sizes", str(size)]
    command += ["--batch", str(args.batch), "--steps", str(args.steps)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{inputs} at {size} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
