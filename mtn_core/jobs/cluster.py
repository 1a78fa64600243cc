"""Jobs of several processes, started by MindSpore's own launcher, msrun."""

import contextlib
import dataclasses
import ipaddress
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mtn_core.errors import ConfigError, DeviceError
from mtn_core.jobs.watch import (
    MSRUN_LOG,
    PATIENCE,
    explain_end,
    failed_ranks,
    is_process_of_a_job,
    local_pids,
    read_pid,
    scheduler_is_lost,
)

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
# What an earlier job left in its log folder; anything else there is somebody's.
_OWN_FILES = (
    MSRUN_LOG,
    "scheduler.log",
    "worker_[0-9]*.log",
    "pid.[0-9]*",
    "done.[0-9]*",
    "failed.[0-9]*",
    "pid.scheduler",
    "failed.scheduler",
)
_DEFAULT_PORT = 8118  # msrun's own
_GRACE_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Size and meeting point of a job, in msrun's terms.

    Attributes:
        worker_num: Processes of the whole job.
        local_worker_num: Processes on this machine; all of them by default.
        master_addr: Address of the machine with node rank 0.
        master_port: A free port there; by default one that is free now where all processes run on
            this machine, so that two jobs do not meet, else 8118.
        node_rank: This machine's place; 0 is the master, which also runs the scheduler.
        cluster_time_out: Seconds to wait for all processes to arrive.
        rank_table_file: Ascend's older description of the devices of all machines.
        scheduler: Whether the scheduler runs here, where that does not follow from the node rank:
            a cluster may run it in a pod of its own, without workers.
    """

    worker_num: int = 1
    local_worker_num: int | None = None
    master_addr: str = "127.0.0.1"
    master_port: int | None = None
    node_rank: int = 0
    cluster_time_out: int = 300
    rank_table_file: str | None = None
    scheduler: bool | None = None

    def __post_init__(self):
        local = self.local
        if self.worker_num < 1 or not (0 if self.scheduler else 1) <= local <= self.worker_num:
            raise ConfigError(
                f"expected 1 <= local workers <= workers; got {local} and {self.worker_num}"
            )
        if not 0 <= self.node_rank <= self.worker_num - local:
            others = self.worker_num - local
            raise ConfigError(
                f"--node_rank {self.node_rank}: of {self.worker_num} workers {local} are on this "
                f"machine, so machines are 0 to at most {others}"
            )
        if self.master_port is None:
            alone = local == self.worker_num
            object.__setattr__(self, "master_port", _free_port() if alone else _DEFAULT_PORT)

    @property
    def local(self) -> int:
        """Processes on this machine."""
        return self.worker_num if self.local_worker_num is None else self.local_worker_num

    @property
    def several(self) -> bool:
        """Whether processes of the job are on other machines."""
        return self.local < self.worker_num

    @property
    def is_master(self) -> bool:
        """Whether the scheduler runs on this machine."""
        return self.node_rank == 0 if self.scheduler is None else self.scheduler

    def check_meeting_point(self) -> None:
        """Refuse a meeting point that is no good, where msrun would wait for it without a word.

        Raises:
            ConfigError: The port is in use, or more than one machine would be the master: msrun
                starts a scheduler wherever the master's address is one of its own.
        """
        if self.several and _is_loopback(self.master_addr):
            raise ConfigError(
                f"--master_addr {self.master_addr} is a different machine for everyone, and "
                f"{self.worker_num - self.local} of {self.worker_num} workers are elsewhere; give "
                "the address under which they find the machine with node rank 0"
            )
        if not self.is_master:
            if self.several and _is_own(self.master_addr):
                raise ConfigError(
                    f"--master_addr {self.master_addr} is this machine, which is not the master "
                    f"with --node_rank {self.node_rank}; give the address of node rank 0, and "
                    "every machine a rank of its own"
                )
            return
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((self.master_addr, self.master_port))
            except OSError as error:
                raise ConfigError(
                    f"port {self.master_port} of {self.master_addr} cannot be used "
                    f"({error.strerror}); choose another --master_port, or correct --master_addr"
                ) from error

    def msrun_arguments(self, log_dir: Path) -> list[str]:
        """The launcher's own arguments."""
        table = [f"--rank_table_file={self.rank_table_file}"] if self.rank_table_file else []
        return [
            f"--worker_num={self.worker_num}",
            f"--local_worker_num={self.local}",
            f"--master_addr={self.master_addr}",
            f"--master_port={self.master_port}",
            f"--node_rank={self.node_rank}",
            f"--cluster_time_out={self.cluster_time_out}",
            f"--log_dir={log_dir}",
            "--join=True",
            *table,
        ]


