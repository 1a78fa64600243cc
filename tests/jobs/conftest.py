"""Two hosts on one machine: network namespaces with an address each, and Slurm on them."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # job_logs

BIN = Path(sys.executable).parent
ADDRESSES = ("10.0.0.1", "10.0.0.2")  # the first is that of the README
SLURM_CONF = """
ClusterName=mtn
SlurmctldHost={name}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmctldPort=16817
SlurmdPort=16818
MinJobAge=3600
NodeName=mtn0 NodeAddr={address} CPUs={cpus} RealMemory=500
NodeName=mtn1 NodeAddr={other} CPUs={cpus} RealMemory=500
PartitionName=all Nodes=ALL Default=YES OverSubscribe=YES State=UP
"""


class Hosts:
    """Two network namespaces that reach each other, and nothing else."""

    def __init__(self):
        self.names = [f"mtn{os.getpid()}-{i}" for i in range(2)]

    def __enter__(self):
        for name in self.names:
            ip("netns", "add", name)
        ends = [f"mtn{os.getpid() % 100000}{letter}" for letter in "ab"]
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for name, end, address in zip(self.names, ends, ADDRESSES, strict=True):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        for name in self.names:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)

    def start(self, host, command, **options):
        """Start a command on one of the hosts."""
        words = ["ip", "netns", "exec", self.names[host], *map(str, command)]
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )

    def run(self, host, command, **options):
        """Run a command on one of the hosts; what it printed, if it ended well."""
        process = self.start(host, command, **options)
        printed, _ = process.communicate(timeout=800)
        assert process.returncode == 0, printed
        return printed

    def tries(self, host, command):
        """The same; None where it failed, as a controller under load lets a question fail."""
        process = self.start(host, command)
        printed, _ = process.communicate(timeout=800)
        return printed.strip() if process.returncode == 0 else None

    def requeue(self, job, wait_for):
        """Let Slurm start a job again, as when a node is lost, and without two minutes of rest."""
        self.run(0, ["scontrol", "requeue", job])
        state = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
        wait_for(lambda: self.tries(0, state) == "PENDING")
        update = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
        wait_for(lambda: self.tries(0, update) is not None)

    def all_ended(self):
        """Whether no job is waiting or running."""
        return self.tries(0, ["squeue", "--noheader"]) == ""


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def needs_root_and(*programs):
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing or programs)}")


@pytest.fixture
def package(monkeypatch):
    """Commands that are started elsewhere find this package and its programs."""
    repository = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([repository, *filter(None, sys.path)]))
    monkeypatch.setenv("PATH", os.pathsep.join([str(BIN), os.environ["PATH"], "/usr/sbin"]))
    monkeypatch.setenv("GLOG_v", "3")


@pytest.fixture
def hosts(package):
    """Two hosts with the addresses of ADDRESSES."""
    needs_root_and("ip")
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(Hosts())
        except subprocess.CalledProcessError as error:
            pytest.skip(f"needs network namespaces: {error.stderr}")
        yield made


@pytest.fixture
def slurm(hosts, monkeypatch):
    """Slurm's own daemons on the two hosts: nodes mtn0 and mtn1, no systemd, no cgroups."""
    needs_root_and("slurmctld", "slurmd", "munged", "srun", "sbatch")
    folder = Path(tempfile.mkdtemp(prefix="mtn-slurm-"))  # a socket's path has 107 letters
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(
        SLURM_CONF.format(
            name=socket.gethostname(),
            folder=folder,
            address=ADDRESSES[0],
            other=ADDRESSES[1],
            cpus=os.cpu_count(),
        )
    )
    # A network namespace has a /sys of its own, without control groups; this plugin needs none as
    # long as nothing asks it for some.
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    monkeypatch.setenv("SLURM_CONF", str(conf))
    munged = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munged += [f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"]
    munged += [f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"]
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)

        def daemon(host, *command):
            with (folder / f"{command[0]}{host}.out").open("wb") as out:
                process = subprocess.Popen(
                    ["ip", "netns", "exec", hosts.names[host], *command], stdout=out, stderr=out
                )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)

        daemon(0, *munged)
        wait_until(lambda: (folder / "munge.socket").exists(), folder)
        daemon(0, "slurmctld", "-D")
        for host in (0, 1):
            (folder / f"mtn{host}").mkdir()
            daemon(host, "slurmd", "-D", "-N", f"mtn{host}", "-f", str(conf))
        wait_until(lambda: idle(hosts) == 2, folder)
        yield hosts
        if idle(hosts) < 2:  # a test that failed left a job
            hosts.run(0, ["scancel", "--user=root"])
            wait_until(lambda: idle(hosts) == 2, folder)


def idle(hosts):
    process = hosts.start(0, ["sinfo", "--noheader", "--Node", "--format=%T"])
    return process.communicate(timeout=60)[0].split().count("idle")


def wait_until(done, folder):
    deadline = time.monotonic() + 90
    while not done():
        if time.monotonic() > deadline:
            logs = [path for path in folder.glob("*") if path.suffix in (".log", ".out")]
            pytest.fail("\n".join(f"{p.name}: {p.read_text('utf-8', 'replace')}" for p in logs))
        time.sleep(0.5)
