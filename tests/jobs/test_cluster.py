"""The launcher's watch over MindSpore's scheduler, and where processes meet."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mtn_core.errors import ConfigError
from mtn_core.jobs import cluster as cluster_module
from mtn_core.jobs.cluster import Cluster, launch
from mtn_core.jobs.watch import is_alive, scheduler_failure

# A job without collective operations: what is watched here are the processes.
JOB = """
import sys, time
from mtn_core.device import setup_device

setup_device("CPU", distribute=True)
time.sleep(float(sys.argv[1]))
"""
# A rank that is late by more than the 30 s that MindSpore waits by itself.
LATE = """
import time
import mindspore as ms
import numpy as np
from mindspore import nn, ops
from mtn_core.device import setup_device

class Sum(nn.Cell):
    def __init__(self):
        super().__init__()
        self.all_reduce = ops.AllReduce()

    def construct(self, x):
        return self.all_reduce(x)

device = setup_device("CPU", distribute=True)
if device.rank:
    time.sleep(34)
assert Sum()(ms.Tensor(np.ones(2), ms.float32)).asnumpy().tolist() == [2, 2]
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("GLOG_v", "3")
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "late.py").write_text(LATE)

    def run(module, *arguments, **numbers):
        cluster = Cluster(**{"worker_num": 2, **numbers})
        return launch(cluster, module, [*map(str, arguments)], tmp_path / "logs")

    return run


def in_the_background(wait_for, act):
    """Do something to a job as soon as a file of its log folder is there."""

    def watch():
        deadline = time.monotonic() + 120
        while not all(path.exists() and path.read_text() for path in wait_for):
            if time.monotonic() > deadline:
                return
            time.sleep(0.1)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_rank_may_be_late(job, monkeypatch):
    for name in ("MS_NODE_TIMEOUT", "MS_RECEIVE_MSG_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    assert job("late") == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_scheduler_that_is_killed_is_named(job, tmp_path, caplog):
    pid = tmp_path / "logs" / "pid.scheduler"
    words = [pid, tmp_path / "logs" / "pid.0", tmp_path / "logs" / "pid.1"]
    thread = in_the_background(words, lambda: os.kill(int(pid.read_text()), signal.SIGKILL))
    with caplog.at_level(logging.ERROR):
        assert job("job", 60) == 1
    thread.join()
    assert f"the scheduler (process {pid.read_text()}) was lost" in caplog.text
    assert "--resume" in caplog.text and "rank 0 failed" not in caplog.text
    assert not [path for path in words if is_alive(int(path.read_text()))]


def test_what_the_scheduler_says_is_the_cause(tmp_path, monkeypatch):
    assert scheduler_failure(tmp_path) is None
    monkeypatch.setenv("MS_NODE_TIMEOUT", "17")
    log = tmp_path / "scheduler.log"
    log.write_text("[ERROR] UpdateTopoState] The node: 1 is timed out. It may exit")
    assert "gave up rank 1, of which it heard nothing for 17 s" in scheduler_failure(tmp_path)
    log.write_text("")
    said = tmp_path / "failed.scheduler"
    said.write_text("Traceback\n  File\nRuntimeError: no address\n\n- C++ Call Stack\ninit.cc:3\n")
    assert scheduler_failure(tmp_path) == "the scheduler failed: RuntimeError: no address"
    said.write_text("RuntimeError: some processes in the cluster are not successfully spawned.")
    assert "not all processes of the job reached the scheduler" in scheduler_failure(tmp_path)
    said.unlink()
    (tmp_path / "worker_1.log").write_text("Failed to connect to the meta server. Maybe it has")
    assert "on the machine with node rank 0" in scheduler_failure(tmp_path)


@pytest.mark.parametrize(("ending", "lost"), [("", False), ("raise SystemExit(3)", True)])
def test_a_scheduler_that_ends_well_is_not_lost(tmp_path, ending, lost):
    """It ends before the rank is done where a notebook was what had joined the job."""
    ended = subprocess.Popen([sys.executable, "-c", ending])
    while is_alive(ended.pid):
        time.sleep(0.05)
    (tmp_path / "pid.scheduler").write_text(str(ended.pid))
    (tmp_path / "pid.0").write_text(str(os.getpid()))
    said = scheduler_failure(tmp_path)
    ended.wait()
    assert bool(said) == lost
    assert not lost or f"the scheduler (process {ended.pid}) was lost" in said


def test_the_environment_of_the_user_goes_before_ours(tmp_path, monkeypatch):
    seen = {}

    class Ended:
        def __init__(self, *arguments, env, **settings):
            seen.update(env)

        def poll(self):
            return 0

    monkeypatch.setattr(cluster_module.subprocess, "Popen", Ended)
    monkeypatch.setenv("MS_NODE_TIMEOUT", "45")
    monkeypatch.delenv("MS_RECEIVE_MSG_TIMEOUT", raising=False)
    assert launch(Cluster(worker_num=2), "module", [], tmp_path) == 0
    assert seen["MS_NODE_TIMEOUT"] == "45"
    assert int(seen["MS_RECEIVE_MSG_TIMEOUT"]) > 15


@pytest.mark.parametrize("node_rank", [0, 1])
def test_two_machines_do_not_meet_at_a_loopback_address(node_rank):
    cluster = Cluster(worker_num=2, local_worker_num=1, node_rank=node_rank)
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1 is a different machine for everyone"):
        cluster.check_meeting_point()


def test_two_machines_do_not_both_become_the_master(monkeypatch):
    # Any address of this machine will do, and a machine may have no other than this.
    monkeypatch.setattr(cluster_module, "_is_loopback", lambda address: False)
    cluster = Cluster(worker_num=2, local_worker_num=1, node_rank=1)
    with pytest.raises(ConfigError, match="not the master with --node_rank 1"):
        cluster.check_meeting_point()


def test_a_port_of_our_own_is_none_that_the_system_hands_out():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        handed_out = listener.getsockname()[1]
    ports = [Cluster(worker_num=2).master_port for _ in range(20)]
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < first <= handed_out and len(set(ports)) > 10
