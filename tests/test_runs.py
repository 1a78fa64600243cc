"""The run folder: what is refused, what is replaced and when, and what is read back."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mtn_core.config import Config, load_config
from mtn_core.errors import ConfigError, RunFolderError
from mtn_core.runs import RunFolder, config_sha256

OLD = {
    "config.yaml": "command: train\nroot: /old\n",
    "environment.json": "{}",
    "train.csv": "step,loss\n1,2\n",
    "validation.csv": "epoch\n1\n",
    "ckpt/best.ckpt": "old weights",
    "results.json": "{}",
    "tables/variants.parquet": "old",
    "attention.npz": "old",
    "pose_predictions.npz": "old",
    "per_keypoint.csv": "old",
    "gallery.faiss": "old",
    "report.html": "old",
    "figures/cmc.png": "old",
}
KEPT = {
    "figures/01_crops.png": "of the data",
    "notebooks/03_train.ipynb": "executed",
    "own.txt": "x",
}


def fill(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def run(tmp_path):
    fill(tmp_path / "run", OLD | KEPT)
    return RunFolder(tmp_path / "run")


def test_every_entry_has_a_name_of_its_own():
    names = [entry.name for entry in RunFolder.entries()]
    assert len(set(names)) == len(names) > 20
    assert RunFolder.knows("results.json") and RunFolder.knows("figures/cmc.png")
    assert not RunFolder.knows("surprise.npz")


def test_a_folder_with_a_run_is_refused_and_left_alone(run):
    before = contents(run.path)
    for enter in (
        lambda: run.replaced_by_training(overwrite=False),
        lambda: run.with_evaluation(keep_training=False, overwrite=False),
    ):
        with pytest.raises(RunFolderError, match=r"already holds a run \(config\.yaml, "), enter():
            pass
    with (
        pytest.raises(RunFolderError, match="already holds results"),
        run.with_evaluation(keep_training=True, overwrite=False),
    ):
        pass
    assert contents(run.path) == before


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder(tmp_path / "file").check_free(overwrite=True)


def test_a_new_training_keeps_nothing_of_the_old_run(run):
    with run.replaced_by_training(overwrite=True):
        assert contents(run.path).keys() >= KEPT.keys()
        visible = {n for n in contents(run.path) if not n.startswith(".")}
        assert visible == KEPT.keys()
        fill(run.path, {"config.yaml": "new", "ckpt/last.ckpt": "new weights"})
    assert contents(run.path) == KEPT | {"config.yaml": "new", "ckpt/last.ckpt": "new weights"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_a_training_that_comes_to_nothing_gives_the_old_run_back(run, error):
    with pytest.raises(error), run.replaced_by_training(overwrite=True):
        fill(run.path, {"config.yaml": "new", "train.csv": "new"})
        raise error
    assert contents(run.path) == OLD | KEPT


def test_a_training_that_stops_with_a_checkpoint_stays(run):
    new = {"config.yaml": "new", "ckpt/last.ckpt": "new weights"}
    with pytest.raises(KeyboardInterrupt), run.replaced_by_training(overwrite=True):
        fill(run.path, new)
        raise KeyboardInterrupt
    assert contents(run.path) == KEPT | new


def test_a_divergence_leaves_its_diagnosis(run, tmp_path):
    with pytest.raises(RuntimeError), run.replaced_by_training(overwrite=True):
        fill(run.path, {"config.yaml": "new", "train.csv": "new", "diagnosis.json": "why"})
        raise RuntimeError
    assert contents(run.path) == OLD | KEPT | {"diagnosis.json": "why"}
    fresh = RunFolder(tmp_path / "fresh")
    with pytest.raises(RuntimeError), fresh.replaced_by_training(overwrite=False):
        fill(fresh.path, {"train.csv": "new", "diagnosis.json": "why"})
        raise RuntimeError
    assert contents(fresh.path) == {"train.csv": "new", "diagnosis.json": "why"}


def test_a_first_try_that_fails_leaves_no_folder(tmp_path):
    run = RunFolder(tmp_path / "runs" / "new")
    with pytest.raises(RuntimeError), run.replaced_by_training(overwrite=False):
        fill(run.path, {"config.yaml": "new"})
        raise RuntimeError
    assert not run.path.exists()
    with (
        pytest.raises(RuntimeError),
        run.with_evaluation(keep_training=False, overwrite=False) as beside,
    ):
        fill(beside.path, {"config.yaml": "new"})
        raise RuntimeError
    assert not run.path.exists()


@pytest.mark.parametrize("keep_training", [True, False])
def test_results_are_exchanged_at_the_end_and_not_before(run, keep_training):
    new = {"results.json": "new", "tables/intervals.parquet": "new"}
    with run.with_evaluation(keep_training=keep_training, overwrite=True) as beside:
        fill(beside.path, new)
        assert contents(run.path).items() >= (OLD | KEPT).items()
    kept = KEPT | {
        name: text
        for name, text in OLD.items()
        if keep_training
        and name.split("/")[0]
        in ("config.yaml", "environment.json", "train.csv", "validation.csv", "ckpt")
    }
    assert contents(run.path) == kept | new


def test_an_evaluation_that_fails_changes_nothing(run):
    with (
        pytest.raises(RuntimeError),
        run.with_evaluation(keep_training=False, overwrite=True) as beside,
    ):
        fill(beside.path, {"results.json": "half"})
        raise RuntimeError
    assert contents(run.path) == OLD | KEPT


def test_what_a_killed_training_put_aside_comes_back(run):
    aside = run.path / ".replaced"
    RunFolder._move(run.path, aside, RunFolder.entries("context", "training", "evaluation"))
    fill(run.path, {"config.yaml": "new", "train.csv": "new"})
    with pytest.raises(RunFolderError, match="already holds a run"):
        run.check_free(overwrite=False)
    assert contents(run.path) == OLD | KEPT


def test_what_a_killed_training_with_a_checkpoint_put_aside_goes(run):
    aside = run.path / ".replaced"
    RunFolder._move(run.path, aside, RunFolder.entries("context", "training", "evaluation"))
    new = {"config.yaml": "new", "ckpt/last.ckpt": "new"}
    fill(run.path, new)
    with pytest.raises(RunFolderError):
        run.check_free(overwrite=False)
    assert contents(run.path) == KEPT | new


def test_an_exchange_that_was_killed_half_way_is_completed(run):
    new = {"results.json": "new", "per_query.parquet": "new"}
    fill(run.path / ".unfinished", new)
    RunFolder._move(run.path, run.path / ".replaced", RunFolder.entries("evaluation"))
    with pytest.raises(RunFolderError):
        run.check_no_results(overwrite=False)
    assert contents(run.path).items() >= (KEPT | new).items()
    assert "attention.npz" not in contents(run.path)
    assert contents(run.path)["ckpt/best.ckpt"] == "old weights"


def test_results_that_were_never_finished_are_cleared_away(run):
    fill(run.path / ".unfinished", {"results.json": "half"})
    run.check_free(overwrite=True)
    assert contents(run.path) == OLD | KEPT


def test_temporary_files_of_a_killed_write_go_with_the_next_command(run):
    leftovers = {".results.json.mtn-partial-ab12_xyz/new.json": "half"}
    leftovers |= {"ckpt/.epoch-001.ckpt.mtn-partial-abcd1234/new.tmp": "half"}
    leftovers |= {".tables.mtn-partial-0123abcd/x.parquet": "half"}
    kept = {".hidden-notes.txt": "a person's", ".results.json": "kept"}
    kept |= {".notes-archived": "a person's"}
    fill(run.path, leftovers | kept)
    run.check_free(overwrite=True)
    assert contents(run.path) == OLD | KEPT | kept


def test_paths_of_the_context_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunFolder("run")
    context = {"root": Path("../data"), "checkpoint": Path("a.ckpt"), "command": "train"}
    run.write_context(Config(), {}, **context)
    _, found = RunFolder(tmp_path / "run").read_config()
    assert found["root"] == str(tmp_path.parent / "data")
    assert found["checkpoint"] == str(tmp_path / "a.ckpt")
    assert found["command"] == "train"
    run.write_context(Config(), {}, root=[Path("a"), Path("b")])
    monkeypatch.chdir("/")
    roots = RunFolder(tmp_path / "run").data_roots()
    assert roots == [tmp_path / "a", tmp_path / "b"]


def test_a_run_knows_its_own_weights(tmp_path):
    run = RunFolder(tmp_path)
    config = load_config("smoke")
    assert not run.trained(config_sha256(config))
    run.write_context(config, {}, command="train")
    assert run.trained(config_sha256(config))
    assert not run.trained("00") and not run.trained(None)
    run.write_context(config, {}, command="eval")
    assert not run.trained(config_sha256(config))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a mapping of sections; got nothing"),
        ("[1]", "must hold a mapping of sections; got list"),
        ("{: not, [valid", "cannot be read"),
        ("model: {image_size: 100}", "not the configuration of a `mtn train` run.*image_size"),
        ("model: &a {x: *a}", "aliases"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_damaged_configuration_names_the_file(tmp_path, text, message):
    (tmp_path / "config.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunFolderError, match=rf"config\.yaml.*{message}"):
        RunFolder(tmp_path).read_config()


def test_other_files_that_cannot_be_read_are_named(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no config\.yaml"):
        run.read_config()
    with pytest.raises(RunFolderError, match=r"has no results\.json"):
        run.read_json(run.results)
    for text in ("", "{", "[]", "[" * 10**5):
        run.results.write_text(text)
        with pytest.raises(RunFolderError, match=r"results\.json"):
            run.read_json(run.results)
    run.train_log.write_text("a,b\n1,2\n")
    with pytest.raises(RunFolderError, match=r"train\.csv.*missing: step, loss"):
        run.read_train_log()
    run.validation_log.write_text("")
    assert run.read_validation_log().empty


def test_resume_names_every_key_that_differs(tmp_path):
    run = RunFolder(tmp_path)
    run.write_context(load_config("smoke"), {}, command="train")
    asked = load_config("smoke", {"optim.learning_rate": 0.5, "train.seed": 3})
    with pytest.raises(ConfigError) as caught:
        run.read_resumed_config(asked)
    for key in ("optim.learning_rate: the run has 0.001, asked for 0.5", "train.seed"):
        assert key in str(caught.value)
    assert run.read_resumed_config(load_config("smoke")) == load_config("smoke")
    json.loads(run.environment.read_text())


def test_the_pixel_limit_may_change_when_a_run_goes_on(tmp_path):
    run = RunFolder(tmp_path)
    before, after = load_config("smoke"), load_config("smoke", {"data.max_pixels": 7})
    run.write_context(before, {}, command="train")
    assert run.read_resumed_config(after) == after
    run.update_config(before)
    text = run.config.read_text()
    assert "max_pixels: 50000000" in text
    run.update_config(after)
    assert run.config.read_text() == text.replace("50000000", "7")
    assert run.trained(config_sha256(before))
    both = load_config("smoke", {"data.max_pixels": 7, "train.seed": 3})
    with pytest.raises(ConfigError) as caught:
        run.update_config(before)
        run.read_resumed_config(both)
    assert "train.seed" in str(caught.value) and "max_pixels" not in str(caught.value)


HOLD = """
import sys, time
from mtn_core.runs import RunFolder
with RunFolder(sys.argv[1]).replaced_by_training(overwrite=True):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_told_who_holds_the_folder(run):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        before = contents(run.path)
        for enter in (
            lambda: run.replaced_by_training(overwrite=True),
            lambda: run.with_evaluation(keep_training=False, overwrite=True),
            run.locked,
        ):
            with pytest.raises(RunFolderError, match=f"by process {holder.pid}"), enter():
                pass
        assert contents(run.path) == before
    finally:
        holder.kill()
        holder.wait()
    # The lock of a process that is gone is taken over, and what it put aside comes back.
    with pytest.raises(RunFolderError, match="already holds a run"):
        run.check_free(overwrite=False)
    assert contents(run.path) == OLD | KEPT


