"""Curves that are redrawn while a training runs, and stay as one figure afterwards."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mtn_core.runs import RunFolder
from mtn_core.viz.style import use_style
from mtn_core.viz.training import plot_training_curves, plot_validation

LOSS_COLUMNS = ("loss", "loss_id", "loss_triplet", "loss_color", "loss_type")


def draw_progress(run_dir: str | Path) -> Figure:
    """The loss and its parts, and the validation scores, of a run as it stands now."""
    run = RunFolder(run_dir)
    frame, scores = run.read_train_log(), run.read_validation_log()
    with use_style():
        fig, axes = plt.subplots(1, 2, figsize=(11, 3.6))
        if len(frame):
            columns = [c for c in LOSS_COLUMNS if c in frame]
            plot_training_curves(axes[0], frame, columns, title=run.path.name)
        if len(scores):
            plot_validation(axes[1], scores, title=run.path.name)
        else:
            axes[1].set_axis_off()
            axes[1].set_title("no evaluation yet")
    return fig


def live_curves(run_dir: str | Path) -> Callable[[int], None]:
    """A callback for the training loop that redraws one notebook output after every epoch."""
    from IPython.display import display

    handle = display(display_id=True)

    def redraw(epoch: int) -> None:
        fig = draw_progress(run_dir)
        if handle is not None:
            handle.update(fig)
        plt.close(fig)

    return redraw
