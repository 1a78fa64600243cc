"""Two real CPU processes under msrun against one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from distributed_job import embed, gradients, joint_batch

from mtn_core.config import ModelConfig
from mtn_core.errors import ConfigError
from mtn_core.jobs.cluster import Cluster, launch
from mtn_core.jobs.watch import failed_ranks, is_alive

pytestmark = pytest.mark.slow


@pytest.fixture
def job(tmp_path, monkeypatch):
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("GLOG_v", "3")

    def run(*arguments):
        return launch(
            Cluster(worker_num=2), "distributed_job", [*map(str, arguments)], tmp_path / "logs"
        )

    return run


def test_the_averaged_gradient_is_that_of_the_joint_batch(job, device, tmp_path):
    assert job("gradient", tmp_path) == 0, (tmp_path / "logs" / "worker_0.log").read_text()[-2000:]
    inputs = joint_batch(ModelConfig(image_size=32), 8)
    expected = gradients(device, inputs)
    for rank in range(2):
        got = np.load(tmp_path / f"gradient{rank}.npz")
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, atol=1e-6, rtol=1e-4, err_msg=name)


def test_sharded_embeddings_equal_those_of_one_process(job, device, smoke_root, tmp_path):
    assert job("embed", tmp_path, smoke_root) == 0
    for split in ("query", "test"):
        expected = embed(device, smoke_root, split)
        assert len(expected) % 32, "the test wants a size that two ranks cannot share evenly"
        for rank in range(2):
            np.testing.assert_array_equal(np.load(tmp_path / f"{split}{rank}.npy"), expected)


@pytest.mark.parametrize(("kind", "words"), [("die", "rank 1"), ("raise", "had enough")])
def test_a_worker_that_dies_ends_the_job_and_is_named(job, tmp_path, caplog, kind, words):
    """Faults 379, 449, 465 and 480 of those that were found by trying."""
    assert job(kind, tmp_path) != 0
    assert not (tmp_path / "waited").exists(), "the other rank was not ended"
    assert "rank 1 failed" in caplog.text
    assert words in caplog.text
    pids = [int(path.read_text()) for path in (tmp_path / "logs").glob("pid.*")]
    assert len(pids) == 3, "two ranks and the scheduler"
    assert not [pid for pid in pids if is_alive(pid)], "a worker was left behind"


def test_the_cause_is_named_before_those_that_were_killed_for_it(tmp_path):
    dead = []
    for rank in range(3):
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        dead.append(ended.pid)
        (tmp_path / f"pid.{rank}").write_text(str(ended.pid))
    (tmp_path / "done.0").touch()
    assert failed_ranks(tmp_path) == [1, 2]
    (tmp_path / "msrun.log").write_text(f"[ERROR] Worker process {dead[2]} exit with exception.")
    assert failed_ranks(tmp_path) == [2, 1]
    (tmp_path / "failed.1").write_text("an exception")
    (tmp_path / "msrun.log").unlink()
    assert failed_ranks(tmp_path) == [2, 1], "a process killed from outside left no word"


def test_a_job_on_one_machine_takes_a_port_of_its_own():
    ports = [Cluster(worker_num=2).master_port for _ in range(3)]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
    assert len(set(ports)) > 1
    assert Cluster(worker_num=4, local_worker_num=2).master_port == 8118
    assert Cluster(worker_num=2, master_port=9000).master_port == 9000


def test_impossible_clusters_are_refused():
    with pytest.raises(ConfigError, match="local workers"):
        Cluster(worker_num=2, local_worker_num=3)