@pytest.mark.parametrize(
    ("holder", "count", "job", "taken"),
    [
        ("lost", "1", "12", True),
        ("lost", "0", "12", False),  # Slurm started this job once: somebody else's
        ("lost", "1", "13", False),  # of another job
        ("here", "1", "12", False),  # of a process that lives
    ],
)
def test_a_job_that_slurm_starts_again_has_its_lost_machine_s_lock(
    run, monkeypatch, holder, count, job, taken
):
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    run.lock.write_text(f"{os.getppid()}\n{holder}\n")
    run.lock_job.write_text(job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    with contextlib.nullcontext() if taken else pytest.raises(RunFolderError, match=holder):
        with run.locked():
            with run.locked():
                assert run.lock.read_text().startswith(f"{os.getpid()}\n")
            assert run.lock_job.read_text() == "12"
    assert run.lock.exists() == run.lock_job.exists() == (not taken)


def test_outside_of_slurm_a_lock_is_of_no_job(run):
    run.lock_job.write_text("12")  # left by a process that was killed
    with run.locked():
        assert not run.lock_job.exists()


def test_a_lock_that_cannot_be_signed_is_given_back(run, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    run.lock_job.mkdir()
    with pytest.raises(OSError), run.locked():
        pass
    run.lock_job.rmdir()
    with RunFolder(run.path).locked():
        pass
