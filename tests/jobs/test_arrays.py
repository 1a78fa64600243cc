"""Arrays: what is run, what is not run again, and Slurm's own daemons running one."""

import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from job_logs import wait_for

from mtn_core.cli import main
from mtn_core.errors import ConfigError, MissingFileError, ProgramError
from mtn_core.jobs.arrays import Task, plan, run_here, run_task, seconds_of, write_records

TRAIN = "train --root {root} --recipe smoke --epochs 1 --set model.image_size=32 --out runs/study"


def submit(*words):
    return main(["submit", *words])


def test_every_combination_has_a_run_folder_of_its_own(tmp_path):
    grid = {"recipe": ["seed", "my/strong.yaml"], "seed": ["0", "1"], "optim.lr/x": ["1e-3"]}
    tasks = plan(grid, ["train", "--root", "d"], tmp_path)
    assert [task.name for task in tasks] == [
        *("seed-seed0-lr_x1e_3", "seed-seed1-lr_x1e_3"),
        *("strong-seed0-lr_x1e_3", "strong-seed1-lr_x1e_3"),
    ]
    assert tasks[3].words[3:] == (
        *("--recipe", "my/strong.yaml", "--seed", "1", "--set", "optim.lr/x=1e-3"),
        *("--out", str(tmp_path / "strong-seed1-lr_x1e_3")),
    )


def test_what_passed_is_not_run_again_and_what_failed_is(tmp_path, package):
    heard = []
    tasks = [Task("good", ("--version",)), Task("bad", ("check", "--root", str(tmp_path / "no")))]
    for _ in range(2):
        with pytest.raises(ProgramError, match=r"1 of 2 runs failed: bad; their logs are in"):
            run_here(tasks, tmp_path, at_once=2, echo=heard.append)
    assert sorted(line.partition(";")[0] for line in heard) == (
        ["bad failed (exit code 1)"] * 2 + ["good passed"] * 2
    )
    assert seconds_of(tmp_path, "good") > 0 and seconds_of(tmp_path, "bad") is None
    assert (tmp_path / "good.log").read_text().count("mtn") == 1
    assert (tmp_path / "bad.log").read_text().count("1 problem") == 2


def test_a_training_that_was_stopped_goes_on(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda words, **_: said.append(words[3:]) or subprocess.CompletedProcess(words, 130),
    )
    out = tmp_path / "r"
    write_records([Task("r", ("train", "--out", str(out), "--overwrite"))], tmp_path)
    run_task(tmp_path, "r")
    run_task(tmp_path, "r")
    (out / "ckpt").mkdir(parents=True)
    (out / "ckpt" / "last.ckpt").touch()
    run_task(tmp_path, "r")
    base = ["train", "--out", str(out)]
    assert said == [[*base, "--overwrite"], [*base, "--overwrite"], [*base, "--resume"]]


def test_a_task_ends_after_the_training_that_saves(tmp_path, package):
    """Slurm's signal reaches every process of a job, and the last to go must be the array's."""
    training = tmp_path / "training"
    training.write_text(
        "#!/usr/bin/env bash\ntrap 'sleep 1; touch saved; exit 3' TERM\n"
        "touch begun\nwhile true; do sleep 0.1; done\n"
    )
    training.chmod(0o755)
    write_records([Task("r", ("train", "--out", "r"))], tmp_path)
    program = f"""if True:
        import sys
        from mtn_core.jobs import arrays
        sys.executable = {str(training)!r}
        sys.exit(arrays.main([{str(tmp_path)!r}, "r"]))
    """
    words = [sys.executable, "-c", program]
    process = subprocess.Popen(words, cwd=tmp_path, start_new_session=True)
    wait_for((tmp_path / "begun").exists, tmp_path)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 3 and (tmp_path / "saved").exists()


def test_a_folder_of_another_array_is_refused(tmp_path):
    write_records([Task("a", ("--version",))], tmp_path)
    with pytest.raises(ConfigError, match=r"a\.json is of another command, mtn --version"):
        write_records([Task("b", ("check",)), Task("a", ("check",))], tmp_path)
    assert not (tmp_path / "b.json").exists()
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"a\.json is not a record of an array"):
        run_task(tmp_path, "a")
    with pytest.raises(MissingFileError, match="no task c"):
        run_task(tmp_path, "c")


def test_what_an_array_would_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--array", "recipe=seed,strong", "seed=3,4", "--dry_run", "--at_once", "2"]
    words += ["--option=--partition=gpu", "--", "train", "--root", "d", "--out", "r"]
    assert submit("--on", "local", *words) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "mtn train --root d --recipe seed --seed 4 --out r/seed-seed4"
    )
    assert submit("--on", "slurm", *words) == 0
    script = capsys.readouterr().out
    assert "#SBATCH --array=0-3%2\n" in script and "#SBATCH --partition=gpu\n" in script
    assert "\ntasks=(seed-seed3 seed-seed4 strong-seed3 strong-seed4)\n" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_trainings_here(tmp_path, monkeypatch, smoke_root, package):
    monkeypatch.chdir(tmp_path)
    words = ["--array", "seed=0,1", "--at_once", "2", "--", *TRAIN.format(root=smoke_root).split()]
    assert submit("--on", "local", *words) == 0
    scores = [(tmp_path / f"runs/study/seed{n}/validation.csv").read_text() for n in (0, 1)]
    assert scores[0] != scores[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_slurm_runs_an_array_and_goes_on_after_a_kill(tmp_path, slurm, smoke_root):
    train = TRAIN.format(root=smoke_root).replace("--epochs 1", "--epochs 3")
    command = f"mtn submit --on slurm --array seed=0,1 -- {train}"
    job = re.search(r"job (\d+)", slurm.run(0, shlex.split(command), cwd=tmp_path))[1]
    last = tmp_path / "runs/study/seed0/ckpt/last.ckpt"
    wait_for(last.exists, tmp_path)
    slurm.requeue(f"{job}_0", functools.partial(wait_for, work=tmp_path))
    wait_for(slurm.all_ended, tmp_path)
    for seed in (0, 1):
        log = (tmp_path / f"jobs/mtn-train/seed{seed}.log").read_text()
        record = json.loads((tmp_path / f"jobs/mtn-train/seed{seed}.json").read_text())
        assert (record["seconds"] or 0) > 0, log
        table = (tmp_path / f"runs/study/seed{seed}/validation.csv").read_text()
        assert len(table.splitlines()) == 4
    log = (tmp_path / "jobs/mtn-train/seed0.log").read_text()
    assert re.search(r"resum|goes on|epoch 2", log), log
