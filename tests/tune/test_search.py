"""A study of Optuna: pruning, going on after a kill, several processes, failures, the summary."""

import re
import subprocess
import sys
from pathlib import Path

import fake_training
import pandas as pd
import pytest
from fake_training import FakeTraining, score_of, search_in

from mtn_core.config import load_config
from mtn_core.errors import ConfigError, DataError, DiskError
from mtn_core.tune.search import tune

PROGRAM = fake_training.__file__


def run(search, training=None, lines=None):
    training = training or FakeTraining()
    return tune(search, None, (lines if lines is not None else []).append, training)


def start(folder, trials, *end):
    words = [sys.executable, PROGRAM, str(folder), str(trials), *end]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_trials_are_run_folders_and_scored_by_what_they_log(tmp_path):
    folder = tmp_path / "study"
    outcomes = run(search_in(folder, 3, prune=False))
    assert [one.outcome for one in outcomes] == ["complete"] * 3
    for one in outcomes:
        config = load_config(str(folder / f"trial-{one.number:04d}" / "config.yaml"))
        assert config.optim.learning_rate == one.values["optim.learning_rate"]
        assert config.loss.triplet == one.values["loss.triplet"]
        assert config.data.images_per_id in (2, 4, 6)
        assert one.scores == {epoch: score_of(config, epoch) for epoch in range(1, 5)}
        assert one.score == score_of(config, 4)
    assert len({one.values["optim.learning_rate"] for one in outcomes}) == 3


def test_the_same_seed_chooses_the_same_values_and_another_others(tmp_path):
    found = [
        [one.values for one in run(search_in(tmp_path / name, 3, seed=seed))]
        for name, seed in (("a/s", 0), ("b/s", 0), ("c/s", 1))
    ]
    assert found[0] == found[1] != found[2]


def test_bad_trials_are_ended_early(tmp_path):
    outcomes = run(search_in(tmp_path / "s", 12, epochs=6))
    pruned = [one for one in outcomes if one.outcome == "pruned"]
    assert pruned and all(max(one.scores) < 6 for one in pruned)
    complete = [one for one in outcomes if one.outcome == "complete"]
    assert max(one.score for one in complete) > max(max(p.scores.values()) for p in pruned)
    assert not any(o.outcome == "pruned" for o in run(search_in(tmp_path / "t", 12, prune=False)))


def test_a_second_call_goes_on_to_the_number_of_trials(tmp_path):
    folder = tmp_path / "s"
    first = run(search_in(folder, 2))
    training = FakeTraining()
    both = run(search_in(folder, 4), training)
    assert [name for name, _ in training.calls] == ["trial-0002", "trial-0003"]
    assert both[:2] == first and len(both) == 4
    assert run(search_in(folder, 4), training) == both and len(training.calls) == 2


def test_a_killed_process_s_trial_is_gone_on_with_from_its_checkpoint(tmp_path):
    folder = tmp_path / "s"
    killed = start(folder, 4, "1:2")
    assert killed.wait(120) == 9, killed.stderr.read()
    training = FakeTraining()
    outcomes = run(search_in(folder, 4), training)
    assert training.calls[0] == ("trial-0001", True)
    assert [name for name, _ in training.calls] == ["trial-0001", "trial-0002", "trial-0003"]
    undisturbed = run(search_in(tmp_path / "other" / "s", 4))
    assert [one.values for one in outcomes] == [one.values for one in undisturbed]
    assert outcomes[0].score == undisturbed[0].score
    assert "running" not in {one.outcome for one in outcomes}


def test_two_processes_share_a_study(tmp_path):
    folder = tmp_path / "s"
    (tmp_path / "s").mkdir()
    both = [start(folder, 8) for _ in range(2)]
    said = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    begun = [line for out, _ in said for line in out.splitlines() if "learning_rate" in line]
    numbers = sorted(int(line.split(":")[0].split()[1]) for line in begun)
    assert numbers == list(range(8))  # none twice, none left out, no more than asked for
    assert all(out.count("learning_rate") for out, _ in said)
    outcomes = run(search_in(folder, 8))
    assert len({one.values["optim.learning_rate"] for one in outcomes}) == 8
    assert len(pd.read_csv(folder / "trials.csv")) == 8


