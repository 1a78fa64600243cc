"""The notebooks as jobs: what is written for each cluster, and Slurm's own daemons running it."""

import functools
import html
import re
import subprocess

import jsonschema
import nbformat
import pytest
import yaml
from job_logs import wait_for
from nbformat.v4 import new_code_cell, new_notebook

from mtn_core.cli import main

ARRAY = ["--on", "local", "--array"]
TRAIN_WORDS = ["train", "--root", "d", "--out", "o"]
# From the fields that the operator documents for an AscendJob, and Kubernetes for a pod.
POD = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["containers"],
            "properties": {
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "image", "command", "resources"],
                        "properties": {
                            "name": {"const": "ascend"},
                            "image": {"type": "string", "minLength": 1},
                            "command": {"type": "array", "items": {"type": "string"}},
                        },
                    },
                }
            },
        }
    },
}
REPLICAS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["replicas", "template"],
    "properties": {
        "replicas": {"type": "integer", "minimum": 1},
        "restartPolicy": {"enum": ["Always", "OnFailure", "Never", "ExitCode"]},
        "template": POD,
    },
}
ASCEND_JOB = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "mindxdl.gitee.com/v1"},
        "kind": {"const": "AscendJob"},
        "metadata": {
            "type": "object",
            "required": ["name", "labels"],
            "properties": {"name": {"pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}},
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["replicaSpecs"],
            "properties": {
                "schedulerName": {"const": "volcano"},
                "successPolicy": {"type": "string"},
                "runPolicy": {"type": "object"},
                "replicaSpecs": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["Scheduler"],
                    "properties": {"Scheduler": REPLICAS, "Worker": REPLICAS},
                },
            },
        },
    },
}
# Stands in for the notebook that trains: all processes meet, and the first try does not end.
TRAIN = """
import time
from pathlib import Path
from mtn_core.device import setup_device

device = setup_device("CPU", distribute=distribute)
print("rank", device.rank, "of", device.rank_size)
tries = Path(run_dir, f"tried{device.rank}")
first = not tries.exists()
tries.touch()
if first:
    time.sleep(600)
Path(run_dir, f"rank{device.rank}").write_text(str(device.rank_size))
"""


