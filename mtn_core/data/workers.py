"""How many workers this machine has, and work done ahead in the background."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_MOST_BY_DEFAULT = 16
Job = TypeVar("Job")
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


def num_workers_for(requested: int | None) -> int:
    """Worker count: as requested, at most one a processor; by default one a processor up to 16.

    Processors are those this process may run on, which in a container or under ``taskset`` are
    fewer than the machine has.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    processors = processors or os.cpu_count() or 1
    if requested is None:
        return min(processors, _MOST_BY_DEFAULT)
    if requested > processors:
        logger.info(
            "%d workers asked for, %d processors here: using %d", requested, processors, processors
        )
    return max(1, min(requested, processors))


class Prefetcher:
    """Maps a function over jobs in threads, in order, a few jobs ahead of who takes the results.

    Threads are enough: reading, decoding and resizing run outside Python's lock.

    Args:
        function: Called with one job.
        num_workers: Threads.
        depth: Jobs under way or waiting to be taken; bounds the memory.
    """

    def __init__(self, function: Callable[[Job], Result], num_workers: int, depth: int):
        self._function = function
        self._depth = max(depth, 1)
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(
            num_workers, thread_name_prefix="mtn-data"
        )
        self._waiting: deque[Future[Result]] = deque()

    def run(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Yield the results in the order of the jobs; an exception of a job is raised here."""
        remaining = iter(jobs)
        try:
            while self._pool is not None:
                while len(self._waiting) < self._depth:
                    job = next(remaining, None)
                    if job is None:
                        break
                    self._waiting.append(self._pool.submit(self._function, job))
                if not self._waiting:
                    return
                yield self._waiting.popleft().result()
        finally:
            self.close()

    def close(self) -> None:
        """Cancel what has not begun, wait for what has, and end the threads."""
        pool, self._pool = self._pool, None
        self._waiting.clear()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
