"""Processes on this machine, each on its own: one that dies takes no other experiment with it."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import torch


class Pool(Executor):
    """An executor of spawned processes.

    A process that is killed is replaced, and its experiment tried once more; when that one dies as well, the
    experiment's future raises `BrokenExecutor`, and the pool goes on. (In a `ProcessPoolExecutor` one death
    ends all; dask's `LocalCluster` can wait forever for one that dies as soon as it was replaced.)

    Args:
        workers: number of processes.
        threads: of each.
    """

    def __init__(self, workers: int, threads: int) -> None:
        self.workers, self.threads = workers, threads
        self._hands = ThreadPoolExecutor(workers, thread_name_prefix="gleak")  # each leads one process
        self._own = threading.local()
        self._pids: dict[ProcessPoolExecutor, int] = {}
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function that can be imported in one of the processes."""
        return self._hands.submit(self._attempt, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let what was begun end, and close the processes."""
        self._hands.shutdown(wait, cancel_futures=cancel_futures)
        self._closed = True
        for process in list(self._pids):
            process.shutdown(wait)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # stop at once: what was begun is lost
            self._closed = True
            for pid in list(self._pids.values()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        self.shutdown(cancel_futures=kind is not None)

    def _attempt(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for _ in range(2):
            process = self._process()
            try:
                return process.submit(fn, *args, **kwargs).result()
            except BrokenExecutor:
                self._own.process = None
                self._pids.pop(process, None)
                process.shutdown()  # nothing of it is left to wait for but its books
                if self._closed:
                    raise
        raise BrokenExecutor("two workers died over it, perhaps for want of memory")

    def _process(self) -> ProcessPoolExecutor:
        if getattr(self._own, "process", None) is None:
            spawn = multiprocessing.get_context("spawn")
            process = ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=(self.threads,))
            self._pids[process] = process.submit(os.getpid).result()
            self._own.process = process
        return self._own.process


def share(workers: int) -> int:
    """Return the threads of each of so many workers: `OMP_NUM_THREADS`, else its share of the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else max(1, (os.cpu_count() or 1) // workers)


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to whoever leads
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # it was killed: nobody waits for the result, and memory is wanted elsewhere
        os._exit(1)
