"""The summary of a search: a page, a table, and the best trial as a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mtn_core.config import Config, config_from_dict, to_yaml
from mtn_core.files import atomic_path, write_text
from mtn_core.report.figures import PageFigure, make_figure
from mtn_core.report.page import format_percent, render_page
from mtn_core.report.tables import Column, Table, number_cell, percent_cell, text_cell
from mtn_core.tune.study import Outcome
from mtn_core.viz.style import OKABE_ITO

PAGE, TABLE, RECIPE = "report.html", "trials.csv", "best.yaml"
_MARKS = {"complete": "o", "pruned": "x", "failed": "|", "running": "."}
_COLORS = {"complete": OKABE_ITO["blue"], "pruned": OKABE_ITO["vermilion"]}
_MOST_PARAMETERS = 8  # figures on the page


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The complete trial with the best score."""
    complete = [one for one in outcomes if one.score is not None]
    return max(complete, key=lambda one: one.score or 0.0, default=None)


def write_summary(
    folder: Path, outcomes: Sequence[Outcome], config: Config, roots: Sequence[str]
) -> Path:
    """Write ``report.html``, ``trials.csv``, and ``best.yaml`` where a trial is complete.

    Args:
        folder: Of the study.
        outcomes: All trials.
        config: The recipe that all share.
        roots: Where the data lies, for the page.

    Returns:
        The page.
    """
    best = best_of(outcomes)
    keys = list(dict.fromkeys(key for one in outcomes for key in one.values))
    with atomic_path(folder / TABLE) as temporary:
        _frame(outcomes, keys).to_csv(temporary, index=False)
    if best is not None:
        recipe = config_from_dict(config.model_dump(), best.values)
        write_text(folder / RECIPE, to_yaml(recipe))
    summary = {"kind": "search", "title": f"Search: {folder.name}"}
    summary |= {"mAP": best.score if best else None}  # type: ignore[dict-item]
    page = render_page(
        "tuning.html.j2",
        title=f"Search over recipes: {folder.name}",
        subtitle="Scores are mAP on vehicles held out of training, not on the test split",
        summary=summary,
        sentences=_verdict(outcomes, best),
        figures=_figures(outcomes, keys) if any(one.scores for one in outcomes) else [],
        table=_table(outcomes, keys),
        facts=[
            ("data", ", ".join(roots)),
            ("recipe", config.recipe),
            ("held out", str(config.data.val_ids)),
            ("seed of the training", str(config.train.seed)),
        ],
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _frame(outcomes: Sequence[Outcome], keys: Sequence[str]) -> pd.DataFrame:
    rows = []
    for one in outcomes:
        facts = {"trial": one.number, "outcome": one.outcome, "score": one.score}
        values = {key: one.values.get(key) for key in keys}
        rows.append({**facts, "epochs": max(one.scores, default=0), **values, "why": one.why})
    columns = ["trial", "outcome", "score", "epochs", *keys, "why"]
    return pd.DataFrame(rows, columns=columns)


def _verdict(outcomes: Sequence[Outcome], best: Outcome | None) -> list[str]:
    counts = {
        name: sum(one.outcome == name for one in outcomes)
        for name in ("complete", "pruned", "failed", "running")
    }
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    lines = [f"{len(outcomes)} trials: {told}." if outcomes else "No trial has begun."]
    if best is None:
        return lines
    complete = sorted((o.score for o in outcomes if o.score is not None), reverse=True)
    lines.insert(
        0,
        f"The best is trial {best.number} with mAP {format_percent(best.score)} on vehicles that "
        "were held out.",
    )
    if len(complete) > 1:
        lines.append(
            f"The second best has {format_percent(complete[1])}. The best of many trials owes "
            "a part to chance: train it again with other seeds before you rely on the difference."
        )
    lines.append(
        f"Its settings are in {RECIPE}, which mtn train --recipe takes; evaluate on the test once."
    )
    return lines


def _table(outcomes: Sequence[Outcome], keys: Sequence[str]) -> Table:
    columns = [Column("Trial", number=True), Column("Outcome", filter=True)]
    columns += [Column("mAP", number=True), Column("Epochs", number=True)]
    columns += [Column(_short(key, keys), number=_is_number(outcomes, key)) for key in keys]
    columns += [Column("Why it failed")] if any(one.why for one in outcomes) else []
    rows = []
    for one in sorted(outcomes, key=lambda one: (-(one.score or -1.0), one.number)):
        row = [number_cell(one.number, 0), text_cell(one.outcome)]
        row += [percent_cell(one.score), number_cell(max(one.scores, default=0), 0)]
        row += [text_cell(_in_words(one.values.get(key))) for key in keys]
        row += [text_cell(one.why or "–")] if len(columns) > len(row) else []
        rows.append(row)
    return Table(
        "Trials, the best first", columns, rows, note=f"The same table is in {TABLE}.", tall=True
    )


def _figures(outcomes: Sequence[Outcome], keys: Sequence[str]) -> list[PageFigure]:
    shown = [one for one in outcomes if one.scores]
    figures = [
        make_figure(
            "scores",
            "Validation mAP of each trial in the order in which they began",
            lambda ax: plot_scores(ax, shown),
            caption="Each trial's score, of a pruned one its last; line: the best so far.",
        ),
        make_figure(
            "epochs",
            "Validation mAP of each trial by epoch",
            lambda ax: plot_epochs(ax, shown),
            caption="A line a trial; dashed where it was pruned.",
        ),
    ]
    for place, key in enumerate(keys[:_MOST_PARAMETERS]):
        figures.append(
            make_figure(
                f"key-{place}",
                f"Validation mAP of each trial over {key}",
                lambda ax, key=key: plot_parameter(ax, shown, key, _short(key, keys)),  # type: ignore[misc]
                size=(4.5, 3.2),
            )
        )
    return figures


def plot_scores(ax: Axes, outcomes: Sequence[Outcome]) -> Axes:
    """Scores in the order of the trials, and the best so far."""
    for name, color in _COLORS.items():
        mine = [one for one in outcomes if one.outcome == name]
        ax.scatter(
            [one.number for one in mine],
            [_last(one) for one in mine],
            marker=_MARKS[name],
            color=color,
            label=name,
        )
    complete = [one for one in outcomes if one.score is not None]
    if complete:
        best = np.maximum.accumulate(np.array([one.score for one in complete], float))
        ax.step([one.number for one in complete], best, where="post", color=_COLORS["complete"])
    ax.set(xlabel="trial", ylabel="validation mAP")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    return ax


def plot_epochs(ax: Axes, outcomes: Sequence[Outcome]) -> Axes:
    """Validation curves of the trials."""
    best = best_of(outcomes)
    for one in outcomes:
        is_best = best is not None and one.number == best.number
        ax.plot(
            list(one.scores),
            list(one.scores.values()),
            linestyle="--" if one.outcome == "pruned" else "-",
            marker=".",
            color=OKABE_ITO["blue"] if is_best else "#808080",
            alpha=1.0 if is_best else 0.6,
            label=f"trial {one.number}, the best" if is_best else None,
        )
    ax.set(xlabel="epoch", ylabel="validation mAP")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if best is not None:
        ax.legend()
    return ax


def plot_parameter(ax: Axes, outcomes: Sequence[Outcome], key: str, label: str) -> Axes:
    """Scores over the values of one key; a logarithmic axis where they span a decade or more."""
    for name, color in _COLORS.items():
        mine = [one for one in outcomes if one.outcome == name and key in one.values]
        values = [one.values[key] for one in mine]
        plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        ax.scatter(
            values if plain else [str(v) for v in values],
            [_last(one) for one in mine],
            marker=_MARKS[name],
            color=color,
        )
        if plain and values and min(values) > 0 and max(values) >= 10 * min(values):
            ax.set_xscale("log")
    ax.set(xlabel=label, ylabel="validation mAP")
    return ax


def _last(one: Outcome) -> float:
    return one.score if one.score is not None else list(one.scores.values())[-1]


def _short(key: str, keys: Sequence[str]) -> str:
    """The key without its section, where no other ends alike; in words."""
    leaf = key.rpartition(".")[2]
    alone = sum(other.rpartition(".")[2] == leaf for other in keys) == 1
    return (leaf if alone else key).replace("_", " ").replace(".", ": ")


def _is_number(outcomes: Sequence[Outcome], key: str) -> bool:
    values = [one.values[key] for one in outcomes if key in one.values]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _in_words(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
