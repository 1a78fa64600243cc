"""The numbers of a job of several machines as its cluster's software gives them to each of them."""

import re
import shutil
import socket
import subprocess
from collections.abc import Mapping

from mtn_core.errors import ConfigError
from mtn_core.jobs.cluster import Cluster

# Ports of jobs that share a machine differ; below those that the system hands out.
_FIRST_PORT, _PORTS = 20000, 12000


def cluster_from_environment(
    environment: Mapping[str, str],
    *,
    local_workers: int | None = None,
    master_addr: str | None = None,
    master_port: int | None = None,
) -> Cluster:
    """Size and meeting point of the job that this process belongs to.

    Args:
        environment: Environment variables: those of a task of Slurm's ``srun``, one a node, or
            those that Ascend's operator gives to a pod of an ``AscendJob``.
        local_workers: Processes on each machine, where the variables do not say it (Slurm: the
            GPUs of the node, else one).
        master_addr: In place of the address found.
        master_port: In place of the port found.

    Raises:
        ConfigError: The variables are not there, or describe something that cannot be run.
    """
    if "MS_WORKER_NUM" in environment and "MS_SCHED_HOST" in environment:
        cluster = _ascend_operator(environment, local_workers, master_addr, master_port)
    elif "SLURM_JOB_ID" in environment:
        cluster = _slurm(environment, local_workers, master_addr, master_port)
    else:
        raise ConfigError(
            "--from-env: there are neither Slurm's variables (SLURM_JOB_ID and others; start the "
            "command with srun) nor those of Ascend's operator (MS_WORKER_NUM, MS_SCHED_HOST and "
            "others)"
        )
    return cluster


def _ascend_operator(
    environment: Mapping[str, str], local: int | None, addr: str | None, port: int | None
) -> Cluster:
    role = environment.get("MS_ROLE", "")
    if role not in ("", "MS_SCHED", "MS_WORKER"):
        raise ConfigError(f"MS_ROLE is {role}; expected MS_SCHED or MS_WORKER")
    return Cluster(
        worker_num=_number(environment, "MS_WORKER_NUM"),
        local_worker_num=_number(environment, "MS_LOCAL_WORKER") if local is None else local,
        master_addr=addr or environment["MS_SCHED_HOST"],
        master_port=port or _number(environment, "MS_SCHED_PORT"),
        node_rank=_number(environment, "MS_NODE_RANK"),
        # A pod without devices is the scheduler alone; the nodes are then numbered without it.
        scheduler={"MS_SCHED": True, "MS_WORKER": False}.get(role),
    )


def _slurm(
    environment: Mapping[str, str], local: int | None, addr: str | None, port: int | None
) -> Cluster:
    nodes = _number(environment, "SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES")
    if nodes > 1 and "SLURM_STEP_ID" not in environment:
        raise ConfigError(
            f"--from-env: this job has {nodes} nodes, and this process was not started by srun on "
            "each of them; write `srun --ntasks-per-node=1 mtn ...`"
        )
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", default=nodes)
    if "SLURM_STEP_ID" in environment and tasks != nodes:
        raise ConfigError(
            f"--from-env: {tasks} tasks on {nodes} nodes; start one task a node with "
            "`srun --ntasks-per-node=1`, and say with --local_workers how many processes it starts"
        )
    if local is None:
        local = _number(environment, "SLURM_GPUS_ON_NODE", default=1)
    if nodes == 1:
        return Cluster(worker_num=local, master_addr=addr or Cluster.master_addr, master_port=port)
    job, step = (_number(environment, name) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return Cluster(
        worker_num=nodes * local,
        local_worker_num=local,
        master_addr=addr or _first_node(environment),
        master_port=port or _FIRST_PORT + (job * 31 + step) % _PORTS,
        node_rank=_number(environment, "SLURM_NODEID"),
    )


def _first_node(environment: Mapping[str, str]) -> str:
    """The address of the step's first node, as Slurm knows it."""
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    name = (_scontrol("hostnames", nodes) or [""])[0]
    found = re.search(r"\bNodeAddr=(\S+)", " ".join(_scontrol("node", name, "--oneliner")))
    try:
        return socket.gethostbyname(found[1] if found else name)
    except OSError as error:
        raise ConfigError(
            f"--from-env: no address for {name or 'the first'} of the nodes {nodes!r}; give "
            "--master_addr"
        ) from error


def _scontrol(*arguments: str) -> list[str]:
    program = shutil.which("scontrol")
    if program is None:
        raise ConfigError("--from-env: scontrol is not on PATH; give --master_addr")
    done = subprocess.run(
        [program, "show", *arguments], check=False, capture_output=True, text=True
    )
    return done.stdout.split() if done.returncode == 0 else []


def _number(environment: Mapping[str, str], *names: str, default: int | None = None) -> int:
    """The first of some variables that is there."""
    for name in names:
        if environment.get(name):
            try:
                return int(environment[name])
            except ValueError as error:
                raise ConfigError(
                    f"--from-env: {name} is {environment[name]!r}; expected a number"
                ) from error
    if default is None:
        raise ConfigError(f"--from-env: the variable {names[0]} is missing")
    return default