def _free_port() -> int:
    """A port that nobody has, below those that the system hands out.

    The scheduler takes it seconds later; until then an outgoing connection could take one of those,
    even that of a worker that looks for the scheduler.
    """
    try:
        handed_out = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        first = int(handed_out.split()[0])
    except (OSError, ValueError, IndexError):
        first = 32768
    ports = range(max(1024, first - 16384), first) or range(1024, 65536)
    for port in random.SystemRandom().sample(ports, len(ports)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise ConfigError("no free port; give --master_port")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(socket.gethostbyname(address)).is_loopback
    except (OSError, ValueError):
        return False  # msrun says what it thinks of such an address


def _is_own(address: str) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            return False
    return True


def launch(cluster: Cluster, module: str, arguments: Sequence[str], log_dir: Path) -> int:
    """Run ``python -m module arguments`` in every process of the job, and wait.

    When a process dies the others would wait for it in a collective operation; they are ended.

    Args:
        cluster: Size and meeting point.
        module: Module to run; it is also run as the scheduler, see :mod:`mtn_core.jobs.run_module`.
        arguments: Its arguments.
        log_dir: Gets ``worker_RANK.log`` and ``scheduler.log``; where there are several machines,
            its folder ``node_NODERANK`` does, as the machines may share it.

    Returns:
        0 when every process ended well, else a failing process's exit code.

    Raises:
        DeviceError: msrun is not installed.
        ConfigError: The port is taken.
    """
    msrun = Path(sys.executable).with_name("msrun")
    program = str(msrun) if msrun.is_file() else shutil.which("msrun")
    if program is None:
        raise DeviceError(
            "msrun is not on PATH; it comes with the package mindspore: "
            "pip install 'mtn_core[train]' (see `mtn doctor`)"
        )
    cluster.check_meeting_point()
    if cluster.several:
        log_dir = log_dir / (f"node_{cluster.node_rank}" if cluster.local else "scheduler")
    log_dir.mkdir(parents=True, exist_ok=True)
    for pattern in _OWN_FILES:
        for old in log_dir.glob(pattern):
            old.unlink()
    # msrun starts a script with the `python` of PATH; this package's environment must be it.
    environment = {**PATIENCE, **os.environ}
    environment["MTN_LOG_DIR"] = str(log_dir)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    script = Path(__file__).with_name("run_module.py")
    command = [program, *cluster.msrun_arguments(log_dir), str(script), module, *arguments]
    with (log_dir / MSRUN_LOG).open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=log, stderr=log
        )
    try:
        return _wait(process, log_dir)
    except KeyboardInterrupt:
        _end_group(process)
        raise
    finally:
        _end_workers(log_dir)


def _wait(process: subprocess.Popen, log_dir: Path) -> int:
    while True:
        code = process.poll()
        ranks = failed_ranks(log_dir)
        if code is not None:
            if code:
                logger.error("%s", explain_end(log_dir, ranks))
            return code
        if ranks or scheduler_is_lost(log_dir):
            # msrun ends the others as soon as it notices; the first one is the cause.
            logger.error("%s; ending the other processes", explain_end(log_dir, ranks))
            _end_group(process)
            return 1
        time.sleep(_POLL_SECONDS)


def _end_workers(log_dir: Path) -> None:
    """End workers that outlive msrun: they would wait for a dead one, and write for a minute."""
    pids = [*local_pids(log_dir).values(), *map(read_pid, log_dir.glob("pid.scheduler"))]

    def send(number: int) -> None:
        for pid in filter(is_process_of_a_job, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    _end(send, lambda: any(map(is_process_of_a_job, pids)))


def _end_group(process: subprocess.Popen) -> None:
    """End msrun and all that it started, where it still stands in its group."""

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    _end(send, lambda: process.poll() is None)


def _end(send: Callable[[int], None], runs: Callable[[], bool]) -> None:
    """Ask politely, wait, and then do not ask."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        send(number)
        deadline = time.monotonic() + _GRACE_SECONDS
        while runs() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
