"""What is said of predicted against exact pose."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from mtn_core.pose.payoff import judge_pose


@dataclass
class Result:
    ap: np.ndarray

    @property
    def query(self):
        return SimpleNamespace(pids=np.arange(len(self.ap)) // 2)


def test_predicted_pose_that_wins_is_not_called_better():
    ap = np.random.default_rng(0).uniform(0.1, 0.3, 40)
    text = judge_pose(Result(ap), Result(ap + 0.05))
    assert text.startswith("Predicted against exact pose: mAP +5.0 points, 95 % interval +5.0")
    assert "Train longer" in text and "holds zero" not in text


def test_a_difference_within_its_interval_is_no_difference():
    rng = np.random.default_rng(0)
    text = judge_pose(Result(rng.uniform(0, 1, 40)), Result(rng.uniform(0, 1, 40)))
    assert "The interval holds zero: no difference was measured." in text


def test_predicted_pose_that_loses_needs_no_remark():
    ap = np.random.default_rng(0).uniform(0.3, 0.5, 40)
    text = judge_pose(Result(ap), Result(ap - 0.2))
    assert "-20.0 points" in text and "Train longer" not in text
