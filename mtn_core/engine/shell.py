"""The training that commands and notebooks call, whatever network is trained."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from mtn_core.config import Schema
from mtn_core.device import Device
from mtn_core.engine.task import TrainTask
from mtn_core.engine.train import Progress, TrainingLoop
from mtn_core.errors import ConfigError
from mtn_core.pixel_limit import limited_pixels
from mtn_core.provenance import describe_environment
from mtn_core.runs import RunFolder


def train_into_run(
    create_task: Callable[[Schema], TrainTask],
    config: Schema,
    out: str | Path,
    device: Device,
    *,
    roots: Sequence[str | Path],
    from_data: Sequence[str] = (),
    pre_ckpt_path: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    echo: Callable[[str], None] | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> Progress:
    """Build a task, claim the run folder, write the context, train.

    Everything that can be refused is refused before the folder is touched.

    Args:
        create_task: Builds network, loss, data and evaluation from the configuration.
        config: Resolved configuration.
        out: Run folder.
        device: From :func:`mtn_core.device.setup_device`.
        roots: Where the data lies, for ``config.yaml``; paths are made absolute.
        from_data: Dotted keys of the configuration that the task finds out from its data.
        pre_ckpt_path: Weights that ``create_task`` starts from, for ``config.yaml``.
        resume: Go on with the run in ``out``.
        overwrite: Replace a run that is there.
        echo: Receives the seed's line at the end of every epoch.
        on_epoch: Called with the epoch's number after its log and checkpoint are written.

    Raises:
        ConfigError: Both ``resume`` and ``overwrite``, or another configuration than the run's.
        RunFolderError: ``out`` holds a run, or has none to resume.
        CheckpointError: ``resume`` without a checkpoint that fits.
        TrainingDivergedError: See :class:`mtn_core.engine.train.TrainingLoop`.
    """
    if resume and overwrite:
        raise ConfigError(
            f"--resume goes on with the run in {out}, --overwrite would replace it; give one"
        )
    run = RunFolder(out)
    starts = device.is_main and not resume
    if resume:
        config = run.read_resumed_config(config, from_data)
    elif device.is_main:
        run.check_free(overwrite=overwrite)
        run.check_not_source(pre_ckpt_path, "--pre_ckpt_path")
    task = create_task(config)
    loop = TrainingLoop(task, task.config, run, device, echo, on_epoch)
    with contextlib.ExitStack() as stack:
        stack.enter_context(limited_pixels(task.config.data.max_pixels))
        stack.callback(loop.close)
        if device.is_main and resume:
            stack.enter_context(run.locked())
            run.update_config(task.config)
        if starts:
            stack.enter_context(run.replaced_by_training(overwrite=overwrite))
            run.write_context(
                task.config,
                describe_environment(**device.to_dict()),
                command=config.command,
                root=list(roots) if len(roots) > 1 else roots[0],
                device_target=device.target,
                rank_size=device.rank_size,
                pre_ckpt_path=pre_ckpt_path,
            )
        return loop.run(resume)
