"""The numbers of a job out of Slurm's variables, and out of those of Ascend's operator."""

import os
import stat

import pytest

from mtn_core.cli import main
from mtn_core.errors import ConfigError
from mtn_core.jobs.surroundings import cluster_from_environment

SLURM = {
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_ID": "2",
    "SLURM_NNODES": "3",
    "SLURM_NTASKS": "3",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "1",
    "SLURM_JOB_NODELIST": "n[1-3]",
}
OPERATOR = {
    "MS_WORKER_NUM": "16",
    "MS_LOCAL_WORKER": "8",
    "MS_SCHED_HOST": "10.2.3.4",
    "MS_SCHED_PORT": "2222",
    "MS_ROLE": "MS_WORKER",
    "MS_NODE_RANK": "1",
}


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Two answers of the real one."""
    program = tmp_path / "scontrol"
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$2" = hostnames ]; then echo n1; echo n2; echo n3; exit; fi\n'
        'echo "NodeName=$3 Arch=x86_64 NodeAddr=10.77.0.9 NodeHostName=vm CPUTot=1"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("scontrol")
def test_a_task_of_slurm_on_each_node():
    cluster = cluster_from_environment(SLURM, local_workers=4)
    assert (cluster.worker_num, cluster.local, cluster.node_rank) == (12, 4, 1)
    assert cluster.master_addr == "10.77.0.9"
    assert not cluster.is_master
    first = cluster_from_environment({**SLURM, "SLURM_NODEID": "0"}, local_workers=4)
    assert first.is_master and first.master_port == cluster.master_port
    other = cluster_from_environment({**SLURM, "SLURM_JOB_ID": "72"})
    assert other.master_port != cluster.master_port, "two jobs may share a node"
    assert other.local == 1
    assert cluster_from_environment({**SLURM, "SLURM_GPUS_ON_NODE": "8"}).worker_num == 24


def test_one_node_of_slurm_meets_at_home():
    alone = {**SLURM, "SLURM_NNODES": "1", "SLURM_NTASKS": "1", "SLURM_NODEID": "0"}
    cluster = cluster_from_environment(alone, local_workers=2)
    assert (cluster.worker_num, cluster.local, cluster.master_addr) == (2, 2, "127.0.0.1")


def test_pods_of_ascends_operator():
    worker = cluster_from_environment(OPERATOR)
    assert (worker.worker_num, worker.local, worker.node_rank) == (16, 8, 1)
    assert (worker.master_addr, worker.master_port) == ("10.2.3.4", 2222)
    # Without devices the scheduler's pod has no workers, and the first worker is no master.
    pod = {**OPERATOR, "MS_ROLE": "MS_SCHED", "MS_LOCAL_WORKER": "0", "MS_NODE_RANK": "0"}
    scheduler = cluster_from_environment(pod)
    assert scheduler.is_master and scheduler.local == 0
    first = cluster_from_environment({**OPERATOR, "MS_NODE_RANK": "0"})
    assert not first.is_master
    # With devices it is the first machine as well.
    chief = cluster_from_environment({**pod, "MS_LOCAL_WORKER": "8"})
    assert chief.is_master and chief.local == 8


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "neither Slurm's variables"),
        ({**SLURM, "SLURM_NTASKS": "6"}, "6 tasks on 3 nodes; start one task a node"),
        ({k: v for k, v in SLURM.items() if k != "SLURM_STEP_ID"}, "not started by srun"),
        ({k: v for k, v in SLURM.items() if k != "SLURM_NODEID"}, "SLURM_NODEID is missing"),
        ({**OPERATOR, "MS_ROLE": "MS_PSERVER"}, "MS_ROLE is MS_PSERVER"),
        ({**OPERATOR, "MS_WORKER_NUM": "many"}, "MS_WORKER_NUM is 'many'; expected a number"),
        ({**OPERATOR, "MS_LOCAL_WORKER": "0"}, "local workers"),
    ],
)
@pytest.mark.usefixtures("scontrol")
def test_variables_that_cannot_be(environment, words):
    with pytest.raises(ConfigError, match=words):
        cluster_from_environment(environment)


def test_a_number_twice_is_refused(capsys):
    assert main(["launch", "--from-env", "--workers", "2", "--", "check", "--root", "d"]) == 2
    assert "--from-env says what --workers says" in capsys.readouterr().err
