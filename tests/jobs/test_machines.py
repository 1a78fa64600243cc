"""The documented jobs of two machines: on two network namespaces, and on Slurm's own daemons."""

import re
import subprocess
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
DOCUMENT = (Path(__file__).parents[2] / "docs" / "machines.md").read_text(encoding="utf-8")


def block(after):
    """The first block of the document that follows some words."""
    return DOCUMENT.partition(after)[2].partition("```bash\n")[2].partition("```")[0]


@pytest.fixture
def folder(tmp_path, smoke_root, package):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cars").symlink_to(smoke_root)
    return tmp_path


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def weights_of_one_host(folder, kept):
    """What two workers learn on one host, by the document's own command."""
    if not kept:
        command = block("## Several processes and machines")
        assert "--workers 2" in command
        subprocess.run(["bash", "-euc", command], cwd=folder, check=True)
        kept.update(weights(folder / "runs" / "two"))
    return kept


def weights(run):
    parameters = ms.load_checkpoint(str(run / "ckpt" / "last.ckpt"))
    return {name: parameter.asnumpy() for name, parameter in parameters.items()}


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_two_hosts_learn_what_one_does(hosts, folder, weights_of_one_host):
    commands = re.split(r"^# machine \d.*\n", block("<!-- test: hosts -->"), flags=re.M)[1:]
    processes = [
        hosts.start(host, ["bash", "-euc", command], cwd=folder)
        for host, command in enumerate(commands)
    ]
    printed = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(printed)
    assert_same(weights(folder / "runs" / "hosts"), weights_of_one_host)
    # Both use one folder; neither takes the other's processes for its own.
    assert {path.name for path in (folder / "msrun_logs").iterdir()} == {"node_0", "node_1"}


def test_slurm_starts_the_same_job(slurm, folder, weights_of_one_host):
    printed = slurm.run(0, ["bash", "-euc", block("<!-- test: slurm -->")], cwd=folder)
    assert_same(weights(folder / "runs" / "slurm"), weights_of_one_host), printed
    for node in (0, 1):
        log = folder / "msrun_logs" / f"node_{node}" / f"worker_{node}.log"
        assert log.is_file(), sorted((folder / "msrun_logs").rglob("*"))
