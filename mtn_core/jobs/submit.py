"""The notebooks as jobs of a cluster: Slurm's batch scripts, or an AscendJob of Kubernetes."""

import dataclasses
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from mtn_core.errors import ConfigError, ProgramError
from mtn_core.files import write_text
from mtn_core.jobs.workbook import DISTRIBUTED_NOTEBOOK


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of a cluster.

    Attributes:
        name: Of the job; its parts are ``NAME-before``, ``NAME-train`` and ``NAME-after``.
        arguments: Of ``mtn workbook``, without ``--only``.
        notebooks: Numbers of the notebooks, in order.
        nodes: Machines that train.
        local_workers: Processes on each of them.
        options: Further options of ``sbatch``, such as ``--partition=gpu``.
        folder: Gets the scripts and what the jobs print.
        image: Container image of the pods.
        claim: Persistent volume claim that holds the working folder, on every pod.
    """

    name: str
    arguments: tuple[str, ...]
    notebooks: tuple[str, ...]
    nodes: int = 1
    local_workers: int = 1
    options: tuple[str, ...] = ()
    folder: Path = Path("jobs")
    image: str = ""
    claim: str = ""


def workbook_command(request: Request, *more: str) -> list[str]:
    """The command of a part of the job."""
    return [sys.executable, "-m", "mtn_core", "workbook", *request.arguments, *more]


def slurm_scripts(request: Request) -> dict[str, str]:
    """A batch script for each part, in the order in which they wait for each other.

    Notebooks of one process run on one node; the one that trains runs on all. A job that Slurm
    starts again, after a node was lost or by ``scontrol requeue``, goes on where it was.
    """
    scripts = {}
    for part, numbers in _parts(request.notebooks).items():
        train = part == "train"
        options = [f"--job-name={request.name}-{part}"]
        options += [f"--output={request.folder.resolve() / part}-%j.log", "--open-mode=append"]
        options += [f"--nodes={request.nodes if train else 1}", "--ntasks-per-node=1"]
        options += ["--requeue", *request.options]
        command = shlex.join(workbook_command(request, "--only", *numbers))
        start = ""
        if train:
            start = "srun --kill-on-bad-exit=1 "
            command += f" --from-env --local_workers {request.local_workers}"
        scripts[part] = "\n".join(
            [
                "#!/usr/bin/env bash",
                *(f"#SBATCH {option}" for option in options),
                "set -euo pipefail",
                f"cd {shlex.quote(str(Path.cwd()))}",
                f"exec {start}{command} ${{SLURM_RESTART_COUNT:+--resume}}",
                "",
            ]
        )
    return scripts


def submit_to_slurm(request: Request, echo: Callable[[str], None]) -> list[int]:
    """Write the scripts and give them to ``sbatch``; each waits until the one before passed.

    Returns:
        Slurm's numbers of the jobs.

    Raises:
        ProgramError: sbatch is missing, or refuses a script; what it had taken is taken back.
    """
    _program("sbatch")
    numbers: list[int] = []
    for part, script in slurm_scripts(request).items():
        options = []
        if numbers:
            options = [f"--dependency=afterok:{numbers[-1]}", "--kill-on-invalid-dep=yes"]
        try:
            numbers.append(submit_script(script, request.folder / f"{part}.sh", echo, options))
        except ProgramError:
            for number in numbers:
                subprocess.run(["scancel", str(number)], check=False)
            raise
    return numbers


def submit_script(
    script: str, path: Path, echo: Callable[[str], None], options: Sequence[str] = ()
) -> int:
    """Write a batch script and give it to ``sbatch``.

    Args:
        script: Its text.
        path: Where it is written.
        echo: Receives the number and the script.
        options: Of ``sbatch``. With ``--wait`` it returns when the job has ended.

    Returns:
        Slurm's number of the job.

    Raises:
        ProgramError: sbatch is missing, or refuses the script; or the job that it waited for
            failed.
    """
    sbatch = _program("sbatch")
    write_text(path, script)
    command = [sbatch, "--parsable", *options, str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode and not done.stdout:
        raise ProgramError(f"sbatch refused {path}: {done.stderr.strip()}")
    if done.returncode:
        raise ProgramError(f"the job of {path} failed; the logs are in {path.parent}")
    number = int(done.stdout.partition(";")[0])
    echo(f"{path.stem}: job {number}, {path}")
    return number


def shown(*words: str) -> str:
    """A command as one types it."""
    return shlex.join(words)


def ascend_job(request: Request) -> dict[str, Any]:
    """An AscendJob: the pod of the scheduler is node 0 and runs everything, the others help in 03.

    The operator gives every pod its numbers, which ``--from-env`` reads.
    """
    words = ["mtn", "workbook", *request.arguments, "--only", *request.notebooks, "--from-env"]
    command = shlex.join(words)
    folder = str(Path.cwd())
    npu = {"huawei.com/Ascend910": request.local_workers}
    container = {
        "name": "ascend",  # the operator looks for this name
        "image": request.image,
        "command": ["/bin/bash", "-c", f"cd {shlex.quote(folder)} && exec {command}"],
        "resources": {"limits": npu, "requests": npu},
        "ports": [{"containerPort": 2222, "name": "ascendjob-port"}],
        "volumeMounts": [
            {"name": "work", "mountPath": folder},
            {"name": "driver", "mountPath": "/usr/local/Ascend/driver"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    volumes = [
        {"name": "work", "persistentVolumeClaim": {"claimName": request.claim}},
        {"name": "driver", "hostPath": {"path": "/usr/local/Ascend/driver"}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    pod = {"spec": {"containers": [container], "volumes": volumes}}
    roles = {"Scheduler": 1, "Worker": request.nodes - 1}
    return {
        "apiVersion": "mindxdl.gitee.com/v1",
        "kind": "AscendJob",
        "metadata": {"name": request.name, "labels": {"framework": "mindspore"}},
        "spec": {
            "schedulerName": "volcano",
            "runPolicy": {"schedulingPolicy": {"minAvailable": request.nodes, "queue": "default"}},
            "successPolicy": "AllWorkers",
            "replicaSpecs": {
                role: {"replicas": count, "restartPolicy": "Never", "template": pod}
                for role, count in roles.items()
                if count
            },
        },
    }


def ascend_job_yaml(request: Request) -> str:
    """The AscendJob as text.

    Raises:
        ConfigError: No image or no volume claim was named.
    """
    for flag, value in (("--image", request.image), ("--claim", request.claim)):
        if not value:
            raise ConfigError(f"an AscendJob needs {flag}; see `mtn submit --help`")

    class _Plain(yaml.SafeDumper):
        def ignore_aliases(self, data):
            return True

    return yaml.dump(ascend_job(request), Dumper=_Plain, sort_keys=False)


def submit_to_kubernetes(request: Request, echo: Callable[[str], None]) -> None:
    """Write the AscendJob and give it to ``kubectl``.

    Raises:
        ProgramError: kubectl is missing or refuses it.
    """
    kubectl = _program("kubectl")
    request.folder.mkdir(parents=True, exist_ok=True)
    path = request.folder / "ascendjob.yaml"
    write_text(path, ascend_job_yaml(request))
    done = subprocess.run(
        [kubectl, "apply", "-f", str(path)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise ProgramError(f"kubectl refused {path}: {done.stderr.strip()}")
    echo(done.stdout.strip())


def run_here(request: Request) -> int:
    """Run the notebooks on this machine, in the foreground; the exit code."""
    return subprocess.run(_here(request), check=False).returncode


def local_command(request: Request) -> str:
    """What :func:`run_here` runs."""
    return shown(*_here(request))


def _here(request: Request) -> list[str]:
    if request.nodes > 1:
        raise ConfigError(f"--on local is one machine; got --nodes {request.nodes}")
    workers = ["--workers", str(request.local_workers)] if request.local_workers > 1 else []
    return workbook_command(request, "--only", *request.notebooks, *workers)


def _parts(notebooks: Sequence[str]) -> dict[str, list[str]]:
    """The numbers before, at and after the notebook that trains; parts without any are left out."""
    parts = {
        "before": [n for n in notebooks if n < DISTRIBUTED_NOTEBOOK],
        "train": [n for n in notebooks if n == DISTRIBUTED_NOTEBOOK],
        "after": [n for n in notebooks if n > DISTRIBUTED_NOTEBOOK],
    }
    return {part: numbers for part, numbers in parts.items() if numbers}


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise ProgramError(f"{name} is not on PATH; --dry_run shows the job without it")
    return program
