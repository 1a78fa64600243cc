"""Trials of label files and of data roots."""

import pytest
from trial import Trial, check, replace, root_without_maps


def labels(name, content):
    """A root ``d/NAME`` whose query labels are these."""
    return lambda workspace: replace(
        root_without_maps(workspace, name) / "veri" / "label_query.csv", content
    )


TRIALS = [
    Trial(
        21,
        "unbalanced quote in row 1",
        "check --root d/quote --segmentaware False --heatmapaware False",
        r"label_query\.csv",
        labels("quote", '"0004_c003_00028759_0.jpg,4,3,1\n'),
    ),
]


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_trial(trial, workspace, capfd, caplog):
    check(trial, workspace, capfd, caplog)