def test_a_trial_that_diverges_is_a_failed_one_and_the_search_goes_on(tmp_path):
    training = FakeTraining(diverges=lambda config: config.loss.triplet == "soft")
    outcomes = run(search_in(tmp_path / "s", 8), training)
    failed = [one for one in outcomes if one.outcome == "failed"]
    assert failed and {one.values["loss.triplet"] for one in failed} == {"soft"}
    assert {one.why for one in failed} == {"loss nan at epoch 1"}
    assert len(outcomes) == 8


def test_where_every_trial_fails_the_search_stops(tmp_path):
    training = FakeTraining(diverges=lambda config: True)
    with pytest.raises(DataError, match="all 3 trials failed, the last one so: loss nan"):
        run(search_in(tmp_path / "s", 50), training)
    assert len(training.calls) == 3


@pytest.mark.parametrize("stopped_by", [DiskError("disk full"), KeyboardInterrupt()], ids=repr)
def test_what_is_not_a_trial_s_fault_leaves_it_to_be_gone_on_with(tmp_path, stopped_by):
    class Stopped(FakeTraining):
        def __call__(self, *args, **options):
            raise stopped_by

    with pytest.raises(type(stopped_by)):
        run(search_in(tmp_path / "s", 2), Stopped())
    outcomes = run(search_in(tmp_path / "s", 2))
    assert [one.number for one in outcomes if one.outcome == "complete"] == [0, 1]


def test_another_search_in_the_same_folder_is_refused(tmp_path):
    run(search_in(tmp_path / "s", 1))
    with pytest.raises(ConfigError, match="holds a study with another space"):
        run(search_in(tmp_path / "s", 2, space="loss.triplet: [margin, soft]"))
    with pytest.raises(ConfigError, match="holds a study with another recipe"):
        run(search_in(tmp_path / "s", 2, epochs=3))


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(tmp_path):
    run(search_in(tmp_path / "s", 1))
    with open(tmp_path / "s" / "study.journal", "a") as file:
        file.write('{"op_code": 5, "worker')
    assert len(run(search_in(tmp_path / "s", 2))) == 2


def test_the_summary_names_the_best_and_is_a_recipe(tmp_path):
    folder = tmp_path / "s"
    outcomes = run(search_in(folder, 6))
    best = max((one for one in outcomes if one.score), key=lambda one: one.score)
    table = pd.read_csv(folder / "trials.csv")
    assert table["trial"].tolist() == list(range(6))
    assert table.loc[best.number, "score"] == pytest.approx(best.score)
    recipe = load_config(str(folder / "best.yaml"))
    assert recipe.optim.learning_rate == best.values["optim.learning_rate"]
    page = (folder / "report.html").read_text()
    assert f"The best is trial {best.number} with mAP {100 * best.score:.1f} %" in page
    assert len(re.findall(r'<svg id="[^"]+" role="img"', page)) == 5 and "learning rate" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_search_without_held_out_vehicles_is_refused(tmp_path):
    search = search_in(tmp_path / "s", 1)
    object.__setattr__(search, "config", load_config("smoke"))
    with pytest.raises(ConfigError, match=r"needs data\.val_ids"):
        run(search)


def test_wrong_usage_is_told_before_anything_is_written(tmp_path, capsys):
    from mtn_core.cli import main

    (tmp_path / "space.yaml").write_text("optim.lr: [1, 2]")
    words = ["tune", "--root", str(tmp_path), "--out", str(tmp_path / "s"), "--trials", "2"]
    assert main([*words, "--space", str(tmp_path / "space.yaml")]) == 2
    assert "did you mean 'optim.learning_rate'" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_search_trains_and_says_what_to_do_next(smoke_root, tmp_path):
    (tmp_path / "space.yaml").write_text("optim.learning_rate: {low: 1e-4, high: 1e-2, log: true}")
    words = ["tune", "--root", str(smoke_root), "--space", "space.yaml", "--trials", "2"]
    words += ["--out", "s", "--recipe", "smoke", "--epochs", "1"]
    words += ["--set", "model.image_size=32", "model.segments=false"]
    done = subprocess.run(
        [sys.executable, "-m", "mtn_core", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "best: trial" in done.stdout and "next: mtn train" in done.stderr
    for number in (0, 1):
        run = Path(tmp_path, "s", f"trial-{number:04d}")
        assert (run / "ckpt" / "best.ckpt").is_file() and len(pd.read_csv(run / "train.csv"))
    assert load_config(str(tmp_path / "s" / "best.yaml")).data.val_ids == 0.15
