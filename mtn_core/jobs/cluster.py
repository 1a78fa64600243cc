"""Jobs of several processes, started by MindSpore's own launcher, msrun."""

import contextlib
import dataclasses
import logging
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mtn_core.errors import ConfigError, DeviceError

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_MSRUN_LOG = "msrun.log"
# What an earlier job left in its log folder; anything else there is somebody's.
_OWN_FILES = (
    _MSRUN_LOG,
    "scheduler.log",
    "worker_[0-9]*.log",
    "pid.[0-9]*",
    "done.[0-9]*",
    "failed.[0-9]*",
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
    """

    worker_num: int = 1
    local_worker_num: int | None = None
    master_addr: str = "127.0.0.1"
    master_port: int | None = None
    node_rank: int = 0
    cluster_time_out: int = 300
    rank_table_file: str | None = None

    def __post_init__(self):
        local = self.local
        if self.worker_num < 1 or not 1 <= local <= self.worker_num:
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

    def check_port(self) -> None:
        """Refuse a meeting point on this machine that another program has taken.

        Raises:
            ConfigError: The port is in use; msrun would wait for it without a word.
        """
        if self.node_rank or self.master_port is None:
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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def launch(cluster: Cluster, module: str, arguments: Sequence[str], log_dir: Path) -> int:
    """Run ``python -m module arguments`` in every process of the job, and wait.

    When a process dies the others would wait for it in a collective operation; they are ended.

    Args:
        cluster: Size and meeting point.
        module: Module to run; it is also run as the scheduler, see :mod:`mtn_core.jobs.run_module`.
        arguments: Its arguments.
        log_dir: Gets ``worker_RANK.log`` and ``scheduler.log``.

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
            "pip install 'mtn_core[train]'"
        )
    log_dir.mkdir(parents=True, exist_ok=True)
    cluster.check_port()
    for pattern in _OWN_FILES:
        for old in log_dir.glob(pattern):
            old.unlink()
    # msrun starts a script with the `python` of PATH; this package's environment must be it.
    environment = {**os.environ}
    environment["MTN_LOG_DIR"] = str(log_dir)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    script = Path(__file__).with_name("run_module.py")
    command = [program, *cluster.msrun_arguments(log_dir), str(script), module, *arguments]
    with (log_dir / _MSRUN_LOG).open("wb") as log:
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


def failed_ranks(log_dir: Path) -> list[int]:
    """Local ranks that failed or are gone, the first of them first.

    From the files of :mod:`mtn_core.jobs.run_module`, and from the launcher's log: it kills the
    other processes when it finds one gone, and names that one.
    """
    # Those that could still say something, in the order in which they did.
    failed = {int(p.suffix[1:]): p.stat().st_mtime for p in log_dir.glob("failed.[0-9]*")}
    log = log_dir / _MSRUN_LOG
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    blamed = set(map(int, re.findall(r"process (\d+) exit", text)))
    for rank, pid in _local_pids(log_dir).items():
        # A process ends after it has left its word, so a missing process is looked at first.
        if not is_alive(pid) and not (log_dir / f"done.{rank}").exists():
            # Who died without a word is the cause, unless the launcher killed it.
            killed = blamed and pid not in blamed
            failed.setdefault(rank, math.inf if killed else 0.0)
    return sorted(failed, key=lambda rank: (failed[rank], rank))


def _local_pids(log_dir: Path) -> dict[int, int]:
    """The process of every local rank that has said which it is."""
    said = {int(p.suffix[1:]): p.read_text() for p in log_dir.glob("pid.[0-9]*")}
    return {rank: int(text) for rank, text in said.items() if text}  # empty while it is written


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody waited for yet does not."""
    try:
        # A killed child that nobody waited for yet is a zombie: gone, but still listed.
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return status != "Z"


def _wait(process: subprocess.Popen, log_dir: Path) -> int:
    while True:
        code = process.poll()
        ranks = failed_ranks(log_dir)
        if code is not None:
            if code:
                logger.error("%s", _explain(log_dir, ranks))
            return code
        if ranks:
            # msrun ends the others as soon as it notices; the first one is the cause.
            logger.error("%s; ending the other processes", _explain(log_dir, ranks))
            _end_group(process)
            return 1
        time.sleep(_POLL_SECONDS)


def _explain(log_dir: Path, ranks: Sequence[int]) -> str:
    first, *others = map(str, ranks) if ranks else ["unknown"]
    then = f" (then {', '.join(others)})" if others else ""
    lines = [f"rank {first} failed{then}; logs are in {log_dir}"]
    for rank in ranks[:1]:
        log = log_dir / f"worker_{rank}.log"
        if log.is_file():
            lines += log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join(lines)


def _end_workers(log_dir: Path) -> None:
    """End workers that outlive msrun: they would wait for a dead one, and write for a minute."""
    pids = list(_local_pids(log_dir).values())

    def send(number: int) -> None:
        for pid in filter(_is_worker, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    _end(send, lambda: any(map(_is_worker, pids)))


def _is_worker(pid: int) -> bool:
    """Whether a process lives and is one of a job, not one that was given its number since."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"run_module.py" in command and is_alive(pid)


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
