"""The sentences at the top of a report: what the numbers say, in words, and nothing beyond them."""

import math
from collections.abc import Mapping

from mtn_core.report.page import format_percent

BASELINE_NAMES = {
    "untrained": "same network, untrained",
    "color_histogram": "colour histogram",
}


def list_baselines(scores: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """``(readable name, mAP)`` of the baselines that have a number, in a fixed order."""
    known = [name for name in BASELINE_NAMES if scores.get(name) is not None]
    others = [name for name in scores if name not in BASELINE_NAMES and scores[name] is not None]
    return [
        (BASELINE_NAMES.get(name, name.replace("_", " ")), scores[name]) for name in known + others
    ]


def describe_against_baselines(
    trained: float | None, baselines: Mapping[str, float | None]
) -> list[str]:
    """How the trained network's mAP stands to the baselines.

    Args:
        trained: mAP as a fraction, or None where no run ended.
        baselines: mAP as fractions by baseline name.

    Returns:
        One sentence a fact, the mAP first.
    """
    if trained is None:
        return ["No trained network was evaluated."]
    if math.isnan(trained):
        return ["No query has a match in the gallery, so there is no mAP."]
    sentences = [f"The trained network reaches a mAP of {format_percent(trained)}."]
    comparisons = []
    for name, score in list_baselines(baselines):
        if score <= 0:
            comparisons.append(f"{name}: {format_percent(score)}")
        else:
            comparisons.append(f"{trained / score:.1f} times the {name} ({format_percent(score)})")
    if comparisons:
        sentences.append("That is " + " and ".join(comparisons) + ".")
    if any(score >= trained for _, score in list_baselines(baselines)):
        sentences.append("It does not beat every baseline: what was learnt is not yet useful.")
    return sentences
