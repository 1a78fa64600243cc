"""Curves that are redrawn while a training runs, and stay as one figure afterwards."""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from mtn_core.viz.style import use_style
from mtn_core.viz.training import plot_training_curves, plot_validation, read_train_csv

LOSS_COLUMNS = ("loss", "loss_id", "loss_triplet", "loss_color", "loss_type")


def draw_progress(run_dir: str | Path) -> Figure:
    """The loss and its parts, and the validation scores, of a run as it stands now."""
    run_dir = Path(run_dir)
    frame = read_train_csv(run_dir)
    validation = run_dir / "validation.csv"
    scores = pd.read_csv(validation) if validation.is_file() else pd.DataFrame()
    with use_style():
        fig, axes = plt.subplots(1, 2, figsize=(11, 3.6))
        if frame is not None:
            columns = [c for c in LOSS_COLUMNS if c in frame]
            plot_training_curves(axes[0], frame, columns, title=run_dir.name)
        if len(scores):
            plot_validation(axes[1], scores, title=run_dir.name)
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
