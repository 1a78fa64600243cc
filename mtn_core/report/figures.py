"""The figures of a report, each with its caption and alternative text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from mtn_core.metrics.breakdown import rank_hits
from mtn_core.metrics.statistics import bootstrap_means
from mtn_core.report.page import format_percent
from mtn_core.report.published import list_published
from mtn_core.report.sources import RunSource
from mtn_core.report.svg import draw_svg
from mtn_core.results import RetrievalResult
from mtn_core.viz import retrieval, training

_NUM_DRAWS = 500
_PUBLISHED = " Dotted: the mAP that others have published on the same images."


@dataclass(frozen=True)
class PageFigure:
    """An inline drawing and what is written below it."""

    svg: Markup
    caption: str
    name: str = ""  # of the file that it is downloaded as


def make_figure(
    key: str,
    description: str,
    draw: Callable[[Axes], Axes],
    *,
    caption: str = "",
    size: tuple[float, float] = (6.0, 3.6),
) -> PageFigure:
    """Draw one figure, see :func:`mtn_core.report.svg.draw_svg`."""
    return PageFigure(draw_svg(key, description, draw, size=size), caption, key)


def draw_retrieval_curves(runs: Sequence[RunSource]) -> list[PageFigure]:
    """CMC, average precision and rank of the first match of all runs."""
    results = {run.label: run.result for run in runs}
    bands = {name: measure_cmc_band(result) for name, result in results.items()}
    ranks = "; ".join(
        f"{name}: Rank-1 {format_percent(result.cmc[0])}, mAP {format_percent(result.mAP)}"
        for name, result in results.items()
    )
    published = {one.name: one.numbers["mAP"] for one in list_published(runs[0].result)}
    figures = [
        make_figure(
            "cmc",
            f"CMC curve. {ranks}",
            lambda ax: retrieval.plot_cmc(ax, results, bands=bands),
            caption="Share of the queries that have a true match at this rank or before it. The "
            "band is the 95 % interval over vehicles.",
        ),
        make_figure(
            "ap",
            f"Histogram of the average precision over the queries. {ranks}",
            lambda ax: retrieval.plot_ap_histogram(ax, results, references=published),
            caption="Left: queries that fail. Right: queries that are solved. The dashed line is "
            "their mean, the mAP." + (_PUBLISHED if published else ""),
        ),
    ]
    if len(runs) == 1:
        first = runs[0].result.per_query["first_match_rank"].to_numpy()
        figures.append(
            make_figure(
                "first",
                f"Bar chart of the rank of the first true match of {len(first)} queries",
                lambda ax: retrieval.plot_first_match_histogram(ax, first),
                caption="How far down the list the vehicle appears for the first time.",
            )
        )
    return figures


def measure_cmc_band(result: RetrievalResult) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of every point of the CMC curve, vehicles drawn: low and high ends."""
    per_query = result.per_query
    columns = {str(k): rank_hits(per_query, k) for k in range(1, len(result.cmc) + 1)}
    found = bootstrap_means(columns, per_query["pid"].to_numpy(), num_draws=_NUM_DRAWS)
    ends = np.array([(interval.low, interval.high) for interval in found.values()])
    return ends[:, 0], ends[:, 1]


def draw_training(runs: Sequence[RunSource]) -> list[PageFigure]:
    """Loss, learning rate, speed and validation of the runs that were trained here."""
    trained = [(run, run.train) for run in runs if run.train is not None]
    if not trained:
        return []
    if len(trained) > 1:
        frames = {run.label: train for run, train in trained}
        return [
            make_figure(
                "loss",
                f"Loss over the steps of {len(frames)} runs",
                lambda ax: training.plot_loss_comparison(ax, frames),
                caption="Running median of the weighted sum of all losses.",
            )
        ]
    run, train = trained[0]
    validation = run.validation
    figures = [
        make_figure(
            "loss",
            f"Loss and its parts over {len(train)} training steps",
            lambda ax: training.plot_training_curves(ax, train, title=run.label),
            caption="Strong: running median. Faint: as measured.",
        )
    ]
    if validation is not None and "score" in validation:
        figures.append(
            make_figure(
                "validation",
                "Scores of the evaluations during training, by epoch",
                lambda ax: training.plot_validation(ax, validation),
                caption="Evaluations during training; the best epoch is kept as best.ckpt.",
            )
        )
    if {"positive_distance", "negative_distance"} <= set(train.columns):
        figures.append(
            make_figure(
                "distances",
                "Distances of the hardest pairs of each batch over the steps",
                lambda ax: training.plot_distances(ax, train),
                caption="Learning pulls the lines apart: the solid one should fall below the "
                "dashed one.",
            )
        )
    if "active_triplets" in train:
        figures.append(
            make_figure(
                "triplets",
                "Share of anchors whose triplet still has a loss, over the steps",
                lambda ax: training.plot_triplets(ax, train),
                caption="Near zero, the triplet loss has nothing left to teach.",
            )
        )
    if "lr" in train:
        figures.append(
            make_figure(
                "lr",
                "Learning rate over the steps",
                lambda ax: training.plot_learning_rate(ax, train),
                size=(6.0, 2.6),
            )
        )
    if "images_per_s" in train:
        figures.append(
            make_figure(
                "speed",
                "Training speed in images per second over the steps",
                lambda ax: training.plot_throughput(ax, train),
                size=(6.0, 2.6),
            )
        )
    return figures