@pytest.fixture
def work(tmp_path, monkeypatch, smoke_root):
    """A working folder with short notebooks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    sources = {
        "01_data": "print('data')",
        "03_train": TRAIN,
        "04_analyse": "from pathlib import Path\nprint(Path(run_dir, 'rank1').read_text())",
    }
    for name, source in sources.items():
        parameters = new_code_cell('run_dir = ""\ndistribute = False')
        parameters.metadata["tags"] = ["parameters"]
        notebook = new_notebook(cells=[parameters, new_code_cell(source)])
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.metadata["kernelspec"] = kernel
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "synthveri-smoke").symlink_to(smoke_root)
    return tmp_path


def test_slurms_scripts(work, capsys):
    command = ["submit", "--on", "slurm", "--nodes", "2", "--local_workers", "4", "--dry_run"]
    command += ["--option=--partition=gpu", "--", "workbook", "--profile", "smoke"]
    assert main([*command, "-p", "seed", "a b"]) == 0
    printed = capsys.readouterr().out
    before, train, after = printed.split("#!/usr/bin/env bash\n")[1:]
    assert "--only 01 " in before and "--nodes=1" in before and "srun" not in before
    assert "--nodes=2" in train and "--partition=gpu" in train
    assert re.search(r"exec srun .* --only 03 --from-env --local_workers 4 ", train)
    assert "--only 04 " in after and "-p seed 'a b'" in after
    assert subprocess.run(["bash", "-n"], input=train, text=True, check=False).returncode == 0
    assert not (work / "jobs").exists()
    assert main([*command, "--only", "1", "3", "--overwrite"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("#!") == 2 and "--overwrite --only 03" in printed


def test_an_ascend_job_fits_its_schema(work, capsys):
    command = ["submit", "--on", "ascendjob", "--nodes", "3", "--local_workers", "8", "--dry_run"]
    command += [
        "--image",
        "mtn:1",
        "--claim",
        "work",
        "--",
        "workbook",
        "--device_target",
        "Ascend",
    ]
    assert main(command) == 0
    job = yaml.safe_load(capsys.readouterr().out)
    jsonschema.validate(job, ASCEND_JOB)
    replicas = job["spec"]["replicaSpecs"]
    assert [replicas[role]["replicas"] for role in ("Scheduler", "Worker")] == [1, 2]
    container = replicas["Worker"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"huawei.com/Ascend910": 8}
    assert "workbook --device_target Ascend --only 01 03 04 --from-env" in container["command"][2]
    assert main([word for word in command if word not in ("--image", "mtn:1")]) == 2
    assert "an AscendJob needs --image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on", "slurm", "--", "eval", "--root", "d"], "mtn submit runs a workbook"),
        (["--on", "slurm", "--", "train", "--root", "d"], "trainings with --array only"),
        ([*ARRAY, "seed=0,1", "--", "eval"], "--array is for trainings"),
        ([*ARRAY, "seed=0,,1", "--", *TRAIN_WORDS], "KEY=VALUE,VALUE and each key once"),
        ([*ARRAY, "seed=0", "seed=1", "--", *TRAIN_WORDS], "each key once, got seed=1"),
        ([*ARRAY, "seed=1,1", "--", *TRAIN_WORDS], "two runs would be called seed1"),
        ([*ARRAY, "seed=1", "--", *TRAIN_WORDS, "--seed=2"], "--seed=2 is given to mtn train and"),
        ([*ARRAY, "optim.lr=1", "--", *TRAIN_WORDS], "optim.lr"),
        (["--nodes", "2", *ARRAY, "seed=1", "--", *TRAIN_WORDS], "each training as one process"),
        (["--on", "local", "--at_once", "2", "--", "workbook"], "--at_once says how many"),
        (["--on", "slurm", "--", "workbook", "--workers", "2"], "--workers is for mtn submit"),
        (["--on", "local", "--nodes", "2", "--", "workbook"], "local is one machine"),
        (["--on", "slurm", "--", "workbook"], "sbatch is not on PATH; --dry_run shows"),
        (["--on", "slurm", "--", "workbook", "--only", "9"], "no notebook 09"),
    ],
)
def test_what_cannot_be_submitted(work, capsys, monkeypatch, words, message):
    monkeypatch.setenv("PATH", str(work))
    assert main(["submit", *words]) == (1 if "not on PATH" in message else 2)
    assert message in capsys.readouterr().err
    assert not list((work / "jobs").glob("*/*.sh"))


def test_on_this_machine(work, package, capsys):
    words = ["submit", "--on", "local", "--", "workbook", "--only", "1"]
    assert main([*words[:3], "--dry_run", *words[3:]]) == 0
    assert "workbook --only 01" in capsys.readouterr().out
    assert main(words) == 0
    assert (work / "runs" / "smoke" / "notebooks" / "01_data.ipynb").is_file()
    assert main(words) == 1, "its exit code is the workbook's"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_slurm_runs_it_and_goes_on_after_a_kill(work, slurm):
    submit = ["mtn", "submit", "--on", "slurm", "--nodes", "2", "--", "workbook"]
    printed = slurm.run(0, submit, cwd=work)
    jobs = re.findall(r"job (\d+)", printed)
    assert len(jobs) == 3
    run = work / "runs" / "smoke"
    wait_for(lambda: (run / "tried0").exists() and (run / "tried1").exists(), work)
    assert not (run / "rank0").exists()
    slurm.requeue(jobs[1], functools.partial(wait_for, work=work))
    wait_for(lambda: (work / "reports" / "smoke" / "04_analyse.html").exists(), work)
    assert [(run / f"rank{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
    wait_for(slurm.all_ended, work)
    index = (work / "reports" / "smoke" / "index.html").read_text()
    assert all(f"{name}.html" in index for name in ("01_data", "03_train", "04_analyse"))
    assert '"failed": 0' in html.unescape(index)
