"""Who of a job of several processes lives, who failed first, and why."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

MSRUN_LOG = "msrun.log"
# MindSpore gives up a process that it has not heard of for 30 s, and on CPU a collective operation
# that waits longer than that for a rank that is late: one that compiles or evaluates on a loaded
# machine. Deaths on this machine are seen at once by the launcher; these are for other machines.
PATIENCE = {
    "MS_NODE_TIMEOUT": "300",
    "MS_RECEIVE_MSG_TIMEOUT": "120",
    "MS_HEARTBEAT_RETRY_TIMEOUT": "60",
}
_EXIT_CODE = 49  # in /proc/PID/stat, counted from the state


def failed_ranks(log_dir: Path) -> list[int]:
    """Local ranks that failed or are gone, the first of them first.

    From the files of :mod:`mtn_core.jobs.run_module`, and from the launcher's log: it kills the
    other processes when it finds one gone, and names that one.
    """
    # Those that could still say something, in the order in which they did.
    failed = {int(p.suffix[1:]): p.stat().st_mtime for p in log_dir.glob("failed.[0-9]*")}
    log = log_dir / MSRUN_LOG
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    blamed = set(map(int, re.findall(r"process (\d+) exit", text)))
    for rank, pid in local_pids(log_dir).items():
        # A process ends after it has left its word, so a missing process is looked at first.
        if not is_alive(pid) and not (log_dir / f"done.{rank}").exists():
            # Who died without a word is the cause, unless the launcher killed it.
            killed = blamed and pid not in blamed
            failed.setdefault(rank, math.inf if killed else 0.0)
    return sorted(failed, key=lambda rank: (failed[rank], rank))


def local_pids(log_dir: Path) -> dict[int, int]:
    """The process of every local rank that has said which it is."""
    said = {int(p.suffix[1:]): read_pid(p) for p in log_dir.glob("pid.[0-9]*")}
    return {rank: pid for rank, pid in said.items() if pid}


def read_pid(path: Path) -> int:
    """A process's number; 0 while the file is being written."""
    return int(path.read_text() or 0)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody waited for yet does not."""
    # A killed child that nobody waited for yet is a zombie: gone, but still listed.
    return _status(pid)[:1] not in ([], ["Z"])


def _failures(log_dir: Path) -> list[Path]:
    return [path for who in ("[0-9]*", "scheduler") for path in log_dir.glob(f"failed.{who}")]


def scheduler_is_lost(log_dir: Path) -> bool:
    """Whether the scheduler of this machine failed, or ended otherwise than with success.

    It ends when the last process has left the job, which with a notebook is before the rank is
    done. MindSpore ends it without a word, and only the system knows how, until msrun asks.
    """
    if (log_dir / "failed.scheduler").exists():
        return True
    pids = [pid for path in log_dir.glob("pid.scheduler") if (pid := read_pid(path))]
    return any(_status(pid)[:1] == ["Z"] and _status(pid)[_EXIT_CODE:][:1] != ["0"] for pid in pids)


def _status(pid: int) -> list[str]:
    """What the system says of a process, from its state on; nothing of one that is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def scheduler_failure(log_dir: Path) -> str | None:
    """What became of the scheduler, which introduces the processes and watches them; or None.

    Without it every rank ends soon, through no fault of its own. Call it when a job has failed.
    """
    log = log_dir / "scheduler.log"
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    given_up = re.search(r"The node: (\d+) is timed out", text)
    if given_up:
        seconds = os.environ.get("MS_NODE_TIMEOUT", PATIENCE["MS_NODE_TIMEOUT"])
        return (
            f"the scheduler gave up rank {given_up[1]}, of which it heard nothing for {seconds} s "
            "(MS_NODE_TIMEOUT): it or its machine is dead, suspended or overloaded"
        )
    said = {path.suffix[1:]: path.read_text("utf-8", "replace") for path in _failures(log_dir)}
    if any("not successfully spawned" in text for text in said.values()):
        return (
            "not all processes of the job reached the scheduler in time; were all machines started "
            "with the same numbers, --master_addr and --master_port?"
        )
    if "scheduler" in said:
        raised = re.findall(r"^\S+(?:Error|Exception|Interrupt)\b.*", said["scheduler"], re.M)
        return f"the scheduler failed: {raised[-1] if raised else 'see scheduler.log'}"
    if scheduler_is_lost(log_dir):
        pid = read_pid(log_dir / "pid.scheduler")
        return f"the scheduler (process {pid}) was lost; it was killed or ended on its own"
    # Where the scheduler runs on another machine, only the workers can tell.
    for log in sorted(log_dir.glob("worker_[0-9]*.log")):
        if "Failed to connect to the meta server. Maybe" in log.read_text("utf-8", "replace"):
            return "the scheduler, on the machine with node rank 0, was lost"
    return None


def explain_end(log_dir: Path, ranks: Sequence[int]) -> str:
    """What ended a job: the scheduler, or the first of the ranks that failed and its last words."""
    scheduler = scheduler_failure(log_dir)
    if scheduler:
        return (
            f"{scheduler}; logs are in {log_dir}; a training goes on from its last checkpoint "
            "with the same command and --resume"
        )
    first, *others = map(str, ranks) if ranks else ["unknown"]
    then = f" (then {', '.join(others)})" if others else ""
    lines = [f"rank {first} failed{then}; logs are in {log_dir}"]
    for rank in ranks[:1]:
        log = log_dir / f"worker_{rank}.log"
        if log.is_file():
            lines += log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join(lines)


def is_process_of_a_job(pid: int) -> bool:
    """Whether a process lives and is one of a job, not one that was given its number since."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    # One that is about to end has given its command line back already.
    return (not command or b"run_module.py" in command) and is_alive(pid)
