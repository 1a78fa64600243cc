"""Jobs of two machines: two network namespaces with addresses of their own, then under Slurm."""

import os
import re
import subprocess
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ADDRESS = "10.88.77.1"
TINY = ["--recipe", "smoke", "--epochs", "1", "--set", "model.image_size=32"]
TINY += ["data.ids_per_batch=2", "model.segments=false", "train.eval_every=0"]


@pytest.fixture(scope="module")
def weights_of_one_host(smoke_root, tmp_path_factory):
    """What two workers on one host learn."""
    folder = tmp_path_factory.mktemp("one")
    command = ["-m", "mtn_core", "launch", "--workers", "2", "--log_dir", folder / "logs", "--"]
    command += ["train", "--distribute", "--root", smoke_root, "--out", folder / "run", *TINY]
    environment = {**os.environ, "GLOG_v": "3", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([os.sys.executable, *map(str, command)], check=True, env=environment)
    return weights(folder / "run")


def weights(run):
    parameters = ms.load_checkpoint(str(run / "ckpt" / "last.ckpt"))
    return {name: parameter.asnumpy() for name, parameter in parameters.items()}


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_two_hosts_learn_what_one_does(hosts, smoke_root, tmp_path, weights_of_one_host):
    processes = []
    for rank in (0, 1):
        command = ["mtn", "launch", "--workers", 2, "--local_workers", 1, "--node_rank", rank]
        command += ["--master_addr", ADDRESS, "--log_dir", tmp_path / "logs", "--"]
        command += ["train", "--distribute", "--root", smoke_root, "--out", tmp_path / "run"]
        processes.append(hosts.start(rank, [*command, *TINY]))
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)
    assert_same(weights(tmp_path / "run"), weights_of_one_host)
    # Both use one folder; neither takes the other's processes for its own.
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"node_0", "node_1"}
