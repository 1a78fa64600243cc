"""How many workers this machine has, and work done ahead in the background."""

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_MOST_BY_DEFAULT = 16
Job = TypeVar("Job")
Fetched = TypeVar("Fetched")
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


class Prefetcher(Generic[Job, Fetched, Result]):
    """Makes results in background threads, in order, a few jobs ahead of whoever takes them.

    One thread fetches what each job needs, job after job, because a packed file is read in
    sequence; several threads turn that into results. Threads are enough: reading, decoding and
    resizing run outside Python's lock.

    Args:
        jobs: What is to be done.
        fetch: ``fetch(job)``, called in the order of the jobs, by one thread.
        build: ``build(job, fetched)``, called by several threads at once.
        num_workers: Threads that build.
        depth: Results under way or waiting to be taken; bounds the memory.
        finish: Called once when the threads have ended.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        fetch: Callable[[Job], Fetched],
        build: Callable[[Job, Fetched], Result],
        *,
        num_workers: int,
        depth: int,
        finish: Callable[[], None] | None = None,
    ):
        self._jobs, self._fetch, self._build, self._finish = jobs, fetch, build, finish
        self._closed = False
        self._room = threading.Semaphore(max(depth, 1))
        self._results: queue.SimpleQueue[Future[Result] | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(num_workers, thread_name_prefix="mtn-data")
        self._feeder = threading.Thread(target=self._feed, name="mtn-data-feeder", daemon=True)
        self._feeder.start()

    def __iter__(self) -> Iterator[Result]:
        """Yield the results, raise a job's error in its place, end the threads after the last."""
        try:
            while not self._closed:
                future = self._results.get()
                if future is None:
                    return
                result = future.result()
                del future  # it would keep the result from being used again
                self._room.release()
                yield result
                del result
        finally:
            self.close()

    def close(self) -> None:
        """Drop what has not begun, wait for what has, and end the threads."""
        self._closed = True
        self._room.release()
        if self._feeder is not threading.current_thread():
            self._feeder.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        finish, self._finish = self._finish, None
        if finish is not None:
            finish()

    def _feed(self) -> None:
        for job in self._jobs:
            self._room.acquire()
            if self._closed:
                break
            future: Future[Result]
            try:
                future = self._pool.submit(self._build, job, self._fetch(job))
            except BaseException as error:
                future = Future()
                future.set_exception(error)
            self._results.put(future)
            if future.done() and future.exception():
                break
        self._results.put(None)
